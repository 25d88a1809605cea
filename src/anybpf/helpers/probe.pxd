# Copying from an address that may not be there.
from libc.stdint cimport int64_t, uint64_t

from anybpf.core.run_ctx cimport run_ctx

# 0, or -EFAULT and the destination zeroed.
cdef int64_t copy_memory(run_ctx *run, void *to, uint64_t size, uint64_t at) noexcept nogil
# Bytes copied, the NUL included, or -EFAULT and the destination zeroed.
cdef int64_t copy_string(run_ctx *run, char *to, uint64_t size, uint64_t at) noexcept nogil
