"""The socket buffer that socket filters, tc and cgroup programs run on (net/core/filter.c)."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from anybpf.core.memory cimport KIND_PACKET
from anybpf.core.run_ctx cimport REGION_READ, REGION_WRITE, RunCtx, run_ctx
from anybpf.net cimport checksum

#: the longest packet that BPF_PROG_TEST_RUN takes
MAX_LINEAR = PAGE - NET_SKB_PAD - SHARED_INFO

cdef enum:
    ENOMEM = 12
    EFAULT = 14
    AF_INET = 2
    AF_INET6 = 10
    SKF_NET_OFF = -0x100000
    SKF_LL_OFF = -0x200000
    SKF_SPACE = 0x100000

cdef sk_buff _probe


cdef tuple _at(void *field, int size):
    return (<uint64_t> field - <uint64_t> &_probe, size)


#: where a context row finds its value: "struct.member" -> (offset, size) in bytes. A size of 2: the
#: kernel keeps only the lower half of what is stored.
LAYOUT = {
    "sk_buff.data": _at(&_probe.data, 8),
    "sk_buff.data_end": _at(&_probe.data_end, 8),
    "sk_buff.data_meta": _at(&_probe.data_meta, 8),
    "sk_buff.len": _at(&_probe.len, 4),
    "sk_buff.pkt_type": _at(&_probe.pkt_type, 4),
    "sk_buff.mark": _at(&_probe.mark, 4),
    "sk_buff.queue_mapping": _at(&_probe.queue_mapping, 2),
    "sk_buff.protocol": _at(&_probe.protocol, 4),
    "sk_buff.vlan_present": _at(&_probe.vlan_present, 4),
    "sk_buff.vlan_tci": _at(&_probe.vlan_tci, 4),
    "sk_buff.vlan_proto": _at(&_probe.vlan_proto, 4),
    "sk_buff.priority": _at(&_probe.priority, 4),
    "sk_buff.ingress_ifindex": _at(&_probe.ingress_ifindex, 4),
    "sk_buff.ifindex": _at(&_probe.ifindex, 4),
    "sk_buff.tc_index": _at(&_probe.tc_index, 2),
    "sk_buff.cb": _at(&_probe.cb, 20),
    "sk_buff.hash": _at(&_probe.hash, 4),
    "sk_buff.tc_classid": _at(&_probe.tc_classid, 2),
    "sk_buff.napi_id": _at(&_probe.napi_id, 4),
    "sk_buff.family": _at(&_probe.family, 4),
    "sk_buff.remote_ip4": _at(&_probe.remote_ip4, 4),
    "sk_buff.local_ip4": _at(&_probe.local_ip4, 4),
    "sk_buff.remote_ip6": _at(&_probe.remote_ip6, 16),
    "sk_buff.local_ip6": _at(&_probe.local_ip6, 16),
    "sk_buff.remote_port": _at(&_probe.remote_port, 4),
    "sk_buff.local_port": _at(&_probe.local_port, 4),
    "sk_buff.flow_keys": _at(&_probe.flow_keys, 8),
    "sk_buff.tstamp": _at(&_probe.tstamp, 8),
    "sk_buff.wire_len": _at(&_probe.wire_len, 4),
    "sk_buff.gso_segs": _at(&_probe.gso_segs, 4),
    "sk_buff.sk": _at(&_probe.sk, 8),
    "sk_buff.gso_size": _at(&_probe.gso_size, 4),
    "sk_buff.tstamp_type": _at(&_probe.tstamp_type, 1),
    "sk_buff.hwtstamp": _at(&_probe.hwtstamp, 8),
}


cdef int _reallocate(sk_buff *skb, uint64_t headroom, uint64_t tailroom) noexcept nogil:
    """Move the packet to a new buffer with so much room on either side."""
    cdef uint8_t *memory = <uint8_t *> calloc(1, headroom + skb.len + tailroom)
    cdef uint64_t moved
    if memory == NULL:
        return -ENOMEM
    moved = <uint64_t> memory + headroom - skb.data
    memcpy(memory + headroom, <void *> skb.data, skb.len)
    free(<void *> skb.head)
    skb.head = <uint64_t> memory
    skb.end = skb.head + headroom + skb.len + tailroom
    skb.data += moved
    skb.data_end += moved
    skb.data_meta += moved
    skb.mac_header += moved
    skb.network_header += moved
    if skb.transport_header != NO_HEADER:
        skb.transport_header += moved
    return 0


cdef int skb_cow_head(sk_buff *skb, uint64_t n) noexcept nogil:
    cdef uint64_t tailroom = skb.end - skb.data - skb.len
    if skb.data - skb.head >= n:
        return 0
    return _reallocate(skb, n + NET_SKB_PAD, tailroom)


cdef int skb_cow_tail(sk_buff *skb, uint64_t n) noexcept nogil:
    if skb.end - skb.data - skb.len >= n:
        return 0
    return _reallocate(skb, skb.data - skb.head, n)


cdef uint32_t encapsulated_protocol(uint32_t type, const uint8_t *payload,
                                    uint64_t size) noexcept nogil:
    if swab16(type) >= 0x0600:
        return type
    if size >= 2 and payload[0] == 0xff and payload[1] == 0xff:
        return swab16(ETH_P_802_3)
    return swab16(ETH_P_802_2)


cdef uint64_t _legacy_base(sk_buff *skb, int64_t *offset) noexcept nogil:
    """Where an offset of a legacy load counts from; 0 if that space does not exist."""
    if offset[0] >= 0:
        return skb.data
    if offset[0] >= SKF_NET_OFF:
        offset[0] -= SKF_NET_OFF
        return skb.network_header
    if offset[0] >= SKF_LL_OFF:
        offset[0] -= SKF_LL_OFF
        return skb.mac_header
    return 0


cdef int64_t load_packet(run_ctx *run, int64_t offset, uint32_t size,
                         uint64_t *out) noexcept nogil:
    """LD_ABS and LD_IND: a big-endian number out of the packet."""
    cdef sk_buff *skb = <sk_buff *> run.skb
    cdef uint64_t base = _legacy_base(skb, &offset)
    cdef uint64_t at = base + <uint64_t> offset
    cdef uint64_t value = 0
    cdef uint32_t i
    if base == 0 or at < skb.head or at + size > skb.data + skb.len:
        return -EFAULT
    for i in range(size):
        value = value << 8 | (<uint8_t *> at)[i]
    out[0] = value
    return 0


cdef class SkBuff:
    """One packet as `eth_type_trans` leaves it: `frame` begins with an Ethernet header.

    `address` and `broadcast` are the receiving device's, which decide the packet's type; `l2` says
    whether the program's data begins at the Ethernet header; `writable` and `direct` how it may
    touch the bytes. `devices` is an array("I") of the interface indexes that exist.
    """

    def __cinit__(self, frame, *, bint l2=True, bint direct=True, bint writable=True,
                  unsigned int ifindex=1, bytes address=bytes(6), bytes broadcast=bytes(6),
                  devices=None):
        cdef const uint8_t[:] view = memoryview(frame).cast("B")
        cdef uint64_t size = len(view)
        if size < ETH_HLEN:
            raise ValueError("a frame has at least an Ethernet header")
        self.c.head = <uint64_t> calloc(1, NET_SKB_PAD + size + SHARED_INFO)
        if self.c.head == 0:
            raise MemoryError
        self.c.end = self.c.head + NET_SKB_PAD + size + SHARED_INFO
        self.c.data = self.c.mac_header = self.c.head + NET_SKB_PAD
        memcpy(<void *> self.c.data, &view[0], size)
        self.c.len = size
        self.c.ifindex = ifindex
        self.c.direct = REGION_READ if direct else 0
        if direct and writable:
            self.c.direct |= REGION_WRITE
        self._set_devices(devices)
        self._eth_type_trans(address, broadcast)
        self._set_socket()
        if l2:
            self._push_header()

    def __dealloc__(self):
        free(<void *> self.c.head)

    def _set_devices(self, devices):
        cdef const uint32_t[:] view
        self.devices = devices
        if devices:
            view = devices
            self.c.devices = &view[0]
            self.c.n_devices = len(view)

    def _eth_type_trans(self, bytes address, bytes broadcast):
        """Take the Ethernet header off and learn type and protocol from it."""
        cdef const uint8_t *header = <const uint8_t *> self.c.data
        cdef uint16_t type
        memcpy(&type, header + 12, 2)
        self.c.data += ETH_HLEN
        self.c.len -= ETH_HLEN
        self.c.network_header = self.c.data
        self.c.protocol = encapsulated_protocol(type, header + ETH_HLEN, self.c.len)
        if header[:6] != address:
            if not header[0] & 1:
                self.c.pkt_type = PACKET_OTHERHOST
            else:
                self.c.pkt_type = (PACKET_BROADCAST if header[:6] == broadcast
                                   else PACKET_MULTICAST)

    def _set_socket(self):
        """The socket that owns the packet: its addresses are the packet's, as the kernel does."""
        cdef const uint8_t *ip = <const uint8_t *> self.c.network_header
        self.c.sk = <uint64_t> &self.sk
        self.c.sk_cookie = 1
        self.sk.rx_queue_mapping = <uint32_t> -1
        self.sk.state = 7                   # TCP_CLOSE
        if self.c.protocol == swab16(ETH_P_IP):
            self.sk.family = AF_INET
            if self.c.len >= 20:
                memcpy(&self.sk.src_ip4, ip + 12, 4)
                memcpy(&self.sk.dst_ip4, ip + 16, 4)
        elif self.c.protocol == swab16(ETH_P_IPV6):
            self.sk.family = AF_INET6
            if self.c.len >= 40:
                memcpy(&self.sk.src_ip6, ip + 8, 16)
                memcpy(&self.sk.dst_ip6, ip + 24, 16)
        self._copy_socket()

    def _copy_socket(self):
        self.c.family = self.sk.family
        self.c.local_ip4 = self.sk.src_ip4
        self.c.remote_ip4 = self.sk.dst_ip4
        memcpy(&self.c.local_ip6, &self.sk.src_ip6, 16)
        memcpy(&self.c.remote_ip6, &self.sk.dst_ip6, 16)

    def _push_header(self):
        self.c.data -= ETH_HLEN
        self.c.len += ETH_HLEN

    cpdef void enter(self, RunCtx run):
        """Make this packet the one that `run`'s helpers work on."""
        run.c.skb = &self.c
        run.c.load_packet = load_packet
        run.c.packet.flags = self.c.direct
        run.c.packet.kind = KIND_PACKET
        skb_show_packet(&run.c, &self.c)

    def start_checksum(self):
        """Have the packet carry a complete checksum of all from its network header on."""
        cdef uint64_t size = self.c.data + self.c.len - self.c.network_header
        self.c.csum = checksum.partial(<void *> self.c.network_header, size, 0)
        self.c.ip_summed = CHECKSUM_COMPLETE

    def checksum_holds(self):
        """Whether the packet still carries the complete checksum of its bytes."""
        cdef int64_t skip = network_offset(&self.c)
        cdef uint32_t total
        if self.c.ip_summed != CHECKSUM_COMPLETE or skip < 0 or skip > self.c.len:
            return False
        total = checksum.partial(<void *> self.c.network_header, self.c.len - skip, 0)
        return checksum.fold(total) == checksum.fold(self.c.csum)

    def restore_header(self):
        """Put an empty Ethernet header before the data, where the program saw none."""
        if skb_cow_head(&self.c, ETH_HLEN):
            raise MemoryError
        self._push_header()
        memset(<void *> self.c.data, 0, ETH_HLEN)

    @property
    def address(self):
        """The address of the native sk_buff: what r1 holds."""
        return <uint64_t> &self.c

    @property
    def socket_address(self):
        """The address of the native socket: what __sk_buff.sk points to."""
        return <uint64_t> &self.sk

    @property
    def socket_size(self):
        """Size of the native socket in bytes."""
        return sizeof(sock)

    @property
    def data_size(self):
        """Length of the packet in bytes."""
        return self.c.len

    def __len__(self):
        return self.c.len

    def __bytes__(self):
        """The packet from where the program's data begins."""
        return PyBytes_FromStringAndSize(<char *> self.c.data, self.c.len)

    def __getitem__(self, str name):
        """The member `name` of the native struct as an unsigned number."""
        offset, size = LAYOUT["sk_buff." + name]
        return int.from_bytes(PyBytes_FromStringAndSize(<char *> &self.c + <int> offset, size),
                              "little")

    def __setitem__(self, str name, value):
        """Set the member `name` of the native struct."""
        offset, size = LAYOUT["sk_buff." + name]
        cdef bytes raw = value.to_bytes(size, "little")
        memcpy(<char *> &self.c + <int> offset, <char *> raw, len(raw))

    @property
    def cb(self):
        """The five numbers of the control block."""
        return tuple(self.c.cb[i] for i in range(5))

    @cb.setter
    def cb(self, value):
        for i, number in enumerate(value):
            if i > 4:
                raise ValueError("a control block has five numbers")
            self.c.cb[i] = number
