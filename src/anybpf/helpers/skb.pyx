"""Helpers on socket buffers: bytes, room, VLAN tags, metadata (net/core/filter.c)."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport (
    EALREADY,
    EFAULT,
    EINVAL,
    ENOMEM,
    ENOTSUPP,
    EOPNOTSUPP,
    fail,
)
from anybpf.net cimport checksum
from anybpf.net.filter cimport *

cdef enum:
    MAX_OFFSET = 0xffff
    INT_MAX = 0x7fffffff
    IP_HLEN = 20
    IP6_HLEN = 40
    VLAN_ETH_HLEN = 18
    # bpf_skb_store_bytes
    RECOMPUTE_CSUM = 1
    INVALIDATE_HASH = 2
    # bpf_skb_load_bytes_relative
    HDR_START_MAC = 0
    HDR_START_NET = 1
    # bpf_skb_set_tstamp
    CLOCK_REALTIME = 0
    CLOCK_TAI = 2


# --- the complete checksum follows the bytes it covers ---

cdef void pull_checksum(sk_buff *skb, uint64_t at, uint64_t size) noexcept nogil:
    """skb_postpull_rcsum: these bytes, which begin at skb.data + offset, are covered no more."""
    if skb.ip_summed == CHECKSUM_COMPLETE:
        skb.csum = checksum.sub(skb.csum, checksum.partial(<void *> at, size, 0))


cdef void push_checksum(sk_buff *skb, uint64_t at, uint64_t size) noexcept nogil:
    if skb.ip_summed == CHECKSUM_COMPLETE:
        skb.csum = checksum.add(skb.csum, checksum.partial(<void *> at, size, 0))


cdef inline void clear_hash(sk_buff *skb) noexcept nogil:
    skb.hash = 0
    skb.hash_kind = 0


# --- bytes ---

cdef uint64_t load_at(uint64_t at, uint64_t end, void *to, uint32_t size) noexcept nogil:
    if at + size > end:
        memset(to, 0, size)
        return fail(EFAULT)
    memcpy(to, <void *> at, size)
    return 0


cdef uint64_t skb_load_bytes(uint64_t ctx, uint64_t offset, uint64_t to, uint64_t len,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    return load_at(skb.data + <uint32_t> offset, skb.data + skb.len, <void *> to, <uint32_t> len)


cdef uint64_t skb_load_bytes_relative(uint64_t ctx, uint64_t offset, uint64_t to, uint64_t len,
                                      uint64_t start, run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint64_t base = 0
    if <uint32_t> start == HDR_START_MAC:
        base = skb.mac_header
    elif <uint32_t> start == HDR_START_NET:
        base = skb.network_header
    if base == 0 or <uint32_t> offset > MAX_OFFSET:
        memset(<void *> to, 0, <uint32_t> len)
        return fail(EFAULT)
    return load_at(base + <uint32_t> offset, skb.data + skb.len, <void *> to, <uint32_t> len)


cdef uint64_t skb_store_bytes(uint64_t ctx, uint64_t offset, uint64_t data, uint64_t len,
                              uint64_t flags, run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint64_t at = skb.data + <uint32_t> offset
    cdef uint64_t size = <uint32_t> len
    if flags & ~<uint64_t> (RECOMPUTE_CSUM | INVALIDATE_HASH):
        return fail(EINVAL)
    if <uint32_t> offset > INT_MAX or <uint32_t> offset + size > skb.len:
        return fail(EFAULT)
    if flags & RECOMPUTE_CSUM:
        replace_in_checksum(skb, <uint32_t> offset, <const void *> data, size)
    memcpy(<void *> at, <void *> data, size)
    if flags & INVALIDATE_HASH:
        clear_hash(skb)
    return 0


cdef void replace_in_checksum(sk_buff *skb, uint32_t offset, const void *data,
                              uint64_t size) noexcept nogil:
    cdef uint32_t old, new
    if skb.ip_summed != CHECKSUM_COMPLETE:
        return
    old = checksum.partial(<void *> (skb.data + offset), size, 0)
    new = checksum.partial(data, size, 0)
    skb.csum = checksum.sub(skb.csum, checksum.block_at(old, offset))
    skb.csum = checksum.add(skb.csum, checksum.block_at(new, offset))


cdef uint64_t skb_pull_data(uint64_t ctx, uint64_t len, uint64_t r3, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil:
    """Everything is linear here: there is only the length to test."""
    cdef sk_buff *skb = <sk_buff *> ctx
    if <uint32_t> len > skb.len:
        return fail(ENOMEM)
    skb_show_packet(run, skb)
    return 0


# --- room ---

cdef int64_t insert_room(sk_buff *skb, uint64_t off, uint32_t n) noexcept nogil:
    """bpf_skb_net_hdr_push: n zero bytes at offset `off`; headers before it move to the front."""
    cdef bint transport_same = skb.transport_header == skb.network_header
    cdef int err = skb_cow_head(skb, n)
    if err:
        return err
    skb.data -= n
    skb.len += n
    memmove(<void *> skb.data, <void *> (skb.data + n), off)
    memset(<void *> (skb.data + off), 0, n)
    skb.mac_header -= n
    skb.network_header -= n
    if transport_same:
        skb.transport_header = skb.network_header
    return 0


cdef int64_t remove_room(sk_buff *skb, uint64_t off, uint32_t n) noexcept nogil:
    """bpf_skb_net_hdr_pop: take n bytes out at offset `off`."""
    cdef bint transport_same = skb.transport_header == skb.network_header
    if off + n > skb.len:
        return -ENOMEM
    pull_checksum(skb, skb.data + off, n)
    memmove(<void *> (skb.data + n), <void *> skb.data, off)
    skb.data += n
    skb.len -= n
    skb.mac_header += n
    skb.network_header += n
    if transport_same:
        skb.transport_header = skb.network_header
    return 0


cdef uint32_t smallest(sk_buff *skb) noexcept nogil:
    """__bpf_skb_min_len: a packet never loses the headers it is known to have."""
    cdef int64_t offset = network_offset(skb)
    cdef uint32_t least = <uint32_t> offset if offset > 0 else 0
    if skb.transport_header != NO_HEADER:
        offset = <int64_t> (skb.transport_header - skb.data)
        if offset > 0:
            least = <uint32_t> offset
    return least


cdef uint64_t skb_change_tail(uint64_t ctx, uint64_t len, uint64_t flags, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint32_t new_len = <uint32_t> len
    if flags or new_len > BPF_SKB_MAX_LEN or new_len < smallest(skb):
        return fail(EINVAL)
    if skb.encapsulation:
        return fail(ENOTSUPP)
    if new_len > skb.len:
        if skb_cow_tail(skb, new_len - skb.len):
            return fail(ENOMEM)
        memset(<void *> (skb.data + skb.len), 0, new_len - skb.len)
        if skb.ip_summed == CHECKSUM_COMPLETE:
            skb.ip_summed = CHECKSUM_NONE
    elif skb.ip_summed == CHECKSUM_COMPLETE:
        replace_tail_checksum(skb, new_len)
    skb.len = new_len
    if skb.gso_size:
        skb.gso_size = skb.gso_segs = skb.gso_type = 0
    skb_show_packet(run, skb)
    return 0


cdef void replace_tail_checksum(sk_buff *skb, uint32_t new_len) noexcept nogil:
    cdef uint32_t gone = checksum.partial(<void *> (skb.data + new_len), skb.len - new_len, 0)
    skb.csum = checksum.sub(skb.csum, checksum.block_at(gone, new_len))


cdef uint64_t skb_change_head(uint64_t ctx, uint64_t room, uint64_t flags, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    """Room for a MAC header before the packet; protocol and network header stay as they are."""
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint32_t n = <uint32_t> room
    if flags or n > INT_MAX or (not skb.gso_size and skb.len + n > BPF_SKB_MAX_LEN):
        return fail(EINVAL)
    if skb_cow_head(skb, n):
        return fail(ENOMEM)
    skb.data -= n
    skb.len += n
    memset(<void *> skb.data, 0, n)
    skb.mac_header = skb.data
    skb_show_packet(run, skb)
    return 0


cdef uint64_t skb_change_proto(uint64_t ctx, uint64_t proto, uint64_t flags, uint64_t r4,
                               uint64_t r5, run_ctx *run) noexcept nogil:
    """Make room for an IPv6 header in place of IPv4, or the other way round."""
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint16_t to = <uint16_t> proto
    cdef uint64_t off = skb.network_header - skb.mac_header
    cdef int64_t err
    if flags:
        return fail(EINVAL)
    if skb.protocol == swab16(ETH_P_IP) and to == swab16(ETH_P_IPV6):
        err = insert_room(skb, off, IP6_HLEN - IP_HLEN)
    elif skb.protocol == swab16(ETH_P_IPV6) and to == swab16(ETH_P_IP):
        err = remove_room(skb, off, IP6_HLEN - IP_HLEN)
    else:
        err = -ENOTSUPP
    if not err:
        skb.protocol = to
        clear_hash(skb)
    skb_show_packet(run, skb)
    return <uint64_t> err


cdef enum:
    ROOM_NET = 0
    ROOM_MAC = 1
    ROOM_MAX = 0xfff
    FIXED_GSO = 1 << 0
    ENCAP_L3_IPV4 = 1 << 1
    ENCAP_L3_IPV6 = 1 << 2
    ENCAP_L4_GRE = 1 << 3
    ENCAP_L4_UDP = 1 << 4
    NO_CSUM_RESET = 1 << 5
    ENCAP_L2_ETH = 1 << 6
    DECAP_L3_IPV4 = 1 << 7
    DECAP_L3_IPV6 = 1 << 8
    ENCAP_L3 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6
    ENCAP_L4 = ENCAP_L4_GRE | ENCAP_L4_UDP
    DECAP_L3 = DECAP_L3_IPV4 | DECAP_L3_IPV6
    L2_SHIFT = 56


cdef inline uint64_t room_flags() noexcept nogil:
    return (FIXED_GSO | ENCAP_L3 | ENCAP_L4 | ENCAP_L2_ETH | DECAP_L3
            | NO_CSUM_RESET | <uint64_t> 0xff << L2_SHIFT)


cdef inline uint32_t base_len(sk_buff *skb) noexcept nogil:
    return IP_HLEN if skb.protocol == swab16(ETH_P_IP) else IP6_HLEN


cdef int64_t check_encap(sk_buff *skb, uint32_t n, uint64_t flags) noexcept nogil:
    cdef uint32_t inner_mac = flags >> L2_SHIFT
    if flags & ENCAP_L3 == ENCAP_L3 or flags & ENCAP_L4 == ENCAP_L4:
        return -EINVAL
    if flags & ENCAP_L2_ETH and inner_mac < ETH_HLEN:
        return -EINVAL
    if skb.encapsulation:
        return -EALREADY
    return -EINVAL if inner_mac > n else 0


cdef void finish_encap(sk_buff *skb, uint64_t flags, uint64_t mac_len) noexcept nogil:
    cdef bint ipv6 = (flags & ENCAP_L3_IPV6) != 0
    skb.encapsulation = 1
    if flags & ENCAP_L4:
        skb.transport_header = skb.data + mac_len + (IP6_HLEN if ipv6 else IP_HLEN)
    skb.protocol = swab16(ETH_P_IPV6 if ipv6 else ETH_P_IP)


cdef int64_t grow_room(sk_buff *skb, uint64_t off, uint32_t n, uint64_t flags) noexcept nogil:
    cdef uint64_t mac_len = skb.network_header - skb.mac_header
    cdef int64_t err = 0
    if skb.gso_size:
        return -ENOTSUPP            # packets of a test run have no GSO type
    if flags & ENCAP_L3:
        err = check_encap(skb, n, flags)
    if not err:
        err = insert_room(skb, off, n)
    if not err and flags & ENCAP_L3:
        finish_encap(skb, flags, mac_len)
    return err


cdef int64_t shrink_room(sk_buff *skb, uint64_t off, uint32_t n, uint64_t flags) noexcept nogil:
    cdef int64_t err
    if flags & ~<uint64_t> (FIXED_GSO | DECAP_L3 | NO_CSUM_RESET):
        return -EINVAL
    if skb.gso_size:
        return -ENOTSUPP
    err = remove_room(skb, off, n)
    if not err and flags & DECAP_L3:
        skb.protocol = swab16(ETH_P_IPV6 if flags & DECAP_L3_IPV6 else ETH_P_IP)
    return err


cdef int64_t check_room(sk_buff *skb, int32_t diff, uint32_t mode, uint64_t flags) noexcept nogil:
    """The tests of bpf_skb_adjust_room, in the kernel's order."""
    cdef int64_t size = -<int64_t> diff if diff < 0 else diff
    cdef int64_t now = <int64_t> skb.len - network_offset(skb)
    cdef int64_t least
    if flags & ~room_flags():
        return -EINVAL
    if size > ROOM_MAX:
        return -EFAULT
    if skb.protocol != swab16(ETH_P_IP) and skb.protocol != swab16(ETH_P_IPV6):
        return -ENOTSUPP
    if mode != ROOM_NET and mode != ROOM_MAC:
        return -ENOTSUPP
    least = base_len(skb)
    if flags & DECAP_L3:
        if diff >= 0 or flags & DECAP_L3 == DECAP_L3:
            return -EINVAL
        least = IP_HLEN if flags & DECAP_L3_IPV4 else IP6_HLEN
    if diff < 0:
        return -ENOTSUPP if size >= now or now - size < least else 0
    return -ENOTSUPP if skb.len + size > BPF_SKB_MAX_LEN and not skb.gso_size else 0


