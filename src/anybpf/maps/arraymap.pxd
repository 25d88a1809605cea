# struct bpf_array: values, or slots that hold addresses, by index.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf.maps.bpf_map cimport Map, bpf_map
from anybpf.maps.sync cimport load64

cdef struct bpf_array:
    bpf_map map
    uint64_t elem_size          # bytes from one value (all CPUs' copies) or slot to the next
    uint8_t *value

# What a slot of a prog array, perf event array, cgroup array or array of maps holds: the address of a
# native object, or 0 (also for an index outside).
cdef inline uint64_t fd_array_slot(bpf_map *map, uint32_t index) noexcept nogil:
    cdef bpf_array *array = <bpf_array *> map
    if index >= map.max_entries:
        return 0
    return load64(<uint64_t *> (array.value + <uint64_t> index * 8))

cdef class ArrayMap(Map):
    cdef uint8_t *element(self, const uint8_t *key) noexcept

cdef class FdArray(Map):
    cdef dict objects
    cdef uint64_t *slot(self, const uint8_t *key) noexcept
