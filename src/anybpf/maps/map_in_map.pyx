"""Maps whose values are maps (kernel/bpf/map_in_map.c).

All inner maps must be like the one given at creation. A slot holds the inner map's native address and
keeps the map alive; user space puts fds in and sees ids.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EINVAL, ENOENT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anybpf cimport uapi
from anybpf.maps.arraymap cimport FdArray, fd_array_slot
from anybpf.maps.bpf_map cimport ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops
from anybpf.maps.hashtab cimport HashMap, bpf_htab, htab_elem, htab_find, htab_value
from anybpf.maps.rcu cimport retire
from anybpf.maps.sync cimport load64

from anybpf import uapi as _uapi
from anybpf.maps.attr import MapAttr
from anybpf.maps.refusal import fail, require

#: types that no map can hold: what they hold themselves is only known at run time
NO_INNER = (_uapi.BPF_MAP_TYPE_PROG_ARRAY,)
MAPS_OF_MAPS = (_uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, _uapi.BPF_MAP_TYPE_HASH_OF_MAPS)


def meta_of(inner):
    """What an outer map remembers of its inner maps. EINVAL, ENOTSUPP for what cannot be one."""
    require(inner is not None, EINVAL, "a map of maps needs an inner map")
    require(inner.type not in MAPS_OF_MAPS, EINVAL, "maps of maps do not nest")
    require(inner.type not in NO_INNER, ENOTSUPP, "inner map type")
    return MapAttr(inner.type, inner.key_size, inner.value_size, inner.max_entries, inner.flags,
                   map_extra=inner.map_extra, spin_lock_off=inner.spin_lock_off)


def check_inner(meta, inner):
    """EINVAL unless `inner` is like `meta`; the number of entries counts only for plain arrays."""
    same = (meta.map_type == inner.type and meta.key_size == inner.key_size
            and meta.value_size == inner.value_size and meta.map_flags == inner.flags
            and meta.spin_lock_off == inner.spin_lock_off)
    fixed_size = (meta.map_type == uapi.BPF_MAP_TYPE_ARRAY
                  and not meta.map_flags & uapi.BPF_F_INNER_MAP)
    require(same and (not fixed_size or meta.max_entries == inner.max_entries), EINVAL,
            "the inner map differs from the template")


cdef void *array_of_maps_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef uint32_t index
    memcpy(&index, key, 4)
    return <void *> fd_array_slot(map, index)


cdef void *htab_of_maps_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef htab_elem *elem = htab_find(map, key)
    if elem == NULL:
        return NULL
    return <void *> load64(<uint64_t *> htab_value(<bpf_htab *> map, elem))


cdef bpf_map_ops array_of_maps_ops
cdef bpf_map_ops htab_of_maps_ops
array_of_maps_ops.lookup = array_of_maps_lookup
htab_of_maps_ops.lookup = htab_of_maps_lookup


cdef class ArrayOfMaps(FdArray):
    """BPF_MAP_TYPE_ARRAY_OF_MAPS."""

    holds = "map"
    ids_readable = True
    batch_ops = frozenset({"lookup", "update"})

    def __init__(self, attr, uint32_t ncpus, seed=0):
        FdArray.__init__(self, attr, ncpus, seed)
        #: what inner maps must be like
        self.inner_meta = meta_of(attr.inner)
        self.native.ops = &array_of_maps_ops

    def check_object(self, obj):
        """The map must be like the template."""
        check_inner(self.inner_meta, obj)


cdef class HashOfMaps(HashMap):
    """BPF_MAP_TYPE_HASH_OF_MAPS."""

    holds = "map"
    cdef dict objects

    def __init__(self, attr, uint32_t ncpus, seed=0):
        HashMap.__init__(self, attr, ncpus, seed)
        #: what inner maps must be like
        self.inner_meta = meta_of(attr.inner)
        (<bpf_htab *> self.native).holds_addresses = 1
        self.native.ops = &htab_of_maps_ops
        self.objects = {}

    def describe_area(self):
        """Programs do not find values in memory."""
        self.native.area = bpf_map_area(0, 0, 0, 0, 0)

    def update_object(self, key, obj, flags=0):
        """Put a map under a key and keep it alive there; what was there is let go."""
        cdef bytes k = self.as_key(key)
        cdef uint64_t address = obj.address
        self.check_write()
        check_inner(self.inner_meta, obj)
        require(not flags & uapi.BPF_F_LOCK, EINVAL, "BPF_F_LOCK")
        self.check(self.sys_update(<const uint8_t *> PyBytes_AS_STRING(k), <uint8_t *> &address, flags))
        retire(self.objects.get(k))
        self.objects[k] = obj

    def get_object(self, key):
        """The map under a key, or None."""
        return self.objects.get(self.as_key(key))

    def update(self, key, value, flags=0):
        """Values are fds, which only the syscall layer knows: EINVAL. Use update_object."""
        self.check_write()
        fail(EINVAL, "values are maps: update_object")

    def take_bucket(self, index, room, flags, delete):
        """(keys, ids) of a bucket, removed with `delete`."""
        found = HashMap.take_bucket(self, index, room, flags, delete)
        if delete and found is not None:
            size = self.native.key_size
            for i in range(0, len(found[0]), size):
                retire(self.objects.pop(found[0][i:i + size], None))
        return found

    cdef int64_t copy_element(self, htab_elem *elem, uint8_t *value, uint64_t flags) noexcept:
        cdef bpf_map *inner = <bpf_map *> load64(
            <uint64_t *> htab_value(<bpf_htab *> self.native, elem))
        memcpy(value, &inner.id, 4)
        return 0

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        cdef int64_t err = HashMap.sys_delete(self, key)
        if not err:
            retire(self.objects.pop(key[:self.native.key_size], None))
        return err

    cdef int64_t sys_pop(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        return -ENOTSUPP
