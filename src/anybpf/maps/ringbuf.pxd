# struct bpf_ringbuf: the kernel's layout, with the data pages mapped twice in a row.
#
#   page 0    this struct (private)
#   page 1    consumer position       \
#   page 2    producer position        >  one memory file: what user space maps
#   page 3..  data, then data again   /
#
# A record is an 8-byte header (length with two flag bits; page offset from page 0, by which submit
# finds its ring buffer) and its bytes, rounded up to 8.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf.maps.bpf_map cimport Map, bpf_map

cdef struct bpf_ringbuf:
    uint64_t mask               # bytes of data - 1
    uint64_t pending_pos        # where the oldest record not yet submitted begins
    uint64_t *consumer_pos
    uint64_t *producer_pos
    uint8_t *data
    uint64_t wakeups            # notifications of the consumer so far
    uint32_t lock

cdef struct bpf_ringbuf_hdr:
    uint32_t len
    uint32_t pg_off

cdef struct bpf_ringbuf_map:
    bpf_map map
    bpf_ringbuf *rb

# What the helpers of the same names do. reserve: NULL without room. submit and discard take what
# reserve gave; flags BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP. output: 0 or a negative error number.
cdef void *ringbuf_reserve(bpf_map *map, uint64_t size) noexcept nogil
cdef void ringbuf_submit(void *sample, uint64_t flags) noexcept nogil
cdef void ringbuf_discard(void *sample, uint64_t flags) noexcept nogil
cdef int64_t ringbuf_output(bpf_map *map, const void *data, uint64_t size,
                            uint64_t flags) noexcept nogil
cdef uint64_t ringbuf_query(bpf_map *map, uint64_t flags) noexcept nogil

# The size that a reserved record was asked for, in bytes.
cdef inline uint32_t ringbuf_record_size(const void *sample) noexcept nogil:
    return (<const bpf_ringbuf_hdr *> (<const uint8_t *> sample - 8)).len & 0x3FFFFFFF

cdef class RingBuf(Map):
    cdef bpf_ringbuf *rb
    cdef bpf_ringbuf *lay_out(self, uint64_t size) except NULL
    cdef int overlay(self, void *at, uint64_t size, uint64_t offset) except -1
