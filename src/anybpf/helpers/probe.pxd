# Copying from an address that may not be there.
from libc.stdint cimport int64_t, uint64_t

from anybpf.core.run_ctx cimport run_ctx

# 0, or -EFAULT or -ERANGE and the destination zeroed.
cdef int64_t copy_memory(run_ctx *run, void *to, uint64_t size, uint64_t at) noexcept nogil
# Bytes copied, the NUL included, or an error number as above.
cdef int64_t copy_string(run_ctx *run, char *to, uint64_t size, uint64_t at) noexcept nogil
# The same from user memory: only -EFAULT.
cdef int64_t copy_user(run_ctx *run, void *to, uint64_t size, uint64_t at) noexcept nogil
cdef int64_t copy_user_string(run_ctx *run, char *to, uint64_t size, uint64_t at) noexcept nogil
