"""Arrays of values, per-CPU values, programs, perf events and cgroups (kernel/bpf/arraymap.c)."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport E2BIG, EEXIST, EINVAL, ENOENT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from anybpf cimport uapi
from anybpf.maps.bpf_map cimport (ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops, bpf_map_visit_t,
                                  copy_map_value, copy_map_value_locked, mapping, round_up8, user_size)
from anybpf.maps.rcu cimport retire
from anybpf.maps.sync cimport load64, store64

from anybpf.maps.refusal import fail, require


# -- what programs call

cdef inline uint8_t *array_at(bpf_map *map, uint32_t index, uint32_t cpu) noexcept nogil:
    cdef bpf_array *array = <bpf_array *> map
    cdef uint8_t *value = array.value + index * array.elem_size
    return value + cpu * round_up8(map.value_size) if map.percpu else value


cdef void *array_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef uint32_t index
    memcpy(&index, key, 4)
    return NULL if index >= map.max_entries else array_at(map, index, cpu)


cdef int64_t check_update(bpf_map *map, uint32_t index, uint64_t flags) noexcept nogil:
    """Flags first, then the index, then whether the element may exist: it always does."""
    if flags & ~<uint64_t> uapi.BPF_F_LOCK > uapi.BPF_EXIST:
        return -EINVAL
    if index >= map.max_entries:
        return -E2BIG
    if flags & uapi.BPF_NOEXIST:
        return -EEXIST
    if flags & uapi.BPF_F_LOCK and (map.percpu or map.spin_lock_off < 0):
        return -EINVAL
    return 0


cdef int64_t array_update(bpf_map *map, const void *key, const void *value, uint64_t flags,
                          uint32_t cpu) noexcept nogil:
    cdef uint32_t index
    cdef int64_t err
    memcpy(&index, key, 4)
    err = check_update(map, index, flags)
    if err:
        return err
    if flags & uapi.BPF_F_LOCK:
        return copy_map_value_locked(map, array_at(map, index, 0), value, False)
    copy_map_value(map, array_at(map, index, cpu), value)
    return 0


cdef int64_t array_delete(bpf_map *map, const void *key) noexcept nogil:
    return -EINVAL


cdef int64_t array_for_each(bpf_map *map, bpf_map_visit_t visit, void *arg, uint64_t flags,
                            uint32_t cpu) noexcept nogil:
    cdef uint32_t index, key
    if flags:
        return -EINVAL
    for index in range(map.max_entries):
        key = index
        if visit(map, &key, array_at(map, index, cpu), arg):
            return <int64_t> index + 1
    return map.max_entries


cdef bpf_map_ops array_ops
array_ops.lookup = array_lookup
array_ops.update = array_update
array_ops.delete = array_delete
array_ops.for_each = array_for_each

cdef bpf_map_ops fd_array_ops       # programs reach the slots through helpers of their own


# -- what bpf(2) calls

cdef int64_t next_index(bpf_map *map, const uint8_t *key, uint8_t *next_key) noexcept:
    cdef uint32_t index = <uint32_t> uapi.U32
    if key != NULL:
        memcpy(&index, key, 4)
    if index < map.max_entries and index == map.max_entries - 1:
        return -ENOENT
    index = 0 if index >= map.max_entries else index + 1
    memcpy(next_key, &index, 4)
    return 0


cdef class ArrayMap(Map):
    """BPF_MAP_TYPE_ARRAY and PERCPU_ARRAY."""

    batch_ops = frozenset({"lookup", "update"})

    def __init__(self, attr, uint32_t ncpus, seed=0):
        cdef bpf_array *array
        cdef uint64_t size
        self.setup(attr, ncpus, sizeof(bpf_array))
        array = <bpf_array *> self.native
        array.map.ops = &array_ops
        array.elem_size = round_up8(user_size(self.native))
        size = array.elem_size * array.map.max_entries
        if attr.map_flags & uapi.BPF_F_MMAPABLE:
            array.value = <uint8_t *> self.area_alloc_shared(size)
        else:
            array.value = <uint8_t *> self.area_alloc(size)
        array.map.area = bpf_map_area(<uint64_t> array.value, size, round_up8(attr.value_size), 0,
                                      attr.value_size)

    def value_address(self, offset):
        """The address `offset` bytes into the value of a one-element array."""
        require(not self.native.percpu and self.native.max_entries == 1, ENOTSUPP,
                "direct value access")
        require(0 <= offset < self.native.value_size, EINVAL, f"offset {offset} in the value")
        return <uint64_t> (<bpf_array *> self.native).value + offset

    cdef uint8_t *element(self, const uint8_t *key) noexcept:
        return <uint8_t *> array_lookup(self.native, key, 0)

    cdef void *sys_value(self, const uint8_t *key) noexcept:
        return self.element(key)

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        cdef uint32_t index
        cdef int64_t err
        if not self.native.percpu:
            return array_update(self.native, key, value, flags, 0)
        memcpy(&index, key, 4)
        err = -EINVAL if flags > uapi.BPF_EXIST else check_update(self.native, index, flags)
        if not err:
            memcpy(self.element(key), value, user_size(self.native))
        return err

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return -EINVAL

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        return next_index(self.native, key, next_key)


cdef class FdArray(Map):
    """An array whose slots hold native objects; user space names them by fd, sees them by id."""

    #: whether lookup from user space gives the object's id
    ids_readable = False

    def __init__(self, attr, uint32_t ncpus, seed=0):
        cdef bpf_array *array
        self.setup(attr, ncpus, sizeof(bpf_array))
        array = <bpf_array *> self.native
        array.map.ops = &fd_array_ops
        array.elem_size = 8
        array.value = <uint8_t *> self.area_alloc(<uint64_t> 8 * attr.max_entries)
        self.objects = {}

    cdef uint64_t *slot(self, const uint8_t *key) noexcept:
        cdef uint32_t index
        memcpy(&index, key, 4)
        if index >= self.native.max_entries:
            return NULL
        return <uint64_t *> ((<bpf_array *> self.native).value + <uint64_t> index * 8)

    def check_update(self, key, flags):
        """EINVAL for flags, E2BIG for an index outside; the fd is looked at after these."""
        k = self.as_key(key)
        require(flags == uapi.BPF_ANY, EINVAL, f"flags {flags:#x}")
        require(self.slot(<const uint8_t *> PyBytes_AS_STRING(k)) != NULL, E2BIG, "index")

    def check_object(self, obj):
        """Raise if this object may not be in this map."""

    def update_object(self, key, obj, flags=0):
        """Put `obj` (with `.address` and `.id`) into a slot; what was there is let go."""
        self.check_write()
        self.check_update(key, flags)
        self.check_object(obj)
        k = self.as_key(key)
        store64(self.slot(<const uint8_t *> PyBytes_AS_STRING(k)), obj.address)
        retire(self.objects.get(k))
        self.objects[k] = obj

    def get_object(self, key):
        """The object in a slot, or None."""
        return self.objects.get(self.as_key(key))

    def update(self, key, value, flags=0):
        """Values are fds, which only the syscall layer knows: EINVAL. Use update_object."""
        self.check_write()
        fail(EINVAL, "slots hold objects: update_object")

    def release_uref(self):
        """Empty all slots of a program array (they could keep each other alive for ever)."""
        if self.holds == "prog":
            for key in list(self.objects):
                self.drop(key)

    def drop(self, key):
        """Empty a slot; whether anything was in it."""
        store64(self.slot(<const uint8_t *> PyBytes_AS_STRING(key)), 0)
        obj = self.objects.pop(key, None)
        retire(obj)
        return obj is not None

    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        cdef uint32_t number
        if not self.ids_readable:
            return -ENOTSUPP
        obj = self.objects.get(key[:4])
        if obj is None:
            return -ENOENT
        number = obj.id
        memcpy(value, &number, 4)
        return 0

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        if self.slot(key) == NULL:
            return -E2BIG
        return 0 if self.drop(key[:4]) else -ENOENT

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        return next_index(self.native, key, next_key)


cdef class ProgArray(FdArray):
    """BPF_MAP_TYPE_PROG_ARRAY: the targets of tail calls, all of one program type."""

    holds = "prog"
    ids_readable = True

    def __init__(self, attr, uint32_t ncpus, seed=0):
        FdArray.__init__(self, attr, ncpus, seed)
        #: the program type that the first program fixed, or None
        self.owner_type = None

    def claim(self, owner):
        """A program of this type (or more that must agree) uses the map. EINVAL if others do."""
        if self.owner_type is None:
            self.owner_type = owner
        require(self.owner_type == owner, EINVAL, "program type of the prog array")

    def check_object(self, obj):
        """The program's type must be that of the map's other programs."""
        self.claim(obj.prog_type)


cdef class PerfEventArray(FdArray):
    """BPF_MAP_TYPE_PERF_EVENT_ARRAY: where perf_event_output sends records."""

    holds = "perf_event"


cdef class CgroupArray(FdArray):
    """BPF_MAP_TYPE_CGROUP_ARRAY: cgroups for bpf_skb_under_cgroup and friends."""

    holds = "cgroup"
