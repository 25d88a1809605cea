# Helper arguments in checked runs. See arguments.pyx.
from libc.stdint cimport uint32_t, uint64_t

from anybpf.core.run_ctx cimport helper_args, run_ctx

# Fills the table of 256 rows from proto.helpers.
cdef int compile_arguments(helper_args *table) except -1
# Whether the arguments r[0..4] are what the helper's row asks for; if not, records the fault.
cdef bint check_arguments(run_ctx *run, uint32_t id, uint64_t *r) noexcept nogil