cdef uint64_t skb_adjust_room(uint64_t ctx, uint64_t len_diff, uint64_t mode, uint64_t flags,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    """Grow or shrink the packet behind its MAC header (ROOM_MAC) or network header (ROOM_NET)."""
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef int32_t diff = <int32_t> len_diff
    cdef uint64_t off = skb.network_header - skb.mac_header
    cdef int64_t err = check_room(skb, diff, <uint32_t> mode, flags)
    if err:
        return <uint64_t> err
    if <uint32_t> mode == ROOM_NET:
        off += base_len(skb)
    if diff < 0:
        err = shrink_room(skb, off, <uint32_t> -diff, flags)
    else:
        err = grow_room(skb, off, <uint32_t> diff, flags)
    if not err and not flags & NO_CSUM_RESET and skb.ip_summed == CHECKSUM_UNNECESSARY:
        skb.ip_summed = CHECKSUM_NONE
        skb.csum_level = 0
    skb_show_packet(run, skb)
    return <uint64_t> err


# --- VLAN tags: one beside the packet (the kernel's hardware tag), the others in it ---

cdef void set_tag(sk_buff *skb, uint32_t proto, uint32_t tci) noexcept nogil:
    skb.vlan_proto = proto
    skb.vlan_tci = tci
    skb.vlan_present = 1 if proto or tci else 0


cdef int64_t insert_tag(sk_buff *skb) noexcept nogil:
    """Write the tag that is beside the packet into it."""
    cdef uint16_t tag[2]
    if skb_cow_head(skb, VLAN_HLEN):
        return -ENOMEM
    skb.data -= VLAN_HLEN
    skb.len += VLAN_HLEN
    memmove(<void *> skb.data, <void *> (skb.data + VLAN_HLEN), 12)
    skb.mac_header -= VLAN_HLEN
    tag[0] = <uint16_t> skb.vlan_proto
    tag[1] = swab16(skb.vlan_tci)
    memcpy(<void *> (skb.data + 12), tag, VLAN_HLEN)
    skb.protocol = skb.vlan_proto
    skb.network_header -= VLAN_HLEN
    push_checksum(skb, skb.data + 12, VLAN_HLEN)
    return 0


cdef int64_t remove_tag(sk_buff *skb, uint32_t *tci) noexcept nogil:
    """Take the outermost tag out of the packet."""
    cdef uint16_t tag[2]
    if skb.len < VLAN_ETH_HLEN:
        return -ENOMEM
    pull_checksum(skb, skb.data + 12, VLAN_HLEN)
    memcpy(tag, <void *> (skb.data + ETH_HLEN), VLAN_HLEN)
    tci[0] = swab16(tag[0])
    skb.protocol = encapsulated_protocol(tag[1], <uint8_t *> (skb.data + VLAN_ETH_HLEN),
                                         skb.len - VLAN_ETH_HLEN)
    memmove(<void *> (skb.data + VLAN_HLEN), <void *> skb.data, 12)
    skb.data += VLAN_HLEN
    skb.len -= VLAN_HLEN
    skb.mac_header += VLAN_HLEN
    if network_offset(skb) < ETH_HLEN:
        skb.network_header = skb.data + ETH_HLEN
    return 0


cdef uint64_t skb_vlan_push(uint64_t ctx, uint64_t proto, uint64_t tci, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint16_t tag = <uint16_t> proto
    cdef int64_t err
    if not is_vlan(tag):
        tag = swab16(ETH_P_8021Q)
    if skb.vlan_present:
        err = insert_tag(skb)
        if err:
            return <uint64_t> err
    set_tag(skb, tag, <uint16_t> tci)
    skb_show_packet(run, skb)
    return 0


cdef int64_t pop_tag(sk_buff *skb) noexcept nogil:
    cdef uint32_t tci = 0
    cdef uint32_t proto
    cdef int64_t err
    if skb.vlan_present:
        set_tag(skb, 0, 0)
    elif is_vlan(skb.protocol):
        err = remove_tag(skb, &tci)
        if err:
            return err
    if not is_vlan(skb.protocol):
        return 0
    proto = skb.protocol
    err = remove_tag(skb, &tci)
    if not err:
        set_tag(skb, proto, tci)
    return err


cdef uint64_t skb_vlan_pop(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                           run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef int64_t err = pop_tag(skb)
    skb_show_packet(run, skb)
    return <uint64_t> err


# --- metadata ---

cdef uint64_t skb_change_type(uint64_t ctx, uint64_t type, uint64_t r3, uint64_t r4, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    if skb.pkt_type > PACKET_OTHERHOST or <uint32_t> type > PACKET_OTHERHOST:
        return fail(EINVAL)
    skb.pkt_type = <uint32_t> type
    return 0


cdef uint32_t flow_hash(sk_buff *skb) noexcept nogil:
    """A hash of addresses, protocol and ports (FNV-1a); the kernel's has a random key."""
    cdef uint32_t hash = 2166136261
    cdef uint64_t at = skb.network_header
    cdef uint64_t end = skb.data + skb.len
    cdef uint64_t i
    cdef bint ipv4 = skb.protocol == swab16(ETH_P_IP)
    cdef uint64_t first = 12 if ipv4 else 8
    cdef uint64_t last = 24 if ipv4 else 44
    for i in range(first, last):
        if at + i < end:
            hash = (hash ^ (<uint8_t *> at)[i]) * 16777619
    return hash if hash else 1


cdef uint64_t get_hash_recalc(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    if not skb.hash_kind:
        skb.hash = flow_hash(skb)
        skb.hash_kind = 1
    return skb.hash


cdef uint64_t set_hash_invalid(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                               run_ctx *run) noexcept nogil:
    clear_hash(<sk_buff *> ctx)
    return 0


cdef uint64_t set_hash(uint64_t ctx, uint64_t hash, uint64_t r3, uint64_t r4, uint64_t r5,
                       run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    skb.hash = <uint32_t> hash
    skb.hash_kind = 1
    return 0


cdef uint64_t skb_set_tstamp(uint64_t ctx, uint64_t tstamp, uint64_t type, uint64_t r4,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    """A delivery time; only CLOCK_REALTIME takes 0, which clears it."""
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint32_t clock = <uint32_t> type
    if skb.protocol != swab16(ETH_P_IP) and skb.protocol != swab16(ETH_P_IPV6):
        return fail(EOPNOTSUPP)
    if clock > CLOCK_TAI or (clock != CLOCK_REALTIME and tstamp == 0):
        return fail(EINVAL)
    skb.tstamp = tstamp
    skb.tstamp_type = clock
    return 0


cdef uint64_t set_ce4(uint8_t *ip) noexcept nogil:
    cdef uint16_t check
    cdef uint8_t tos = ip[1]
    memcpy(&check, ip + 10, 2)
    ip[1] = tos | 3
    # the type of service is the low byte of the header's first word
    check = checksum.replaced2(check, swab16(tos), swab16(tos | 3))
    memcpy(ip + 10, &check, 2)
    return 1


cdef uint64_t skb_ecn_set_ce(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                             run_ctx *run) noexcept nogil:
    """1 if the packet is marked (now or before), 0 if its transport cannot be."""
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint8_t *ip = <uint8_t *> skb.network_header
    cdef uint64_t size = skb.data + skb.len - skb.network_header
    cdef bint ipv4 = skb.protocol == swab16(ETH_P_IP)
    cdef uint8_t ecn
    if not ipv4 and skb.protocol != swab16(ETH_P_IPV6):
        return 0
    if size < <uint64_t> (IP_HLEN if ipv4 else IP6_HLEN):
        return 0
    ecn = ip[1] & 3 if ipv4 else (ip[1] >> 4) & 3
    if ecn == 0 or ecn == 3:
        return ecn == 3
    if ipv4:
        return set_ce4(ip)
    ip[1] |= 0x30
    return 1


cdef uint64_t get_socket_cookie(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                                run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> run.skb
    return skb.sk_cookie if skb != NULL and skb.sk else 0


cdef uint64_t get_socket_uid(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                             run_ctx *run) noexcept nogil:
    """The sockets of test runs belong to root; without a socket, to the overflow user."""
    cdef sk_buff *skb = <sk_buff *> ctx
    return 0 if skb.sk else 65534


cdef uint64_t get_cgroup_classid(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                                 run_ctx *run) noexcept nogil:
    """No net_cls controller: every class is 0."""
    return 0


cdef uint64_t get_route_realm(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    """Packets of test runs have no route."""
    return 0


cdef uint64_t skb_cgroup_id(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil:
    return run.task.cgroup_id if (<sk_buff *> ctx).sk else 0


cdef uint64_t skb_ancestor_cgroup_id(uint64_t ctx, uint64_t level, uint64_t r3, uint64_t r4,
                                     uint64_t r5, run_ctx *run) noexcept nogil:
    """Sockets are in the root cgroup, which has no ancestor but itself, at level 0."""
    if <int32_t> level or not (<sk_buff *> ctx).sk:
        return 0
    return run.task.cgroup_id


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "skb_load_bytes": <uint64_t> skb_load_bytes,
        "skb_load_bytes_relative": <uint64_t> skb_load_bytes_relative,
        "skb_store_bytes": <uint64_t> skb_store_bytes,
        "skb_pull_data": <uint64_t> skb_pull_data,
        "skb_change_tail": <uint64_t> skb_change_tail,
        "skb_change_head": <uint64_t> skb_change_head,
        "skb_change_proto": <uint64_t> skb_change_proto,
        "skb_adjust_room": <uint64_t> skb_adjust_room,
        "skb_vlan_push": <uint64_t> skb_vlan_push,
        "skb_vlan_pop": <uint64_t> skb_vlan_pop,
        "skb_change_type": <uint64_t> skb_change_type,
        "get_hash_recalc": <uint64_t> get_hash_recalc,
        "set_hash_invalid": <uint64_t> set_hash_invalid,
        "set_hash": <uint64_t> set_hash,
        "skb_set_tstamp": <uint64_t> skb_set_tstamp,
        "skb_ecn_set_ce": <uint64_t> skb_ecn_set_ce,
        "get_socket_cookie": <uint64_t> get_socket_cookie,
        "get_socket_uid": <uint64_t> get_socket_uid,
        "get_cgroup_classid": <uint64_t> get_cgroup_classid,
        "skb_cgroup_classid": <uint64_t> get_cgroup_classid,
        "get_route_realm": <uint64_t> get_route_realm,
        "skb_cgroup_id": <uint64_t> skb_cgroup_id,
        "skb_ancestor_cgroup_id": <uint64_t> skb_ancestor_cgroup_id,
    }
