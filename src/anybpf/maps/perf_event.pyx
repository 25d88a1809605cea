"""Software perf events that BPF programs write records to (kernel/events/core.c, ring_buffer.c)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport E2BIG, EINVAL, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from anybpf cimport uapi
from anybpf.maps.arraymap cimport fd_array_slot
from anybpf.maps.bpf_map cimport bpf_map, round_up8
from anybpf.maps.sync cimport spin_lock, spin_unlock

from anybpf.maps.refusal import fail, require

cdef enum:
    LENGTH_SIZE = 4             # before each record's bytes

DEFAULT_CAPACITY = 256 << 10


cdef void write(perf_event *event, uint64_t at, const void *data, uint64_t size) noexcept nogil:
    """Copy into the ring, in two pieces where it wraps."""
    cdef uint64_t start = at % event.capacity
    cdef uint64_t first = min(size, event.capacity - start)
    if size:
        memcpy(event.data + start, data, first)
        memcpy(event.data, <const uint8_t *> data + first, size - first)


cdef void read(perf_event *event, uint64_t at, void *data, uint64_t size) noexcept nogil:
    cdef uint64_t start = at % event.capacity
    cdef uint64_t first = min(size, event.capacity - start)
    memcpy(data, event.data + start, first)
    memcpy(<uint8_t *> data + first, event.data, size - first)


cdef void put(perf_event *event, const void *data, uint64_t size, const void *more,
              uint64_t more_size) noexcept nogil:
    """A raw sample: its size is padded with zeros so that size field and bytes end aligned."""
    cdef uint64_t whole = round_up8(LENGTH_SIZE + size + more_size)
    cdef uint32_t length = <uint32_t> (whole - LENGTH_SIZE)
    cdef uint64_t zeros = 0, body = LENGTH_SIZE + size + more_size
    write(event, event.head, &length, LENGTH_SIZE)
    write(event, event.head + LENGTH_SIZE, data, size)
    write(event, event.head + LENGTH_SIZE + size, more, more_size)
    write(event, event.head + body, &zeros, whole - body)
    event.head += whole


cdef int64_t perf_event_append(perf_event *event, const void *data, uint64_t size,
                               const void *more, uint64_t more_size) noexcept nogil:
    cdef int64_t err = 0
    spin_lock(&event.lock)
    if (size > event.capacity or more_size > event.capacity or event.head - event.tail
            + round_up8(LENGTH_SIZE + size + more_size) > event.capacity):
        event.lost += 1
        err = -ENOSPC
    else:
        put(event, data, size, more, more_size)
    spin_unlock(&event.lock)
    return err


cdef int64_t perf_event_array_output(bpf_map *map, uint64_t flags, uint32_t cpu, const void *data,
                                     uint64_t size, const void *more,
                                     uint64_t more_size) noexcept nogil:
    cdef uint32_t index = <uint32_t> flags
    cdef perf_event *event
    if index == <uint32_t> uapi.BPF_F_CURRENT_CPU:
        index = cpu
    if index >= map.max_entries:
        return -E2BIG
    event = <perf_event *> fd_array_slot(map, index)
    if event == NULL:
        return -ENOENT
    if event.cpu != cpu:
        return -EOPNOTSUPP
    return perf_event_append(event, data, size, more, more_size)


cdef class PerfEvent:
    """A BPF output event of one CPU: `records()` takes what programs wrote, `lost` counts the rest."""

    def __cinit__(self, uint32_t cpu=0, uint64_t capacity=DEFAULT_CAPACITY):
        require(capacity > 0 and capacity % 8 == 0, EINVAL, "capacity in bytes, a multiple of 8")
        self.event.cpu = cpu
        self.event.capacity = capacity
        self.event.data = <uint8_t *> calloc(1, capacity)
        if self.event.data == NULL:
            fail(ENOMEM, "perf event")

    def __dealloc__(self):
        free(self.event.data)

    @property
    def address(self):
        """The address of the native struct, for a perf event array's slot."""
        return <uint64_t> &self.event

    @property
    def cpu(self):
        """The CPU it listens on."""
        return self.event.cpu

    @property
    def lost(self):
        """How many records found no room."""
        return self.event.lost

    def append(self, data):
        """Write a record as a program does. ENOSPC without room."""
        cdef bytes record = bytes(data)
        err = perf_event_append(&self.event, PyBytes_AS_STRING(record), len(record), NULL, 0)
        if err:
            fail(err, "perf event")

    def records(self):
        """Take and yield records as bytes, zero-padded to 4 bytes past a multiple of 8 (as perf does)."""
        return iter(self.take, None)

    def take(self):
        """The oldest record, or None."""
        cdef uint32_t length = 0
        cdef bytes record
        if self.event.head == self.event.tail:
            return None
        read(&self.event, self.event.tail, &length, LENGTH_SIZE)
        record = PyBytes_FromStringAndSize(NULL, length)
        read(&self.event, self.event.tail + LENGTH_SIZE, PyBytes_AS_STRING(record), length)
        spin_lock(&self.event.lock)
        self.event.tail += LENGTH_SIZE + length
        spin_unlock(&self.event.lock)
        return record
