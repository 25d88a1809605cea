"""Reading memory that may not be there (kernel/trace/bpf_trace.c).

Kernel memory is what the machine knows: maps, packets, contexts, stacks. Anything else faults:
the destination is zeroed and the answer is -EFAULT. There is no separate user memory in a machine
whose tasks have no address space, so the user variants see the same regions.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from anybpf.core.memory cimport readable
from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EFAULT, EINVAL, fail


cdef int64_t copy_memory(run_ctx *run, void *to, uint64_t size, uint64_t at) noexcept nogil:
    if size == 0:
        return 0
    if not readable(run, at, size):
        memset(to, 0, size)
        return -EFAULT
    memcpy(to, <void *> at, size)
    return 0


cdef int64_t copy_string(run_ctx *run, char *to, uint64_t size, uint64_t at) noexcept nogil:
    cdef uint64_t i
    if size == 0:
        return 0
    for i in range(size):
        if not readable(run, at + i, 1):
            memset(to, 0, size)
            return -EFAULT
        to[i] = (<char *> at)[i]
        if to[i] == 0:
            return <int64_t> i + 1
    to[size - 1] = 0
    return <int64_t> size


cdef uint64_t probe_read_kernel(uint64_t to, uint64_t size, uint64_t at, uint64_t r4,
                                uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> copy_memory(run, <void *> to, <uint32_t> size, at)


cdef uint64_t probe_read_kernel_str(uint64_t to, uint64_t size, uint64_t at, uint64_t r4,
                                    uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> copy_string(run, <char *> to, <uint32_t> size, at)


cdef uint64_t copy_from_user(uint64_t to, uint64_t size, uint64_t at, uint64_t r4, uint64_t r5,
                             run_ctx *run) noexcept nogil:
    return <uint64_t> copy_memory(run, <void *> to, <uint32_t> size, at)


cdef uint64_t copy_from_user_task(uint64_t to, uint64_t size, uint64_t at, uint64_t task,
                                  uint64_t flags, run_ctx *run) noexcept nogil:
    if flags:
        return fail(EINVAL)
    return <uint64_t> copy_memory(run, <void *> to, <uint32_t> size, at)


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "probe_read": <uint64_t> probe_read_kernel,
        "probe_read_str": <uint64_t> probe_read_kernel_str,
        "probe_read_user": <uint64_t> probe_read_kernel,
        "probe_read_user_str": <uint64_t> probe_read_kernel_str,
        "probe_read_kernel": <uint64_t> probe_read_kernel,
        "probe_read_kernel_str": <uint64_t> probe_read_kernel_str,
        "copy_from_user": <uint64_t> copy_from_user,
        "copy_from_user_task": <uint64_t> copy_from_user_task,
    }
