# Context access through rows. See context.pyx.
from libc.stdint cimport uint32_t, uint64_t

from anybpf.core.run_ctx cimport context_table, run_ctx

cdef class ContextTable:
    cdef context_table c

# A load or store of a context whose native struct begins at `base`; False: no row allows it.
cdef bint context_load(context_table *table, uint64_t base, uint64_t off, uint32_t size,
                       uint64_t *value) noexcept nogil
cdef bint context_store(context_table *table, uint64_t base, uint64_t off, uint32_t size,
                        uint64_t value) noexcept nogil
# The table that addr goes through, and the base that it counts from; NULL: addr is no context.
cdef context_table *context_at(run_ctx *run, uint64_t addr, uint64_t *base) noexcept nogil
