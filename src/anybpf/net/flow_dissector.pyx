"""What a flow dissector program runs on (net/core/flow_dissector.c)."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anybpf.core.memory cimport KIND_OBJECT, KIND_PACKET
from anybpf.core.run_ctx cimport REGION_READ, REGION_WRITE, RunCtx, region_push
from anybpf.net.filter cimport ETH_HLEN, sk_buff

cdef enum:
    KEYS_SIZE = 56
    N_PROTO = 10                    # offsets in struct bpf_flow_keys, in bytes
    FLAGS = 48


cdef class FlowDissector:
    """A frame and the bpf_flow_keys to fill in; `flags` are BPF_FLOW_DISSECTOR_F_*."""

    cdef sk_buff c
    cdef uint16_t keys[28]
    cdef bytes frame

    def __cinit__(self, bytes frame, uint32_t flags=0):
        cdef const uint8_t *data = frame
        if len(frame) < ETH_HLEN:
            raise ValueError("a frame has at least an Ethernet header")
        self.frame = frame
        self.c.data = self.c.data_meta = <uint64_t> data
        self.c.len = len(frame)
        self.c.data_end = self.c.data + self.c.len
        self.c.flow_keys = <uint64_t> &self.keys[0]
        self.keys[0] = self.keys[1] = ETH_HLEN
        memcpy(<uint8_t *> self.keys + N_PROTO, data + 12, 2)
        memcpy(<uint8_t *> self.keys + FLAGS, &flags, 4)

    def enter(self, RunCtx run):
        """Let `run` read the frame and write the keys."""
        run.c.skb = &self.c
        run.c.packet.base = self.c.data
        run.c.packet.size = self.c.len
        run.c.packet.flags = REGION_READ
        run.c.packet.kind = KIND_PACKET
        region_push(&run.c, self.c.flow_keys, KEYS_SIZE, REGION_READ | REGION_WRITE, KIND_OBJECT,
                    NULL)

    @property
    def address(self):
        """The address of the native context: what r1 holds."""
        return <uint64_t> &self.c

    def __bytes__(self):
        """The keys; the kernel keeps their header offsets inside the frame."""
        cdef uint16_t size = min(self.c.len, 0xffff)
        cdef uint16_t keys[28]
        memcpy(keys, self.keys, KEYS_SIZE)
        keys[0] = max(<uint16_t> ETH_HLEN, min(keys[0], size))
        keys[1] = max(keys[0], min(keys[1], size))
        return PyBytes_FromStringAndSize(<char *> keys, KEYS_SIZE)
