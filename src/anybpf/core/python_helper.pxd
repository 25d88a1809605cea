from libc.stdint cimport uint64_t

from anybpf.core.run_ctx cimport run_ctx

# Calls the Python function that is registered for run.helper. A bpf_helper_t.
cdef uint64_t python_helper(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil
