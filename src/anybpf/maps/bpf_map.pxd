# struct bpf_map and its operations: what every native map begins with (include/linux/bpf.h).
#
# A program's map pointer is the address of this struct. Operations here are those a *program*
# uses: they run without the GIL, on the CPU number given, and answer with the kernel's negative
# error numbers. What bpf(2) uses (whole per-CPU values, batches, ids for fds) is in class Map.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

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
    int32_t spin_lock_off       # where the value has its struct bpf_spin_lock; -1: nowhere
    uint32_t percpu             # 1: a value is `ncpus` copies, round_up(value_size, 8) bytes apart
    bpf_map_area area
    void *owner                 # the Map that owns this struct (borrowed PyObject *)

# errno.h lacks the kernel's own ENOTSUPP, which bpf(2) does return
cdef enum:
    ENOTSUPP = 524

cdef inline uint64_t round_up8(uint64_t n) noexcept nogil:
    return (n + 7) & ~<uint64_t> 7

# The bytes of one value as bpf(2) copies it: all CPUs' copies of a per-CPU value.
cdef inline uint64_t user_size(const bpf_map *map) noexcept nogil:
    return round_up8(map.value_size) * map.ncpus if map.percpu else map.value_size

# Copy one value, leaving out its spin lock; *_locked hold the lock of the value in the map, and give
# up with -ETIMEDOUT when its holder never lets go.
cdef void copy_map_value(const bpf_map *map, void *dst, const void *src) noexcept nogil
cdef int64_t copy_map_value_locked(const bpf_map *map, void *dst, const void *src,
                                   bint lock_src) noexcept nogil

# A range of address space that lives as long as the map; `shared` mappings belong to a memory file.
cdef struct mapping:
    void *base
    uint64_t size

cdef class Map:
    cdef bpf_map *native
    cdef mapping mappings[4]
    cdef int n_mappings
    cdef readonly int memfd         # the memory file behind an mmapable area, or -1
    cdef uint32_t sys_cpu           # the CPU that bpf(2) is called on
    cdef readonly str name
    cdef list views                 # weak references to the writable mmaps of user space
    cdef object __weakref__
    cdef dict __dict__
    cdef int setup(self, object attr, uint32_t ncpus, uint64_t struct_size) except -1
    cdef void *keep(self, void *base, uint64_t size) except NULL
    cdef void *area_alloc(self, uint64_t size) except NULL
    cdef void *area_alloc_shared(self, uint64_t size) except NULL
    # What bpf(2) does; sizes are checked, the answer is 0 or a negative error number. `key` is NULL
    # for get_next_key's "from the start" and for maps without keys.
    cdef void *sys_value(self, const uint8_t *key) noexcept
    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept
    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value, uint64_t flags) noexcept
    cdef int64_t sys_delete(self, const uint8_t *key) noexcept
    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept
    cdef int64_t sys_pop(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept
    cdef int64_t copy_out(self, const void *value, uint8_t *out, uint64_t flags) noexcept
