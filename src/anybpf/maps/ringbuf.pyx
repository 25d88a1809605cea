"""The BPF ring buffer, shared by all CPUs (kernel/bpf/ringbuf.c).

Producers reserve space in order and submit in any order; the consumer stops at the first record
that is still busy. The memory is laid out as the kernel lays it out for mmap, so that libbpf's way of
reading works on it.
"""

import mmap as _mmap

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport E2BIG, EAGAIN, EINVAL, ENOMEM, EPERM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anybpf cimport uapi
from anybpf.maps.bpf_map cimport (ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops, mapping, round_up8)
from anybpf.maps.sync cimport (fetch_add64, load32, load64, spin_lock, spin_unlock, store64, swap32)

from anybpf.maps.bpf_map import PAGE_SIZE, memory_file
from anybpf.maps.refusal import fail, require

cdef extern from "sys/mman.h" nogil:
    void *mmap(void *addr, size_t size, int prot, int flags, int fd, int64_t offset)
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, PROT_NONE
    int MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED

cdef enum:
    HEADER = 8
    BUSY = 0x80000000
    DISCARD = 0x40000000
    PRIVATE_PAGES = 1
    POSITION_PAGES = 2

cdef uint64_t page_size = PAGE_SIZE


# -- what helpers call

cdef inline bpf_ringbuf_hdr *header_at(bpf_ringbuf *rb, uint64_t pos) noexcept nogil:
    return <bpf_ringbuf_hdr *> (rb.data + (pos & rb.mask))


cdef inline uint64_t record_length(uint32_t len) noexcept nogil:
    """Bytes from a record's header to the next."""
    return round_up8((len & (DISCARD - 1)) + HEADER)


cdef void skip_submitted(bpf_ringbuf *rb) noexcept nogil:
    """Move pending_pos past records that are not busy any more."""
    cdef uint32_t len
    while rb.pending_pos < rb.producer_pos[0]:
        len = load32(&header_at(rb, rb.pending_pos).len)
        if len & BUSY:
            return
        rb.pending_pos += record_length(len)


