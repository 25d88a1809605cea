"""What all maps have in common: memory, the rules of bpf(2), batches (kernel/bpf/syscall.c)."""

import errno as _errno
import mmap as _mmap
import os
import tempfile
import weakref

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EACCES, EBUSY, EINVAL, ENOENT, ENOMEM, EPERM, ETIMEDOUT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from anybpf cimport uapi
from anybpf.maps.sync cimport spin_lock_timeout, spin_unlock

from anybpf import uapi as _uapi
from anybpf.errors import BpfError
from anybpf.maps.alloc_check import check_type
from anybpf.maps.attr import Batch
from anybpf.maps.refusal import fail, require
from anybpf.proto.maps import BY_TYPE

cdef extern from "sys/mman.h" nogil:
    void *mmap(void *addr, size_t size, int prot, int flags, int fd, int64_t offset)
    int munmap(void *addr, size_t size)
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MAP_NORESERVE

cdef enum:
    LOCK_TRIES = 1 << 14        # yields to the holder of a bpf_spin_lock before giving up
    LOCK_SIZE = 4               # sizeof(struct bpf_spin_lock)

PAGE_SIZE = _mmap.PAGESIZE
cdef uint64_t page_mask = PAGE_SIZE - 1


cdef void copy_map_value(const bpf_map *map, void *dst, const void *src) noexcept nogil:
    cdef uint8_t *to = <uint8_t *> dst
    cdef const uint8_t *source = <const uint8_t *> src
    cdef uint64_t after
    if map.spin_lock_off < 0:
        memcpy(dst, src, map.value_size)
        return
    after = <uint64_t> map.spin_lock_off + LOCK_SIZE
    memcpy(to, source, map.spin_lock_off)
    memcpy(to + after, source + after, map.value_size - after)


cdef int64_t copy_map_value_locked(const bpf_map *map, void *dst, const void *src,
                                   bint lock_src) noexcept nogil:
    cdef const void *locked = src if lock_src else dst
    cdef uint32_t *lock = <uint32_t *> (<uint8_t *> locked + map.spin_lock_off)
    if spin_lock_timeout(lock, LOCK_TRIES):
        return -ETIMEDOUT
    copy_map_value(map, dst, src)
    spin_unlock(lock)
    return 0


def type_name(map_type):
    """The name of a map type in lower case, such as `"percpu_hash"`."""
    row = BY_TYPE.get(map_type)
    return row.name if row else str(map_type)


cdef object new_bytes(uint64_t size):
    return PyBytes_FromStringAndSize(NULL, size)


def memory_file(size):
    """The descriptor of a new unnamed file in memory of `size` bytes. ENOMEM."""
    try:
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("bpf-map")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, size)
    except (OSError, OverflowError):
        fail(ENOMEM, "memory file of a map")
    return fd


