# struct sk_buff as programs see it through struct __sk_buff (include/linux/skbuff.h).
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport RunCtx, run_ctx

cdef enum:
    NET_SKB_PAD = 64                # head room of a packet made by BPF_PROG_TEST_RUN
    SHARED_INFO = 320               # struct skb_shared_info, aligned
    PAGE = 4096
    BPF_SKB_MAX_LEN = 16064         # SKB_MAX_ALLOC: four pages less the shared info
    ETH_HLEN = 14
    VLAN_HLEN = 4
    ETH_P_802_3 = 0x0001
    ETH_P_802_2 = 0x0004
    ETH_P_IP = 0x0800
    ETH_P_8021Q = 0x8100
    ETH_P_IPV6 = 0x86dd
    ETH_P_8021AD = 0x88a8
    CHECKSUM_NONE = 0
    CHECKSUM_UNNECESSARY = 1
    CHECKSUM_COMPLETE = 2
    CHECKSUM_PARTIAL = 3
    PACKET_HOST = 0
    PACKET_BROADCAST = 1
    PACKET_MULTICAST = 2
    PACKET_OTHERHOST = 3
    NO_HEADER = 0                   # mac_header and the like: not set

# The members of struct sock that a program can see; layout of struct bpf_sock.
cdef struct sock:
    uint32_t bound_dev_if
    uint32_t family
    uint32_t type
    uint32_t protocol
    uint32_t mark
    uint32_t priority
    uint32_t src_ip4
    uint32_t src_ip6[4]
    uint32_t src_port
    uint16_t dst_port
    uint16_t pad
    uint32_t dst_ip4
    uint32_t dst_ip6[4]
    uint32_t state
    uint32_t rx_queue_mapping       # a signed number

# All in one place what the kernel spreads over the sk_buff, its qdisc control block, its socket
# and its shared info. Headers are addresses. 16-bit network order numbers keep their memory order.
cdef struct sk_buff:
    uint64_t data
    uint64_t data_end               # behind the linear bytes, as last told to the program
    uint64_t data_meta
    uint64_t head
    uint64_t end
    uint64_t mac_header
    uint64_t network_header
    uint64_t transport_header
    uint32_t len
    uint32_t pkt_type
    uint32_t mark
    uint32_t queue_mapping
    uint32_t protocol
    uint32_t vlan_present
    uint32_t vlan_tci
    uint32_t vlan_proto
    uint32_t priority
    uint32_t ingress_ifindex
    uint32_t ifindex
    uint32_t tc_index
    uint32_t cb[5]
    uint32_t hash
    uint32_t hash_kind              # 0: none yet, else computed or set
    uint32_t tc_classid
    uint32_t napi_id
    uint32_t family
    uint32_t remote_ip4
    uint32_t local_ip4
    uint32_t remote_ip6[4]
    uint32_t local_ip6[4]
    uint32_t remote_port
    uint32_t local_port
    uint32_t wire_len
    uint64_t tstamp
    uint64_t hwtstamp
    uint64_t sk                     # address of a struct sock, or 0
    uint64_t sk_cookie
    uint64_t flow_keys
    uint32_t gso_segs
    uint32_t gso_size
    uint32_t gso_type
    uint32_t tstamp_type
    uint32_t ip_summed
    uint32_t csum
    uint32_t csum_level
    uint32_t encapsulation
    uint32_t direct                 # the program has direct packet access
    uint32_t n_devices
    const uint32_t *devices         # the interface indexes that exist

cdef inline uint16_t swab16(uint32_t x) noexcept nogil:
    return <uint16_t> (((x & 0xff) << 8) | ((x >> 8) & 0xff))

cdef inline bint is_vlan(uint32_t protocol) noexcept nogil:
    return protocol == swab16(ETH_P_8021Q) or protocol == swab16(ETH_P_8021AD)

cdef inline int64_t network_offset(sk_buff *skb) noexcept nogil:
    return <int64_t> (skb.network_header - skb.data)

cdef inline void skb_show_packet(run_ctx *run, sk_buff *skb) noexcept nogil:
    """bpf_compute_data_pointers(), and tell the run which bytes the program may touch now."""
    skb.data_end = skb.data + skb.len
    skb.data_meta = skb.data
    if skb.direct:
        run.packet.base = skb.data
        run.packet.size = skb.len
    run.hit.size = 0

# Makes room for n bytes before data / behind the packet: 0, or -ENOMEM. The packet may move.
cdef int skb_cow_head(sk_buff *skb, uint64_t n) noexcept nogil
cdef int skb_cow_tail(sk_buff *skb, uint64_t n) noexcept nogil
# The protocol of what follows an Ethernet header whose type field is `type` (network order).
cdef uint32_t encapsulated_protocol(uint32_t type, const uint8_t *payload,
                                    uint64_t size) noexcept nogil

cdef class SkBuff:
    cdef sk_buff c
    cdef sock sk
    cdef object devices
    cpdef void enter(self, RunCtx run)