cdef void *reserve(bpf_ringbuf *rb, uint64_t size) noexcept nogil:
    cdef uint64_t length = round_up8(size + HEADER)
    cdef uint64_t consumer, end
    cdef bpf_ringbuf_hdr *header = NULL
    if size > DISCARD - 1 or length > rb.mask + 1:
        return NULL
    consumer = load64(rb.consumer_pos)
    spin_lock(&rb.lock)
    skip_submitted(rb)
    end = rb.producer_pos[0] + length
    if end - consumer <= rb.mask and end - rb.pending_pos <= rb.mask:    # never quite full
        header = header_at(rb, rb.producer_pos[0])
        header.len = <uint32_t> size | BUSY
        header.pg_off = <uint32_t> ((<uint64_t> header - <uint64_t> rb) // page_size)
        store64(rb.producer_pos, end)
    spin_unlock(&rb.lock)
    return NULL if header == NULL else <uint8_t *> header + HEADER


cdef void *ringbuf_reserve(bpf_map *map, uint64_t size) noexcept nogil:
    return reserve((<bpf_ringbuf_map *> map).rb, size)


cdef void commit(void *sample, uint64_t flags, uint32_t mark) noexcept nogil:
    """Clear the busy bit and wake the consumer if it has seen all before, or as flags say."""
    cdef bpf_ringbuf_hdr *header = <bpf_ringbuf_hdr *> (<uint8_t *> sample - HEADER)
    cdef uint64_t page = <uint64_t> header & ~(page_size - 1)
    cdef bpf_ringbuf *rb = <bpf_ringbuf *> (page - <uint64_t> header.pg_off * page_size)
    cdef uint64_t position = (<uint64_t> header - <uint64_t> rb.data) & rb.mask
    swap32(&header.len, (header.len & ~<uint32_t> BUSY) | mark)
    if flags & uapi.BPF_RB_FORCE_WAKEUP:
        fetch_add64(&rb.wakeups, 1)
    elif not flags & uapi.BPF_RB_NO_WAKEUP and (load64(rb.consumer_pos) & rb.mask) == position:
        fetch_add64(&rb.wakeups, 1)


cdef void ringbuf_submit(void *sample, uint64_t flags) noexcept nogil:
    commit(sample, flags, 0)


cdef void ringbuf_discard(void *sample, uint64_t flags) noexcept nogil:
    commit(sample, flags, DISCARD)


cdef int64_t ringbuf_output(bpf_map *map, const void *data, uint64_t size,
                            uint64_t flags) noexcept nogil:
    cdef void *sample
    if flags & ~<uint64_t> (uapi.BPF_RB_NO_WAKEUP | uapi.BPF_RB_FORCE_WAKEUP):
        return -EINVAL
    sample = ringbuf_reserve(map, size)
    if sample == NULL:
        return -EAGAIN
    memcpy(sample, data, size)
    commit(sample, flags, 0)
    return 0


cdef uint64_t ringbuf_query(bpf_map *map, uint64_t flags) noexcept nogil:
    cdef bpf_ringbuf *rb = (<bpf_ringbuf_map *> map).rb
    cdef uint64_t consumer = load64(rb.consumer_pos), producer = load64(rb.producer_pos)
    if flags == uapi.BPF_RB_AVAIL_DATA:
        return producer - consumer
    if flags == uapi.BPF_RB_RING_SIZE:
        return rb.mask + 1
    if flags == uapi.BPF_RB_CONS_POS:
        return consumer
    if flags == uapi.BPF_RB_PROD_POS:
        return producer
    return 0


cdef bpf_map_ops ringbuf_ops        # programs reach it through helpers of its own


cdef class RingBuf(Map):
    """BPF_MAP_TYPE_RINGBUF: `for record in ring.records(): ...` takes what programs submitted."""

    def __init__(self, attr, uint32_t ncpus, seed=0):
        self.setup(attr, ncpus, sizeof(bpf_ringbuf_map))
        self.native.ops = &ringbuf_ops
        self.rb = self.lay_out(attr.max_entries)
        (<bpf_ringbuf_map *> self.native).rb = self.rb

    cdef bpf_ringbuf *lay_out(self, uint64_t size) except NULL:
        cdef uint64_t shared = POSITION_PAGES * page_size + size
        cdef uint64_t total = PRIVATE_PAGES * page_size + shared + size
        cdef uint8_t *base = <uint8_t *> self.keep(
            mmap(NULL, total, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), total)
        cdef uint8_t *pages = base + PRIVATE_PAGES * page_size
        cdef bpf_ringbuf *rb = <bpf_ringbuf *> base
        self.memfd = memory_file(shared)
        self.overlay(pages, shared, 0)
        self.overlay(pages + shared, size, POSITION_PAGES * page_size)
        rb.mask = size - 1
        rb.consumer_pos = <uint64_t *> pages
        rb.producer_pos = <uint64_t *> (pages + page_size)
        rb.data = pages + POSITION_PAGES * page_size
        return rb

    cdef int overlay(self, void *at, uint64_t size, uint64_t offset) except -1:
        if mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                self.memfd, offset) == MAP_FAILED:
            fail(ENOMEM, f"{size} bytes of ring buffer")
        return 0

    # -- the consumer

    def records(self):
        """Take and yield submitted records as bytes, in order, until none is ready."""
        return iter(self.take, None)

    def take(self):
        """The next submitted record as bytes, or None; skips discarded ones."""
        cdef bpf_ringbuf *rb = self.rb
        cdef uint64_t position = load64(rb.consumer_pos) & ~<uint64_t> 7
        cdef bpf_ringbuf_hdr *header
        cdef uint32_t len
        while position < load64(rb.producer_pos):
            header = header_at(rb, position)
            len = load32(&header.len)
            if len & BUSY or record_length(len) > rb.mask + 1:  # user space can write consumer_pos
                return None
            record = None
            if not len & DISCARD:
                record = PyBytes_FromStringAndSize(<char *> header + HEADER, len)
            position += record_length(len)
            store64(rb.consumer_pos, position)
            if record is not None:
                return record
        return None

    @property
    def consumer_pos(self):
        """Bytes consumed since the beginning."""
        return load64(self.rb.consumer_pos)

    @property
    def producer_pos(self):
        """Bytes produced (reserved) since the beginning."""
        return load64(self.rb.producer_pos)

    @property
    def available(self):
        """Bytes not yet consumed, headers and unsubmitted records included."""
        return ringbuf_query(self.native, uapi.BPF_RB_AVAIL_DATA)

    @property
    def wakeups(self):
        """How often the consumer was notified: poll(2) is ready when this grew."""
        return load64(&self.rb.wakeups)

    # -- the producer, for user code and tests

    def output(self, data, flags=0):
        """Append a record as bpf_ringbuf_output does. EAGAIN without room."""
        cdef bytes record = bytes(data)
        self.check(ringbuf_output(self.native, <char *> record, len(record), flags))

    def reserve(self, uint64_t size):
        """The address of a new record of `size` bytes, to be given to submit or discard; 0: no room."""
        return <uint64_t> ringbuf_reserve(self.native, size)

    def submit(self, uint64_t sample, flags=0):
        """Publish the record that reserve gave."""
        self.check_sample(sample)
        ringbuf_submit(<void *> sample, flags)

    def discard(self, uint64_t sample, flags=0):
        """Drop the record that reserve gave."""
        self.check_sample(sample)
        ringbuf_discard(<void *> sample, flags)

    def check_sample(self, uint64_t sample):
        """EINVAL unless a record of this ring buffer that is still busy begins here."""
        cdef bpf_ringbuf *rb = self.rb
        cdef uint64_t offset = sample - HEADER - <uint64_t> rb.data
        cdef uint64_t position = rb.pending_pos
        while position < load64(rb.producer_pos):
            if (position & rb.mask) == offset:
                require(header_at(rb, position).len & BUSY, EINVAL, "the record is not reserved")
                return
            position += record_length(load32(&header_at(rb, position).len))
        fail(EINVAL, "no record begins at this address")

    # -- bpf(2): a ring buffer has no elements

    @property
    def pages_address(self):
        """Where the pages lie as libbpf maps them: consumer, producer, data, data again."""
        return <uint64_t> self.rb.consumer_pos

    def mmap_size(self):
        """The positions' pages and the data once (a Python view cannot map it twice in a row)."""
        return POSITION_PAGES * page_size + self.rb.mask + 1

    def mmap(self, length=0, *, offset=0, writable=True):
        """Map like libbpf: the first page writable, or what follows it (once) read-only."""
        require(length >= 0 and offset >= 0 and offset % PAGE_SIZE == 0, EINVAL, "mmap range")
        length = length or (PAGE_SIZE if writable else 0)
        require(not writable or (offset == 0 and length == PAGE_SIZE), EPERM,
                "only the consumer page is writable")
        return Map.mmap(self, length, offset=offset, writable=writable)

    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        return -ENOTSUPP

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        return -ENOTSUPP

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return -ENOTSUPP

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        return -ENOTSUPP
