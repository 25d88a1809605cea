# Atomic operations on memory that has been checked. See atomics.pyx.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport bpf_op

# The bytes that an OP_ATOMIC_ADD4 .. OP_STORE_REL8 touches.
cdef uint32_t atomic_size(uint16_t kind) noexcept nogil
# Does the operation at addr, which is aligned to its size.
cdef void do_atomic(const bpf_op *op, uint64_t addr, uint64_t *regs) noexcept nogil
