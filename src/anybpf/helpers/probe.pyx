"""Reading memory that may not be there (kernel/trace/bpf_trace.c, mm/maccess.c).

Kernel memory is what the machine knows: maps, packets, contexts, stacks. User memory is the rest of
this process, from which callers of bpf(2) pass pointers too. What cannot be read faults: the
destination is zeroed.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from anybpf.core.memory cimport find_region, in_stack, readable, user_read
from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EFAULT, EINVAL, ERANGE, fail

cdef enum:
    # x86-64: addresses of user space end below, those of the kernel have the upper 17 bits set
    USER_BITS = 47
    CHUNK = 64


cdef inline int64_t kernel_fault(uint64_t at) noexcept nogil:
    """-ERANGE for what cannot be a kernel address, -EFAULT for one that is not mapped."""
    return -EFAULT if at >> USER_BITS == 0x1ffff else -ERANGE


cdef int64_t copy_memory(run_ctx *run, void *to, uint64_t size, uint64_t at) noexcept nogil:
    if size == 0:
        return 0
    if not readable(run, at, size):
        memset(to, 0, size)
        return kernel_fault(at)
    memcpy(to, <void *> at, size)
    return 0


cdef int64_t copy_string(run_ctx *run, char *to, uint64_t size, uint64_t at) noexcept nogil:
    cdef uint64_t i
    if size == 0:
        return 0
    for i in range(size):
        if not readable(run, at + i, 1):
            memset(to, 0, size)
            return kernel_fault(at)
        to[i] = (<char *> at)[i]
        if to[i] == 0:
            return <int64_t> i + 1
    to[size - 1] = 0
    return <int64_t> size


cdef inline bint is_kernel(run_ctx *run, uint64_t at) noexcept nogil:
    return in_stack(run, at, 1) or find_region(run, at) != NULL


cdef int64_t copy_user(run_ctx *run, void *to, uint64_t size, uint64_t at) noexcept nogil:
    if size == 0:
        return 0
    if is_kernel(run, at) or user_read(at, to, size):
        memset(to, 0, size)
        return -EFAULT
    return 0


cdef int64_t copy_user_string(run_ctx *run, char *to, uint64_t size, uint64_t at) noexcept nogil:
    """Like copy_string, from user memory, which is read in pieces that end at page ends."""
    cdef uint64_t done = 0
    cdef uint64_t i, n
    if size == 0:
        return 0
    while done < size:
        n = min(size - done, CHUNK - (at + done) % CHUNK)
        if is_kernel(run, at) or user_read(at + done, to + done, n):
            memset(to, 0, size)
            return -EFAULT
        for i in range(done, done + n):
            if to[i] == 0:
                return <int64_t> i + 1
        done += n
    to[size - 1] = 0
    return <int64_t> size


cdef uint64_t probe_read_kernel(uint64_t to, uint64_t size, uint64_t at, uint64_t r4,
                                uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> copy_memory(run, <void *> to, <uint32_t> size, at)


cdef uint64_t probe_read_kernel_str(uint64_t to, uint64_t size, uint64_t at, uint64_t r4,
                                    uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> copy_string(run, <char *> to, <uint32_t> size, at)


cdef uint64_t probe_read_user(uint64_t to, uint64_t size, uint64_t at, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> copy_user(run, <void *> to, <uint32_t> size, at)


cdef uint64_t probe_read_user_str(uint64_t to, uint64_t size, uint64_t at, uint64_t r4,
                                  uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> copy_user_string(run, <char *> to, <uint32_t> size, at)


cdef uint64_t probe_read(uint64_t to, uint64_t size, uint64_t at, uint64_t r4, uint64_t r5,
                         run_ctx *run) noexcept nogil:
    """Kernel or user memory, as the address says."""
    if is_kernel(run, at) or at >> USER_BITS:
        return probe_read_kernel(to, size, at, r4, r5, run)
    return probe_read_user(to, size, at, r4, r5, run)


cdef uint64_t probe_read_str(uint64_t to, uint64_t size, uint64_t at, uint64_t r4, uint64_t r5,
                             run_ctx *run) noexcept nogil:
    if is_kernel(run, at) or at >> USER_BITS:
        return probe_read_kernel_str(to, size, at, r4, r5, run)
    return probe_read_user_str(to, size, at, r4, r5, run)


cdef uint64_t copy_from_user_task(uint64_t to, uint64_t size, uint64_t at, uint64_t task,
                                  uint64_t flags, run_ctx *run) noexcept nogil:
    if flags:
        return fail(EINVAL)
    return <uint64_t> copy_user(run, <void *> to, <uint32_t> size, at)


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "probe_read": <uint64_t> probe_read,
        "probe_read_str": <uint64_t> probe_read_str,
        "probe_read_user": <uint64_t> probe_read_user,
        "probe_read_user_str": <uint64_t> probe_read_user_str,
        "probe_read_kernel": <uint64_t> probe_read_kernel,
        "probe_read_kernel_str": <uint64_t> probe_read_kernel_str,
        "copy_from_user": <uint64_t> probe_read_user,
        "copy_from_user_task": <uint64_t> copy_from_user_task,
    }
