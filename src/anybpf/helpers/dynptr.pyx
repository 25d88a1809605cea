"""Dynamic pointers: memory whose size is known at run time only (kernel/bpf/helpers.c).

A program holds one in 16 bytes of its stack. The verifier keeps it from changing them; a checked
run tests the memory they name before each use instead.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memmove, memset

from anybpf.core.memory cimport may_access
from anybpf.core.run_ctx cimport REGION_READ, REGION_WRITE, fault_argument, run_ctx
from anybpf.helpers.abi cimport E2BIG, EINVAL, fail
from anybpf.helpers.ringbuf cimport release, reserve
from anybpf.maps cimport ringbuf
from anybpf.maps.bpf_map cimport bpf_map

cdef enum:
    SIZE_MASK = 0xffffff
    TYPE_SHIFT = 28
    TYPE_LOCAL = 1
    TYPE_RINGBUF = 2
    NO_WAKEUP = 1

cdef struct bpf_dynptr:
    uint64_t data
    uint32_t size                   # and the type in bits 28 to 30, read-only in bit 31
    uint32_t offset


cdef inline bint is_rdonly(bpf_dynptr *ptr) noexcept nogil:
    return ptr.size >> 31 != 0


cdef void set_dynptr(bpf_dynptr *ptr, uint64_t data, uint32_t type, uint32_t size) noexcept nogil:
    ptr.data = data
    ptr.size = size | type << TYPE_SHIFT
    ptr.offset = 0


cdef uint64_t slice_at(run_ctx *run, bpf_dynptr *ptr, uint32_t offset, uint32_t len,
                       uint32_t arg) noexcept nogil:
    """The address of `len` bytes at `offset`, 0 if they do not lie inside."""
    cdef uint32_t size = ptr.size & SIZE_MASK
    cdef uint64_t at = ptr.data + ptr.offset + offset
    if len > size or offset > size - len:
        return 0
    if run.checked and len and not may_access(run, at, len, REGION_READ):
        fault_argument(run, arg, at, len)
        return 0
    return at


cdef uint64_t dynptr_from_mem(uint64_t data, uint64_t size, uint64_t flags, uint64_t to,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> to
    memset(ptr, 0, sizeof(bpf_dynptr))
    if <uint32_t> size > SIZE_MASK:
        return fail(E2BIG)
    if flags:
        return fail(EINVAL)
    set_dynptr(ptr, data, TYPE_LOCAL, <uint32_t> size)
    return 0


cdef uint64_t dynptr_read(uint64_t to, uint64_t len, uint64_t src, uint64_t offset,
                          uint64_t flags, run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> src
    cdef uint64_t at
    if not ptr.data or flags:
        return fail(EINVAL)
    at = slice_at(run, ptr, <uint32_t> offset, <uint32_t> len, 2)
    if not at:
        return fail(E2BIG)
    memmove(<void *> to, <void *> at, <uint32_t> len)
    return 0


cdef uint64_t dynptr_write(uint64_t dst, uint64_t offset, uint64_t data, uint64_t len,
                           uint64_t flags, run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> dst
    cdef uint64_t at
    if not ptr.data or is_rdonly(ptr) or flags:
        return fail(EINVAL)
    at = slice_at(run, ptr, <uint32_t> offset, <uint32_t> len, 0)
    if not at:
        return fail(E2BIG)
    if run.checked and <uint32_t> len and not may_access(run, at, <uint32_t> len, REGION_WRITE):
        fault_argument(run, 0, at, <uint32_t> len)
        return fail(E2BIG)
    memmove(<void *> at, <void *> data, <uint32_t> len)
    return 0


cdef uint64_t dynptr_data(uint64_t src, uint64_t offset, uint64_t len, uint64_t r4, uint64_t r5,
                          run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> src
    if not ptr.data or is_rdonly(ptr):
        return 0
    return slice_at(run, ptr, <uint32_t> offset, <uint32_t> len, 0)


cdef uint64_t ringbuf_reserve_dynptr(uint64_t map, uint64_t size, uint64_t flags, uint64_t to,
                                     uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> to
    cdef void *record
    memset(ptr, 0, sizeof(bpf_dynptr))
    if flags:
        return fail(EINVAL)
    if <uint32_t> size > SIZE_MASK:
        return fail(E2BIG)
    record = reserve(run, <bpf_map *> map, <uint32_t> size)
    if record == NULL:
        return fail(EINVAL)
    set_dynptr(ptr, <uint64_t> record, TYPE_RINGBUF, <uint32_t> size)
    return 0


cdef uint64_t ringbuf_submit_dynptr(uint64_t src, uint64_t flags, uint64_t r3, uint64_t r4,
                                    uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> src
    if ptr.data and release(run, ptr.data):
        ringbuf.ringbuf_submit(<void *> ptr.data, flags)
    memset(ptr, 0, sizeof(bpf_dynptr))
    return 0


cdef uint64_t ringbuf_discard_dynptr(uint64_t src, uint64_t flags, uint64_t r3, uint64_t r4,
                                     uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_dynptr *ptr = <bpf_dynptr *> src
    if ptr.data and release(run, ptr.data):
        ringbuf.ringbuf_discard(<void *> ptr.data, flags)
    memset(ptr, 0, sizeof(bpf_dynptr))
    return 0


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "dynptr_from_mem": <uint64_t> dynptr_from_mem,
        "dynptr_read": <uint64_t> dynptr_read,
        "dynptr_write": <uint64_t> dynptr_write,
        "dynptr_data": <uint64_t> dynptr_data,
        "ringbuf_reserve_dynptr": <uint64_t> ringbuf_reserve_dynptr,
        "ringbuf_submit_dynptr": <uint64_t> ringbuf_submit_dynptr,
        "ringbuf_discard_dynptr": <uint64_t> ringbuf_discard_dynptr,
    }
