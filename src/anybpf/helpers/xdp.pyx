"""Helpers on XDP frames (net/core/filter.c)."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EACCES, EFAULT, EINVAL, fail
from anybpf.net.xdp cimport (
    XDP_FRAG_SIZE,
    XDP_FRAME_STRUCT,
    XDP_TAILROOM,
    xdp_buff,
    xdp_buff_len,
    xdp_show_packet,
)

cdef enum:
    ETH_HLEN = 14
    MAX_OFFSET = 0xffff
    MAX_METADATA = 252


cdef uint64_t xdp_adjust_head(uint64_t ctx, uint64_t delta, uint64_t r3, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    """Move the packet's start; metadata moves along."""
    cdef xdp_buff *xdp = <xdp_buff *> ctx
    cdef int64_t offset = <int32_t> delta
    cdef uint64_t meta = xdp.data - xdp.data_meta
    cdef int64_t data = <int64_t> xdp.data + offset
    if (data < <int64_t> (xdp.data_hard_start + XDP_FRAME_STRUCT + meta)
            or data > <int64_t> xdp.data_end - ETH_HLEN):
        return fail(EINVAL)
    if meta:
        memmove(<void *> (xdp.data_meta + <uint64_t> offset), <void *> xdp.data_meta, meta)
    xdp.data_meta += <uint64_t> offset
    xdp.data = <uint64_t> data
    xdp_show_packet(run, xdp)
    return 0


cdef uint64_t xdp_adjust_meta(uint64_t ctx, uint64_t delta, uint64_t r3, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    cdef xdp_buff *xdp = <xdp_buff *> ctx
    cdef int64_t meta = <int64_t> xdp.data_meta + <int32_t> delta
    cdef int64_t size = <int64_t> xdp.data - meta
    if meta < <int64_t> (xdp.data_hard_start + XDP_FRAME_STRUCT) or size < 0:
        return fail(EINVAL)
    if size & 3 or size > MAX_METADATA:
        return fail(EACCES)
    xdp.data_meta = <uint64_t> meta
    xdp_show_packet(run, xdp)
    return 0


cdef int64_t grow_fragments(xdp_buff *xdp, uint64_t n) noexcept nogil:
    """The last fragment can fill its page."""
    cdef uint64_t room = (XDP_FRAG_SIZE - xdp.frags_size % XDP_FRAG_SIZE) % XDP_FRAG_SIZE
    if n > room:
        return -EINVAL
    memset(<void *> (xdp.frags + xdp.frags_size), 0, n)
    xdp.frags_size += <uint32_t> n
    return 0


cdef int64_t shrink_fragments(xdp_buff *xdp, uint64_t n) noexcept nogil:
    """Fragments go first, then the linear part."""
    cdef uint64_t from_frags = min(n, <uint64_t> xdp.frags_size)
    if <int64_t> n > <int64_t> xdp_buff_len(xdp) - ETH_HLEN:
        return -EINVAL
    xdp.frags_size -= <uint32_t> from_frags
    xdp.data_end -= n - from_frags
    return 0


cdef int64_t adjust_linear(xdp_buff *xdp, int64_t offset) noexcept nogil:
    cdef int64_t end = <int64_t> xdp.data_end + offset
    if (end > <int64_t> (xdp.data_hard_start + xdp.frame_sz - XDP_TAILROOM)
            or end < <int64_t> xdp.data + ETH_HLEN):
        return -EINVAL
    if offset > 0:
        memset(<void *> xdp.data_end, 0, <uint64_t> offset)
    xdp.data_end = <uint64_t> end
    return 0


cdef uint64_t xdp_adjust_tail(uint64_t ctx, uint64_t delta, uint64_t r3, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    cdef xdp_buff *xdp = <xdp_buff *> ctx
    cdef int64_t offset = <int32_t> delta
    cdef int64_t err
    if not xdp.frags_size:
        err = adjust_linear(xdp, offset)
    elif offset < 0:
        err = shrink_fragments(xdp, <uint64_t> -offset)
    else:
        err = grow_fragments(xdp, <uint64_t> offset)
    xdp_show_packet(run, xdp)
    return <uint64_t> err


cdef int64_t check_range(xdp_buff *xdp, uint32_t offset, uint32_t size) noexcept nogil:
    if offset > MAX_OFFSET or size > MAX_OFFSET:
        return -EFAULT
    if <uint64_t> offset + size > xdp_buff_len(xdp):
        return -EINVAL
    return 0


cdef inline uint64_t linear_part(xdp_buff *xdp, uint32_t offset, uint32_t size) noexcept nogil:
    """How many of `size` bytes at `offset` lie before the fragments."""
    cdef uint64_t linear = xdp.data_end - xdp.data
    return min(<uint64_t> size, linear - offset) if offset < linear else 0


cdef inline uint8_t *fragment_part(xdp_buff *xdp, uint32_t offset, uint64_t done) noexcept nogil:
    return <uint8_t *> (xdp.frags + offset + done - (xdp.data_end - xdp.data))


cdef inline void copy(void *frame, void *buf, uint64_t size, bint store) noexcept nogil:
    memcpy(frame if store else buf, buf if store else frame, size)


cdef uint64_t copy_bytes(xdp_buff *xdp, uint32_t offset, uint8_t *buf, uint32_t size,
                         bint store) noexcept nogil:
    """Between a program's buffer and the frame, over the border of its first page."""
    cdef int64_t err = check_range(xdp, offset, size)
    cdef uint64_t n
    if err:
        return <uint64_t> err
    n = linear_part(xdp, offset, size)
    copy(<void *> (xdp.data + offset), buf, n, store)
    if size > n:
        copy(fragment_part(xdp, offset, n), buf + n, size - n, store)
    return 0


cdef uint64_t xdp_load_bytes(uint64_t ctx, uint64_t at, uint64_t buf, uint64_t len, uint64_t r5,
                             run_ctx *run) noexcept nogil:
    return copy_bytes(<xdp_buff *> ctx, <uint32_t> at, <uint8_t *> buf, <uint32_t> len, False)


cdef uint64_t xdp_store_bytes(uint64_t ctx, uint64_t at, uint64_t buf, uint64_t len, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    return copy_bytes(<xdp_buff *> ctx, <uint32_t> at, <uint8_t *> buf, <uint32_t> len, True)


cdef uint64_t xdp_get_buff_len(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                               run_ctx *run) noexcept nogil:
    return xdp_buff_len(<xdp_buff *> ctx)


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "xdp_adjust_head": <uint64_t> xdp_adjust_head,
        "xdp_adjust_meta": <uint64_t> xdp_adjust_meta,
        "xdp_adjust_tail": <uint64_t> xdp_adjust_tail,
        "xdp_load_bytes": <uint64_t> xdp_load_bytes,
        "xdp_store_bytes": <uint64_t> xdp_store_bytes,
        "xdp_get_buff_len": <uint64_t> xdp_get_buff_len,
    }
