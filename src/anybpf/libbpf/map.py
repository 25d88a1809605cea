"""A map of an object: a Python mapping, decoded by BTF (tools/lib/bpf/libbpf.c, bpf_map).

`m[key]` and `m[key] = value` take and give Python objects where BTF knows the types, bytes where
it does not; `m.raw` is the same mapping in plain bytes. A value of a per-CPU map is a list with one
element for each possible CPU. Maps of programs, maps or events take the object (or its fd) and
give the number that the kernel gives: the object's id.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from anybpf import uapi
from anybpf.btf import values
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, error_text
from anybpf.libbpf import bpf, log, resize
from anybpf.libbpf.map_defs import MAPS_OF_MAPS
from anybpf.libbpf.map_reuse import fd_of
from anybpf.libbpf.spec import MapSpec, ObjectSpec
from anybpf.proto import maps

if TYPE_CHECKING:
    from anybpf.libbpf.ringbuf import Reader
    from anybpf.libbpf.struct_ops import Fitted

PER_CPU = frozenset({
    uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
    uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH, uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
})
HOLDS_FD = frozenset({
    uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    uapi.BPF_MAP_TYPE_CGROUP_ARRAY, uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
    uapi.BPF_MAP_TYPE_HASH_OF_MAPS,
})
#: every index is a key of these, whether there is anything at it or not
SPARSE = frozenset({uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
                    uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_CPUMAP})
KEYLESS = frozenset({uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK,
                     uapi.BPF_MAP_TYPE_BLOOM_FILTER})


class _Attribute:
    """A number of the definition, which may be changed until the map is loaded."""

    def __init__(self, field: str, doc: str) -> None:
        self.field = field
        self.__doc__ = doc

    def __get__(self, owner: Map, kind: object = None) -> int:
        value: int = getattr(owner.spec, self.field)
        return value

    def __set__(self, owner: Map, value: int) -> None:
        owner._change()
        setattr(owner.spec, self.field, value)


class RawMap(MutableMapping[bytes, bytes]):
    """The elements of a map as bytes. A per-CPU value is all copies, each padded to 8 bytes."""

    def __init__(self, owner: Map) -> None:
        self._owner = owner

    def __getitem__(self, key: bytes) -> bytes:
        return self._owner.lookup(key)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._owner.update(key, value)

    def __delitem__(self, key: bytes) -> None:
        self._owner.delete(key)

    def __iter__(self) -> Iterator[bytes]:
        """The keys that have a value: the kernel names each index of a sparse array."""
        sparse = self._owner.type in SPARSE
        key = self._owner.next_key(None)
        while key is not None:
            if not sparse or key in self:
                yield key
            key = self._owner.next_key(key)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Map(MutableMapping[Any, Any]):
    """One map: its `spec` before loading, its elements after.

    A missing key is a KeyError; every other refusal is a BpfError with the kernel's error number
    (EBADF while the map is not loaded).
    """

    def __init__(self, spec: MapSpec, btf: Btf | None = None,
                 owner: ObjectSpec | None = None) -> None:
        self.spec = spec
        self.owner = owner
        self.fd: int | None = None
        #: given before loading: the map to use instead of a new one, and the template of a map
        #: of maps; each a Map of another object, or a descriptor
        self.adopted: Map | int | None = None
        self.inner_map: Map | int | None = None
        #: after loading: a struct_ops variable as the kernel has it, an arena's memory
        self.fitted: Fitted | None = None
        self.memory: bpf.Memory | None = None
        self._btf = btf
        self._pin: str | None = None
        self._backend: bpf.Backend | None = None
        self._reader: Reader | None = None

    def __repr__(self) -> str:
        state = "not loaded" if self.fd is None else f"fd {self.fd}"
        return f"<Map {self.name!r} {type_name(self.type)}, {state}>"

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    # what it is

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def btf(self) -> Btf | None:
        """The types of keys and values: the object's."""
        return self.owner.btf if self.owner is not None else self._btf

    type = _Attribute("type", "The BPF_MAP_TYPE_* number.")
    key_size = _Attribute("key_size", "Bytes of a key.")
    max_entries = _Attribute("max_entries", "How many elements there can be; 0 for a perf event "
                             "array: one for each CPU.")
    flags = _Attribute("flags", "BPF_F_* of map creation.")
    numa_node = _Attribute("numa_node", "Where memory comes from, with BPF_F_NUMA_NODE.")
    map_extra = _Attribute("map_extra", "A number of the map type's own: hash functions of a bloom "
                           "filter, an arena's address.")

    @property
    def value_size(self) -> int:
        """Bytes of one value (of one copy, in a per-CPU map).

        Setting it for a section of variables makes its last array longer or shorter.
        """
        return self.spec.value_size

    @value_size.setter
    def value_size(self, size: int) -> None:
        self._change()
        if self.spec.data is not None and self.owner is not None:
            resize.resize(self.owner, self.spec, size)
        else:
            self.spec.value_size = size

    @property
    def autocreate(self) -> bool:
        """Whether loading creates the map; programs that name it otherwise must not get there."""
        return self.spec.autocreate

    @autocreate.setter
    def autocreate(self, wanted: bool) -> None:
        self._change()
        self.spec.autocreate = wanted

    @property
    def autoattach(self) -> bool:
        """Whether attaching an object's skeleton attaches this struct_ops map."""
        return self.spec.autoattach

    @autoattach.setter
    def autoattach(self, wanted: bool) -> None:
        self.spec.autoattach = wanted

    @property
    def is_internal(self) -> bool:
        """A section of variables."""
        return self.spec.data is not None

    @property
    def initial_value(self) -> bytes | None:
        """What a section of variables, an arena or a struct_ops variable holds when loaded."""
        content = self._content()
        return None if content is None else bytes(content)

    @initial_value.setter
    def initial_value(self, value: bytes) -> None:
        self._change()
        content = self._content()
        if content is None or len(value) != len(content):
            have = "none" if content is None else f"{len(content)} bytes"
            raise BpfError(errno.EINVAL, f"map '{self.name}': an initial value of {len(value)} "
                                         f"bytes, where it has {have}")
        content[:] = value

    def _content(self) -> bytearray | None:
        spec = self.spec
        data = spec.data or spec.arena
        return data.content if data else spec.struct_ops.content if spec.struct_ops else None

    def _change(self) -> None:
        if self.fd is not None:
            raise BpfError(errno.EBUSY, f"map '{self.name}' is loaded")

    def reuse(self, other: Map | int) -> None:
        """Use a map that exists (another object's, or a descriptor) instead of a new one.

        Loading takes a descriptor of its own and the other map's type and sizes; nothing is
        compared, and the content of a section of variables is not stored.
        """
        self._change()
        self.adopted = other

    def set_inner_map(self, template: Map | int) -> None:
        """The map that all maps in this map of maps look like, instead of a declared one.

        Raises BpfError (EINVAL) if this is no map of maps or has a template already.
        """
        self._change()
        if self.type not in MAPS_OF_MAPS:
            raise BpfError(errno.EINVAL, f"map '{self.name}': error: unsupported map type")
        if self.inner_map is not None or self.spec.inner is not None:
            raise BpfError(errno.EINVAL, f"map '{self.name}': error: inner_map_fd already "
                                         "specified")
        self.inner_map = template

    # pins

    @property
    def pin_path(self) -> str | None:
        """Where the map is pinned, or will be looked for and pinned by loading."""
        return self._pin or self.spec.pin_path

    @pin_path.setter
    def pin_path(self, path: str | None) -> None:
        self.spec.pin_path = path

    def pin_path_in(self, root: str | None) -> str | None:
        """The path that loading uses; `root` is the directory for maps pinned by name."""
        if self.spec.pin_path is None and self.spec.pinning and root:
            return f"{root}/{self.name}"
        return self.spec.pin_path

    @property
    def is_pinned(self) -> bool:
        return self._pin is not None

    def pinned_at(self, path: str | None) -> None:
        """The map has (or lost) its name in a bpffs; called by the loader."""
        self._pin = path

    def pin(self, path: str | None = None) -> None:
        """Give the map a name in a bpffs (default: its `pin_path`).

        Raises BpfError: EINVAL (no path, or another one than before), EEXIST, ENOENT, EPERM.
        """
        backend = self.backend
        wanted = path or self.pin_path
        if wanted is None:
            log.fail(errno.EINVAL, f"missing a path to pin map '{self.name}' at")
        if self._pin is not None:
            self._pinned_already(wanted)
            return
        if self.spec.pin_path not in (None, wanted):
            log.fail(errno.EINVAL, f"map '{self.name}' already has pin path '{self.spec.pin_path}'"
                                   f" different from '{wanted}'")
        bpf.make_parent(backend, wanted)
        bpf.obj_pin(backend, self._fd, wanted)
        self._pin = wanted
        log.debug("pinned map '%s'", wanted)

    def _pinned_already(self, wanted: str) -> None:
        if wanted != self._pin:
            log.fail(errno.EINVAL, f"map '{self.name}' already has pin path '{self._pin}' "
                                   f"different from '{wanted}'")
        log.debug("map '%s' already pinned at '%s'; not re-pinning", self.name, self._pin)

    def unpin(self, path: str | None = None) -> None:
        """Take the name away. Raises BpfError: EINVAL (no path, or not that one), ENOENT."""
        backend = self.backend
        known = path or self.pin_path
        if known is None or self._pin not in (None, known):
            log.fail(errno.EINVAL, f"no path to unpin map '{self.name}' from")
        bpf.unlink(backend, known)
        self._pin = None
        log.debug("unpinned map '%s' from '%s'", self.name, known)

    # state

    @property
    def is_per_cpu(self) -> bool:
        return self.type in PER_CPU

    @property
    def user_value_size(self) -> int:
        """Bytes of a value as bpf(2) passes it."""
        if self.is_per_cpu:
            return self._stride * self.backend.num_possible_cpus
        return 4 if self.type in HOLDS_FD else self.value_size

    @property
    def _stride(self) -> int:
        return -(-self.value_size // 8) * 8

    @property
    def backend(self) -> bpf.Backend:
        if self._backend is None:
            raise BpfError(errno.EBADF, f"map '{self.name}' is not loaded")
        return self._backend

    def loaded(self, backend: bpf.Backend, fd: int) -> None:
        """The map exists now; called by the loader."""
        self._backend, self.fd = backend, fd

    def close(self) -> None:
        """Give the map back; harmless if it is not loaded."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self.memory is not None:
            self.memory.close()
            self.memory = None
        if self._backend is not None and self.fd is not None:
            self._backend.close(self.fd)
        self._backend = self.fd = self._pin = self.fitted = None

    def info(self) -> dict[str, int | bytes]:
        """The kernel's `struct bpf_map_info` by member."""
        return bpf.obj_info(self.backend, self._fd, "bpf_map_info")

    @property
    def _fd(self) -> int:
        return -1 if self.fd is None else self.fd

    @property
    def struct_ops_value(self) -> bytes | None:
        """What storing in a struct_ops map registers: the kernel's struct with the programs in it.

        None while the map is not loaded, or is of another type.
        """
        return None if self.fitted is None else bytes(self.fitted.value)

    # bytes

    @property
    def raw(self) -> RawMap:
        """The same elements in bytes."""
        return RawMap(self)

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """The value's bytes. Raises KeyError, BpfError."""
        backend = self.backend
        self._check(key, self.key_size, "key")
        try:
            return bpf.map_lookup_elem(backend, self._fd, key, self.user_value_size, flags)
        except BpfError as e:
            raise self._missing(e, key) from None

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Store a value's bytes; `flags` as BPF_NOEXIST. Raises BpfError."""
        backend = self.backend
        self._check(key, self.key_size, "key")
        self._check(value, self.user_value_size, "value")
        try:
            bpf.map_update_elem(backend, self._fd, key, value, flags)
        except BpfError as e:
            raise self._refused(e) from None

    def delete(self, key: bytes) -> None:
        """Delete an element. Raises KeyError, BpfError."""
        backend = self.backend
        self._check(key, self.key_size, "key")
        try:
            bpf.map_delete_elem(backend, self._fd, key)
        except BpfError as e:
            raise self._missing(e, key) from None

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """The key after this one, the first for None; None at the end."""
        return bpf.map_get_next_key(self.backend, self._fd, key, self.key_size)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """The value's bytes, and the element is gone. Raises KeyError, BpfError."""
        try:
            return bpf.map_lookup_and_delete_elem(self.backend, self._fd, key,
                                                  self.user_value_size, flags)
        except BpfError as e:
            raise self._missing(e, key) from None

    def freeze(self) -> None:
        """No more writes through bpf(2)."""
        bpf.map_freeze(self.backend, self._fd)

    def _check(self, data: bytes, size: int, what: str) -> None:
        if len(data) != size:
            raise ValueError(f"map '{self.name}': {what} has {len(data)} bytes, not {size}")

    def _missing(self, error: BpfError, key: object) -> Exception:
        return KeyError(key) if error.errno == errno.ENOENT else self._refused(error)

    def _refused(self, error: BpfError) -> BpfError:
        """The kernel gives a number alone; say which map it is about, and how large that is."""
        number = error.errno or 0
        return BpfError(number, f"map '{self.name}' ({type_name(self.type)}, max_entries "
                                f"{self.max_entries}): {error_text(number)}")

    # Python objects

    def __getitem__(self, key: Any) -> Any:
        raw = self.encode_key(key)
        try:
            return self.decode_value(self.lookup(raw))
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update(self.encode_key(key), self.encode_value(value))

    def __delitem__(self, key: Any) -> None:
        raw = self.encode_key(key)
        try:
            self.delete(raw)
        except KeyError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[Any]:
        return (self.decode_key(key) for key in self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def push(self, value: Any, flags: int = 0) -> None:
        """Add a value to a queue, stack or bloom filter."""
        bpf.map_update_elem(self.backend, self._fd, None, self.encode_value(value), flags)

    def pop(self, *args: Any) -> Any:
        """Of a queue or stack: the next value, taken out (KeyError if there is none).

        Of any other map as `dict.pop`.
        """
        if self.type not in KEYLESS:
            return super().pop(*args)
        try:
            raw = bpf.map_lookup_and_delete_elem(self.backend, self._fd, None, self.value_size)
        except BpfError as e:
            raise self._missing(e, "map is empty") from None
        return self.decode_value(raw)

    def peek(self) -> Any:
        """The next value of a queue or stack, left in (KeyError if there is none)."""
        try:
            raw = bpf.map_lookup_elem(self.backend, self._fd, None, self.value_size)
        except BpfError as e:
            raise self._missing(e, "map is empty") from None
        return self.decode_value(raw)

    def encode_key(self, key: Any) -> bytes:
        """A key's bytes: by BTF, or from bytes or a number of the key's size."""
        return self._encode(self.spec.key_type_id, self.key_size, key)

    def decode_key(self, raw: bytes) -> Any:
        if self._is_index:
            return int.from_bytes(raw, sys.byteorder)
        return self._decode(self.spec.key_type_id, raw)

    @property
    def _is_index(self) -> bool:
        """Keys of array maps are numbers whether BTF says so or not."""
        return self.spec.data is not None or (not self.spec.key_type_id and self.type in ARRAYS)

    def encode_value(self, value: Any) -> bytes:
        """A value's bytes, as bpf(2) takes them; a per-CPU map takes one element for each CPU."""
        if self.type in HOLDS_FD:
            return bpf.to_bytes(fd_of(value), 4)
        if not self.is_per_cpu:
            return self._encode(self.spec.value_type_id, self.value_size, value)
        return self._encode_copies(value)

    def _encode_copies(self, copies: Any) -> bytes:
        if isinstance(copies, bytes) and len(copies) == self.user_value_size:
            return copies
        count = self.backend.num_possible_cpus
        if not isinstance(copies, Sequence) or len(copies) != count:
            raise ValueError(f"map '{self.name}': a value is a list of {count} elements, "
                             "one for each CPU")
        return b"".join(self._encode(self.spec.value_type_id, self.value_size, one)
                        .ljust(self._stride, b"\0") for one in copies)

    def decode_value(self, raw: bytes) -> Any:
        if self.type in HOLDS_FD:
            return int.from_bytes(raw[:4], sys.byteorder)
        if not self.is_per_cpu:
            return self._decode(self.spec.value_type_id, raw)
        return [self._decode(self.spec.value_type_id, raw[at:at + self.value_size])
                for at in range(0, len(raw), self._stride)]

    def _encode(self, type_id: int, size: int, value: Any) -> bytes:
        if isinstance(value, bytes | bytearray | memoryview) and len(value) == size:
            return bytes(value)
        if self.btf is not None and type_id:
            return values.encode(self.btf, type_id, value)
        return plain_bytes(value, size)

    def _decode(self, type_id: int, raw: bytes) -> Any:
        if self.btf is not None and type_id:
            return values.decode(self.btf, type_id, raw)
        return raw

    # records

    def records(self, type: str | int | None = None, *, timeout: float = 0) -> Iterator[Any]:
        """What programs have sent through a ring buffer or perf event array, oldest first.

        Ends when there is nothing more (and nothing has come for `timeout` seconds). `type` is
        the name of a struct, union, enum or typedef (or a BTF id) to decode by; without it the
        records are bytes.
        """
        type_id = self._record_type(type)
        for raw in self.reader.read(timeout):
            yield self._decode(type_id, raw) if type_id else raw

    @property
    def reader(self) -> Reader:
        """The reader behind `records()`, opened once."""
        from anybpf.libbpf.ringbuf import open_reader

        if self._reader is None:
            self._reader = open_reader(self)
        return self._reader

    def _record_type(self, type: str | int | None) -> int:
        if type is None or isinstance(type, int):
            return type or 0
        type_id = next((self.btf.find(name, kind) for name, kind in record_names(type)
                        if self.btf.find(name, kind)), 0) if self.btf else 0
        if not type_id:
            raise KeyError(f"no type {type!r} in the object's BTF, which has the types that "
                           "variables, maps and functions name")
        return type_id


ARRAYS = frozenset({uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
                    uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
                    uapi.BPF_MAP_TYPE_CGROUP_ARRAY, uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS})
RECORD_KINDS = {"struct": uapi.BTF_KIND_STRUCT, "union": uapi.BTF_KIND_UNION,
                "enum": uapi.BTF_KIND_ENUM, "typedef": uapi.BTF_KIND_TYPEDEF}


def type_name(number: int) -> str:
    """What bpftool calls a map type, the number if it has no name."""
    row = maps.BY_TYPE.get(number)
    return row.name if row is not None else f"of type {number}"


def record_names(text: str) -> list[tuple[str, int]]:
    """The (name, BTF kind) pairs that `"struct event"` or `"event"` may mean."""
    word, _, rest = text.strip().partition(" ")
    if rest and word in RECORD_KINDS:
        return [(rest.strip(), RECORD_KINDS[word])]
    return [(text.strip(), kind) for kind in (*RECORD_KINDS.values(), uapi.BTF_KIND_INT)]


def plain_bytes(value: Any, size: int) -> bytes:
    """`size` bytes of a value of unknown type: bytes as they are, a number in host byte order."""
    if isinstance(value, int) and size <= 8:
        signed = value < 0
        try:
            return value.to_bytes(size, sys.byteorder, signed=signed)
        except OverflowError:
            raise ValueError(f"{value} does not fit {size} bytes") from None
    if isinstance(value, bytes | bytearray | memoryview) and len(value) == size:
        return bytes(value)
    raise ValueError(f"{size} bytes are needed, not {value!r}")