cdef class Map:
    """One map: `lookup`, `update`, `delete`, ... are what bpf(2) does; all raise BpfError.

    Keys and values are bytes of exactly `key_size` and `user_value_size`.
    """

    #: what the slots hold in place of values: "prog", "map", "perf_event", "cgroup", or None
    holds = None
    #: the batch operations that this type has
    batch_ops = frozenset()

    def __cinit__(self):
        self.native = NULL
        self.memfd = -1
        self.name = ""
        self.views = []

    def __init__(self, *args):
        raise TypeError("anybpf.maps.create makes maps")

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_mappings):
            munmap(self.mappings[i].base, self.mappings[i].size)
        if self.memfd >= 0:
            os.close(self.memfd)
        free(self.native)

    def __repr__(self):
        return (f"<{type_name(self.type)} map {self.name!r} key={self.key_size} "
                f"value={self.value_size} max_entries={self.max_entries}>")

    # -- construction

    cdef int setup(self, object attr, uint32_t ncpus, uint64_t struct_size) except -1:
        """Check `attr`; allocate and fill the native struct (zeros past struct bpf_map)."""
        cdef bpf_map *map
        require(self.native == NULL, EBUSY, "a map is made only once")
        row = check_type(attr)
        map = <bpf_map *> calloc(1, struct_size)
        if map == NULL:
            fail(ENOMEM, "map")
        self.native = map
        map.map_type = attr.map_type
        map.key_size = attr.key_size
        map.value_size = attr.value_size
        map.max_entries = attr.max_entries
        map.map_flags = attr.map_flags
        map.map_extra = attr.map_extra
        map.spin_lock_off = attr.spin_lock_off
        map.percpu = row.percpu
        map.ncpus = ncpus
        map.owner = <void *> self
        self.name = attr.name
        self.numa_node = attr.numa_node if attr.map_flags & uapi.BPF_F_NUMA_NODE else -1
        return 0

    cdef void *keep(self, void *base, uint64_t size) except NULL:
        if base == MAP_FAILED:
            fail(ENOMEM, f"{size} bytes of map memory")
        self.mappings[self.n_mappings] = mapping(base, size)
        self.n_mappings += 1
        return base

    cdef void *area_alloc(self, uint64_t size) except NULL:
        """Zeroed memory, committed when it is first touched."""
        size = (size + page_mask) & ~page_mask
        return self.keep(mmap(NULL, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), size)

    cdef void *area_alloc_shared(self, uint64_t size) except NULL:
        """The same, behind a memory file that user space can map."""
        size = (size + page_mask) & ~page_mask
        self.memfd = memory_file(size)
        return self.keep(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                              self.memfd, 0), size)

    # -- what the map is

    @property
    def type(self):
        """BPF_MAP_TYPE_*."""
        return self.native.map_type

    @property
    def key_size(self):
        """Bytes of a key; 0 for maps without keys."""
        return self.native.key_size

    @property
    def value_size(self):
        """Bytes of a value as programs see it."""
        return self.native.value_size

    @property
    def max_entries(self):
        """How many elements fit (bytes, for a ring buffer)."""
        return self.native.max_entries

    @property
    def flags(self):
        """The BPF_F_* that the map was created with."""
        return self.native.map_flags

    @property
    def map_extra(self):
        """The type's own number, such as a bloom filter's count of hash functions."""
        return self.native.map_extra

    @property
    def ncpus(self):
        """Possible CPUs: the copies of a per-CPU value."""
        return self.native.ncpus

    @property
    def is_percpu(self):
        """Whether every CPU has a copy of each value."""
        return bool(self.native.percpu)

    @property
    def frozen(self):
        """Whether user space may no longer change the map."""
        return bool(self.native.frozen)

    @property
    def spin_lock_off(self):
        """Offset of the value's struct bpf_spin_lock, or -1."""
        return self.native.spin_lock_off

    @property
    def user_value_size(self):
        """Bytes of a value in lookup and update: all copies of a per-CPU value, 8-byte aligned."""
        return user_size(self.native)

    @property
    def id(self):
        """The id that the machine gave, 0 before."""
        return self.native.id

    @id.setter
    def id(self, uint32_t value):
        self.native.id = value

    @property
    def user_cpu(self):
        """The CPU that calls of bpf(2) run on, at first 0: LRU maps have lists per CPU."""
        return self.sys_cpu

    @user_cpu.setter
    def user_cpu(self, uint32_t cpu):
        require(cpu < self.native.ncpus, EINVAL, f"CPU {cpu}")
        self.sys_cpu = cpu

    @property
    def address(self):
        """The address of the native struct: a program's map pointer."""
        return <uint64_t> self.native

    @property
    def area(self):
        """(base, size, stride, value_off, value_size): where programs find values; see bpf_map.pxd."""
        cdef bpf_map_area a = self.native.area
        return a.base, a.size, a.stride, a.value_off, a.value_size

    @property
    def batch_size(self):
        """Bytes of the opaque position in batch lookups."""
        return self.native.key_size

    def value_address(self, offset):
        """The address for BPF_PSEUDO_MAP_VALUE, `offset` bytes into the only value of an array."""
        fail(ENOTSUPP, "direct value access")

    # -- the operations, one per element command

    def lookup(self, key=b"", flags=0, value=None):
        """The value of `key`. ENOENT if there is none. `value` is what to ask a bloom filter for."""
        k = self.as_key(key)
        self.check_lock(flags, uapi.BPF_F_LOCK)
        out = self.lookup_buffer(value)
        self.check(self.sys_lookup(key_pointer(k), <uint8_t *> PyBytes_AS_STRING(out), flags))
        return out

    def update(self, key, value, flags=0):
        """Set `key` to `value`. BPF_NOEXIST and BPF_EXIST give EEXIST and ENOENT."""
        k = self.as_key(key)
        v = self.as_value(value)
        self.check_write()
        self.check_lock(flags, _uapi.U64)
        self.check(self.sys_update(key_pointer(k), <uint8_t *> PyBytes_AS_STRING(v), flags))

    def delete(self, key):
        """Remove `key`. ENOENT if it is not there."""
        k = self.as_key(key)
        self.check_write()
        self.check(self.sys_delete(key_pointer(k)))

    def next_key(self, key=None):
        """The key after `key`, the first for None or a key that is gone. ENOENT after the last."""
        k = None if key is None else self.as_key(key)
        out = new_bytes(self.native.key_size)
        self.check(self.sys_next_key(key_pointer(k), <uint8_t *> PyBytes_AS_STRING(out)))
        return out

    def lookup_and_delete(self, key=b"", flags=0):
        """Take out the value of `key` (of the head, for queues and stacks)."""
        k = self.as_key(key)
        self.check_write()
        self.check_pop(flags)
        out = new_bytes(user_size(self.native))
        self.check(self.sys_pop(key_pointer(k), <uint8_t *> PyBytes_AS_STRING(out), flags))
        return out

    def keys(self):
        """All keys, as get_next_key finds them; safe against changes, which may repeat keys."""
        key = None
        while True:
            try:
                key = self.next_key(key)
            except BpfError as error:
                if error.errno == ENOENT:
                    return
                raise
            yield key

    def freeze(self):
        """Make the map read-only for user space. EPERM if it is already, EBUSY if mapped writable."""
        require(self.native.spin_lock_off < 0, ENOTSUPP, "freeze of a map with special fields")
        self.check_write()
        require(not self.mapped_writable(), EBUSY, "freeze of a map with writable mappings")
        self.native.frozen = 1

    # -- memory shared with user space

    def mmap(self, length=0, *, offset=0, writable=True):
        """Map `length` bytes (0: all) of the area at a page-aligned offset; an `mmap.mmap`."""
        require(self.memfd >= 0, ENOTSUPP, "mmap of this map")
        self.check_mmap(offset, length, writable)
        prot = _mmap.PROT_READ | (_mmap.PROT_WRITE if writable else 0)
        try:
            view = _mmap.mmap(self.memfd, length or self.mmap_size() - offset, _mmap.MAP_SHARED,
                              prot, offset=offset)
        except (ValueError, OverflowError):
            fail(EINVAL, "mmap")
        if writable:
            self.views = [x for x in self.views if x() is not None] + [weakref.ref(view)]
        return view

    def mmap_size(self):
        """How many bytes user space can map."""
        return self.mappings[0].size

    def check_mmap(self, offset, length, writable):
        """Raise unless user space may map this range so."""
        require(not (writable and self.native.frozen), EPERM, "writable mmap of a frozen map")
        require(not (writable and self.native.map_flags & uapi.BPF_F_RDONLY_PROG), EACCES,
                "writable mmap of a map that programs may only read")
        require(0 <= offset and 0 <= length <= self.mmap_size() - offset, EINVAL, "mmap range")

    def mapped_writable(self):
        """Whether a writable mmap of the map is still open."""
        return any(view is not None and not view.closed for view in (ref() for ref in self.views))

    # -- objects in slots

    def check_update(self, key, flags):
        """What update_object checks before it looks at the object (syscalls do so before the fd)."""
        require(self.holds is not None, EINVAL, "this map holds values, not objects")

    def update_object(self, key, obj, flags=0):
        """Put a program, map, perf event or cgroup into a slot and keep it alive there."""
        self.check_update(key, flags)

    def get_object(self, key):
        """The object in a slot, or None."""
        return None

    def claim(self, owner):
        """A program of this type uses the map: EINVAL if a program array belongs to others."""

    def release_uref(self):
        """The last fd and pin of user space are gone: program arrays let their programs go."""

    # -- batches

    def lookup_batch(self, start=None, count=0, elem_flags=0, flags=0):
        """Up to `count` elements from the position `start` (None: the beginning); errno ENOENT at the end."""
        cdef bytes key, value, position = start
        cdef int64_t err = 0
        self.check_batch("lookup", elem_flags)
        keys, values = [], []
        while len(keys) < count:
            key = new_bytes(self.native.key_size)
            err = self.sys_next_key(key_pointer(position), <uint8_t *> PyBytes_AS_STRING(key))
            if err:
                break
            position = key
            value = new_bytes(user_size(self.native))
            err = self.sys_lookup(key_pointer(key), <uint8_t *> PyBytes_AS_STRING(value), elem_flags)
            if err != -ENOENT:          # an empty slot is left out
                self.check(err)
                keys.append(key)
                values.append(value)
        return Batch(-err, len(keys), b"".join(keys), b"".join(values), position if keys else b"")

    def lookup_and_delete_batch(self, start=None, count=0, elem_flags=0, flags=0):
        """lookup_batch that removes what it returns."""
        self.check_write()
        self.check_batch("lookup_and_delete", elem_flags)

    def update_batch(self, keys, values, count, elem_flags=0):
        """Update `count` elements from concatenated keys and values; stops at the first error."""
        self.check_write()
        self.check_batch("update", elem_flags)
        ks, vs = self.native.key_size, user_size(self.native)
        require(len(keys) >= count * ks and len(values) >= count * vs, EINVAL, "short batch")
        return run_batch(count, lambda i: self.update(
            keys[i * ks:(i + 1) * ks], values[i * vs:(i + 1) * vs], elem_flags))

    def delete_batch(self, keys, count, elem_flags=0):
        """Delete `count` elements by concatenated keys; stops at the first error."""
        self.check_write()
        self.check_batch("delete", elem_flags)
        ks = self.native.key_size
        require(len(keys) >= count * ks, EINVAL, "short batch")
        return run_batch(count, lambda i: self.delete(keys[i * ks:(i + 1) * ks]))

    # -- rules

    def check_write(self):
        """Raise EPERM if the map is frozen."""
        require(not self.native.frozen, EPERM, "the map is frozen")

    def check_lock(self, flags, allowed):
        """BPF_F_LOCK needs a spin lock in the value; flags outside `allowed` are refused."""
        require(0 <= flags <= _uapi.U64 and not flags & ~allowed, EINVAL, f"flags {flags:#x}")
        require(not flags & uapi.BPF_F_LOCK or self.native.spin_lock_off >= 0, EINVAL,
                "BPF_F_LOCK without a spin lock in the value")

    def check_pop(self, flags):
        """The flags that lookup_and_delete takes."""
        self.check_lock(flags, uapi.BPF_F_LOCK)

    def check_batch(self, operation, elem_flags):
        """Raise unless this type has the batch operation and takes these flags."""
        require(operation in self.batch_ops, ENOTSUPP, f"{operation} batch")
        self.check_lock(elem_flags, uapi.BPF_F_LOCK)

    def as_key(self, key):
        """The key as bytes. EINVAL if its size is wrong."""
        k = key if type(key) is bytes else bytes(memoryview(key))
        require(len(k) == self.native.key_size, EINVAL,
                f"key of {len(k)} bytes in a map with keys of {self.native.key_size}")
        return k

    def as_value(self, value):
        """The value as bytes. EINVAL if its size is wrong."""
        v = value if type(value) is bytes else bytes(memoryview(value))
        require(<uint64_t> len(v) == user_size(self.native), EINVAL,
                f"value of {len(v)} bytes in a map with values of {user_size(self.native)}")
        return v

    def lookup_buffer(self, value):
        """Fresh memory for lookup's answer."""
        return new_bytes(user_size(self.native))

    def check(self, int64_t err):
        """Raise the BpfError of an operation's answer."""
        if err < 0:
            fail(err, f"map {self.name!r}" if self.name else f"{type_name(self.type)} map")

    # -- the native side of the operations, for subclasses

    cdef void *sys_value(self, const uint8_t *key) noexcept:
        return NULL

    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        cdef void *found = self.sys_value(key)
        return -ENOENT if found == NULL else self.copy_out(found, value, flags)

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        return -ENOTSUPP

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return -ENOTSUPP

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        return -ENOTSUPP

    cdef int64_t sys_pop(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        return -ENOTSUPP

    cdef int64_t copy_out(self, const void *value, uint8_t *out, uint64_t flags) noexcept:
        """One value to user space: per-CPU copies all, the spin lock as zeros."""
        cdef bpf_map *map = self.native
        if map.percpu or map.spin_lock_off < 0:
            memcpy(out, value, user_size(map))
            return 0
        memset(out + map.spin_lock_off, 0, LOCK_SIZE)
        if flags & uapi.BPF_F_LOCK:
            return copy_map_value_locked(map, out, value, True)
        copy_map_value(map, out, value)
        return 0


cdef const uint8_t *key_pointer(bytes key) noexcept:
    return NULL if key is None else <const uint8_t *> <uint8_t *> PyBytes_AS_STRING(key)


def run_batch(count, step):
    """Call step(0), step(1), ... and say how many succeeded and what stopped them."""
    for i in range(count):
        try:
            step(i)
        except BpfError as error:
            return Batch(error.errno, i)
    return Batch(0, count)
