# struct bpf_map and its operations: what every native map begins with (include/linux/bpf.h).
#
# A program's map pointer is the address of this struct. Operations here are those a *program*
# uses: they run without the GIL, on the CPU number given, and answer with the kernel's negative
# error numbers. What bpf(2) uses (whole per-CPU values, batches, ids for fds) is in class Map.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef struct bpf_map

# What for_each calls for one element; a non-zero answer stops the walk.
ctypedef int64_t (*bpf_map_visit_t)(bpf_map *map, void *key, void *value, void *arg) noexcept nogil

cdef struct bpf_map_ops:
    # the value's address, or NULL; for maps of maps the inner bpf_map; NULL where not allowed
    void *(*lookup)(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil
    int64_t (*update)(bpf_map *map, const void *key, const void *value, uint64_t flags,
                      uint32_t cpu) noexcept nogil
    int64_t (*delete)(bpf_map *map, const void *key) noexcept nogil
    int64_t (*push)(bpf_map *map, const void *value, uint64_t flags) noexcept nogil
    int64_t (*pop)(bpf_map *map, void *value) noexcept nogil
    int64_t (*peek)(bpf_map *map, void *value) noexcept nogil
    # number of elements visited, or a negative error number
    int64_t (*for_each)(bpf_map *map, bpf_map_visit_t visit, void *arg, uint64_t flags,
                        uint32_t cpu) noexcept nogil

# Where the values lie: one mapping for the whole life of the map (elements never move), so that
# an address belongs to a value if (addr - base) % stride - value_off lies in [0, value_size).
# size is 0 for maps whose memory programs cannot address (prog array, maps of maps, ...).
cdef struct bpf_map_area:
    uint64_t base
    uint64_t size
    uint64_t stride
    uint32_t value_off
    uint32_t value_size

cdef struct bpf_map:
    const bpf_map_ops *ops      # a NULL member: this map type lacks the operation
    uint32_t map_type
    uint32_t key_size
    uint32_t value_size
    uint32_t max_entries
    uint32_t map_flags
    uint32_t id
    uint32_t ncpus              # possible CPUs: per-CPU values have so many copies
    uint32_t frozen
    uint64_t map_extra
    bpf_map_area area
    void *owner                 # the Map that owns this struct (borrowed PyObject *)

cdef class Map:
    cdef bpf_map *native
    cdef object __weakref__
    cdef dict __dict__
