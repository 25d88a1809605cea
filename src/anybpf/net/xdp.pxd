# struct xdp_buff: the frame that an XDP program sees (include/net/xdp.h).
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport RunCtx, run_ctx

cdef enum:
    XDP_PACKET_HEADROOM = 256
    XDP_FRAME_SIZE = 4096           # one page holds head room, data and the shared info
    XDP_TAILROOM = 320              # struct skb_shared_info, aligned
    XDP_FRAME_STRUCT = 40           # struct xdp_frame, kept free at the start of the head room
    XDP_FRAG_SIZE = 4096

# Bytes beyond the first page are fragments of one page each; here they lie one after another, so
# that fragment i begins at frags + i * XDP_FRAG_SIZE and only the last may be partly filled.
cdef struct xdp_buff:
    uint64_t data
    uint64_t data_end
    uint64_t data_meta
    uint64_t data_hard_start
    uint64_t frags
    uint32_t frags_size
    uint32_t frame_sz
    uint32_t ingress_ifindex
    uint32_t rx_queue_index
    uint32_t egress_ifindex
    uint32_t n_devices
    const uint32_t *devices         # the interface indexes that exist

cdef inline uint64_t xdp_buff_len(xdp_buff *xdp) noexcept nogil:
    return xdp.data_end - xdp.data + xdp.frags_size

cdef inline void xdp_show_packet(run_ctx *run, xdp_buff *xdp) noexcept nogil:
    """Tell the run which bytes the program may touch now: metadata and the linear part."""
    run.packet.base = xdp.data_meta
    run.packet.size = xdp.data_end - xdp.data_meta
    run.hit.size = 0

cdef class XdpBuff:
    cdef xdp_buff c
    cdef uint8_t *memory
    cdef object devices
    cpdef void enter(self, RunCtx run)
