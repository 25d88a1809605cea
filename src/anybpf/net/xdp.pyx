"""The frame an XDP program runs on (net/core/xdp.c)."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from anybpf.core.memory cimport KIND_PACKET
from anybpf.core.run_ctx cimport REGION_READ, REGION_WRITE, RunCtx

#: the longest packet one frame holds beside its head and tail room, without metadata
MAX_LINEAR = XDP_FRAME_SIZE - XDP_PACKET_HEADROOM - XDP_TAILROOM
HEADROOM = XDP_PACKET_HEADROOM
FRAME_STRUCT = XDP_FRAME_STRUCT

cdef xdp_buff _probe


cdef tuple _at(void *field, int size):
    return (<uint64_t> field - <uint64_t> &_probe, size)


#: where a context row finds its value: "struct.member" -> (offset, size) in bytes
LAYOUT = {
    "xdp_buff.data": _at(&_probe.data, 8),
    "xdp_buff.data_end": _at(&_probe.data_end, 8),
    "xdp_buff.data_meta": _at(&_probe.data_meta, 8),
    "xdp_buff.ingress_ifindex": _at(&_probe.ingress_ifindex, 4),
    "xdp_buff.rx_queue_index": _at(&_probe.rx_queue_index, 4),
    "xdp_buff.egress_ifindex": _at(&_probe.egress_ifindex, 4),
}


cdef class XdpBuff:
    """One frame: `data` is metadata and packet as they lie in memory, `meta` bytes of it metadata.

    `linear` is how many of those bytes the first page gets (None: all that fit). The rest become
    fragments, as in the kernel; a program reaches those only through helpers. `devices` is an
    array("I") of the interface indexes that exist.
    """

    def __cinit__(self, data, unsigned int meta=0, linear=None, devices=None, *,
                  unsigned int ingress_ifindex=1, unsigned int rx_queue_index=0,
                  unsigned int egress_ifindex=0):
        cdef bytes raw = data if type(data) is bytes else bytes(data)
        cdef const uint8_t *view = raw
        cdef uint64_t total = len(raw)
        cdef uint64_t first = min(total, MAX_LINEAR + meta, total if linear is None else linear)
        cdef uint64_t pages = (total - first + XDP_FRAG_SIZE - 1) // XDP_FRAG_SIZE
        if meta > first or meta > XDP_PACKET_HEADROOM - XDP_FRAME_STRUCT:
            raise ValueError(f"metadata of {meta} bytes does not fit")
        self.memory = <uint8_t *> calloc(1, XDP_FRAME_SIZE + pages * XDP_FRAG_SIZE)
        if self.memory == NULL:
            raise MemoryError
        self.c.data_hard_start = <uint64_t> self.memory
        self.c.data_meta = self.c.data_hard_start + XDP_PACKET_HEADROOM - meta
        self.c.data = self.c.data_hard_start + XDP_PACKET_HEADROOM
        self.c.data_end = self.c.data_meta + first
        self.c.frame_sz = XDP_FRAME_SIZE
        self.c.frags = self.c.data_hard_start + XDP_FRAME_SIZE
        self.c.frags_size = total - first
        self.c.ingress_ifindex = ingress_ifindex
        self.c.rx_queue_index = rx_queue_index
        self.c.egress_ifindex = egress_ifindex
        self._set_devices(devices)
        memcpy(<void *> self.c.data_meta, view, first)
        if total > first:
            memcpy(<void *> self.c.frags, view + first, total - first)

    def _set_devices(self, devices):
        cdef const uint32_t[:] view
        self.devices = devices
        if devices:
            view = devices
            self.c.devices = &view[0]
            self.c.n_devices = len(view)

    def __dealloc__(self):
        free(self.memory)

    cpdef void enter(self, RunCtx run):
        """Make this frame the one that `run`'s helpers work on."""
        run.c.xdp = &self.c
        run.c.packet.flags = REGION_READ | REGION_WRITE
        run.c.packet.kind = KIND_PACKET
        xdp_show_packet(&run.c, &self.c)

    @property
    def address(self):
        """The address of the native xdp_buff: what r1 holds."""
        return <uint64_t> &self.c

    @property
    def meta(self):
        """Bytes of metadata before the packet."""
        return self.c.data - self.c.data_meta

    @property
    def linear_size(self):
        """Bytes of metadata and packet in the first page."""
        return self.c.data_end - self.c.data_meta

    @property
    def frags_size(self):
        """Bytes in fragments."""
        return self.c.frags_size

    @property
    def fragment_sizes(self):
        """The size of each fragment in bytes."""
        whole, rest = divmod(self.c.frags_size, XDP_FRAG_SIZE)
        return [XDP_FRAG_SIZE] * whole + ([rest] if rest else [])

    @property
    def ingress_ifindex(self):
        return self.c.ingress_ifindex

    @property
    def rx_queue_index(self):
        return self.c.rx_queue_index

    def __bytes__(self):
        """Metadata and packet, fragments included."""
        linear = PyBytes_FromStringAndSize(<char *> self.c.data_meta,
                                           self.c.data_end - self.c.data_meta)
        return linear + PyBytes_FromStringAndSize(<char *> self.c.frags, self.c.frags_size)
