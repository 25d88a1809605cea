# struct perf_event: what a slot of a perf event array points to; a bounded queue of one CPU's records.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf.maps.bpf_map cimport bpf_map

cdef struct perf_event:
    uint32_t lock
    uint32_t cpu                # the CPU it listens on
    uint64_t capacity           # bytes of data
    uint64_t head               # bytes written since the beginning
    uint64_t tail               # bytes read since the beginning
    uint64_t lost               # records that found no room
    uint8_t *data               # records: u32 length, bytes, up to 8-byte alignment

# Append a record of two parts (`size` may be 0 for either). 0, or -ENOSPC, counted as lost.
cdef int64_t perf_event_append(perf_event *event, const void *data, uint64_t size,
                               const void *more, uint64_t more_size) noexcept nogil

# The same into a perf event array's slot: the low half of `flags` is the index, BPF_F_CURRENT_CPU
# means `cpu`. -E2BIG: no such slot; -ENOENT: empty; -EOPNOTSUPP: the event listens on another CPU.
cdef int64_t perf_event_array_output(bpf_map *map, uint64_t flags, uint32_t cpu, const void *data,
                                     uint64_t size, const void *more,
                                     uint64_t more_size) noexcept nogil

cdef class PerfEvent:
    cdef perf_event event
    cdef public uint32_t id
    cdef object __weakref__
