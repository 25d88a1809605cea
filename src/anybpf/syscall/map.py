"""Map commands: create, elements, freeze (kernel/bpf/syscall.c)."""

from __future__ import annotations

from errno import EACCES, EBADF, EINVAL, EPERM
from typing import TYPE_CHECKING

from anybpf import uapi
from anybpf.errors import ENOTSUPP, BpfError, NotSupported
from anybpf.maps import MapAttr, create
from anybpf.proto.maps import BY_TYPE
from anybpf.syscall.attr import Attr
from anybpf.syscall.facts import kernel_types, map_facts, module_types
from anybpf.syscall.fds import CAN_READ, CAN_WRITE
from anybpf.syscall.map_btf import TypedMap, check_map_btf
from anybpf.syscall.names import object_name
from anybpf.syscall.objects import (
    BtfObject,
    Held,
    MapBtf,
    MapObject,
    PerfEventObject,
    ProgObject,
)
from anybpf.syscall.state import State, refuse_token

if TYPE_CHECKING:
    from anybpf.maps import Map
    from anybpf.maps.perf_event import PerfEvent

_WITH_EXTRA = (uapi.BPF_MAP_TYPE_BLOOM_FILTER, uapi.BPF_MAP_TYPE_ARENA)
_MAPS_OF_MAPS = (uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS)
_POPPED = (uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK)
HASHES = (uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_LRU_HASH,
           uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH)
_POP_TYPES = (*_POPPED, *HASHES)
_DIGEST_SIZE = 32
_NUMA_NO_NODE = uapi.U32

# -- create


def file_mode(flags: int) -> int:
    """What BPF_F_RDONLY and BPF_F_WRONLY leave of a descriptor; EINVAL for both."""
    read_only, write_only = flags & uapi.BPF_F_RDONLY, flags & uapi.BPF_F_WRONLY
    if read_only and write_only:
        raise BpfError(EINVAL, "read-only and write-only")
    return (0 if write_only else CAN_READ) | (0 if read_only else CAN_WRITE)


def _invalid(attr: Attr, flags: int) -> bool:
    """Whether fields do not go together, before the map type is looked at."""
    kind, key, value = attr["map_type"], attr["btf_key_type_id"], attr["btf_value_type_id"]
    if attr["btf_vmlinux_value_type_id"]:
        if kind != uapi.BPF_MAP_TYPE_STRUCT_OPS or key or value:
            return True
    elif key and not value:
        return True
    return bool(attr["map_extra"]) and kind not in _WITH_EXTRA


def _check_numa(attr: Attr, flags: int) -> None:
    """One node is modelled, number 0."""
    if flags & uapi.BPF_F_NUMA_NODE and attr["numa_node"] not in (0, _NUMA_NO_NODE):
        raise BpfError(EINVAL, "no such NUMA node")


def _inner(state: State, attr: Attr) -> MapObject | None:
    """The template of a map of maps."""
    if attr["map_type"] not in _MAPS_OF_MAPS:
        return None
    inner = state.object(attr["inner_map_fd"], MapObject)
    if inner.type in _MAPS_OF_MAPS:
        raise BpfError(EINVAL, "maps of maps do not nest")
    return inner


def _map_btf(state: State, attr: Attr) -> MapBtf | None:
    """The BTF that a map names; EACCES for the kernel's own."""
    key, value = attr["btf_key_type_id"], attr["btf_value_type_id"]
    if not (key or value):
        return None
    btf = state.object(attr["btf_fd"], BtfObject)
    if btf.kernel:
        raise BpfError(EACCES, "a map's types come from user BTF")
    return MapBtf(btf, key, value)


def _exclusive(state: State, attr: Attr) -> bytes:
    """The digest of the only program that may use the map, or nothing."""
    address, size = attr["excl_prog_hash"], attr["excl_prog_hash_size"]
    if not address and not size:
        return b""
    if not address or size != _DIGEST_SIZE:
        raise BpfError(EINVAL, "excl_prog_hash is 32 bytes")
    return state.memory.read(address, size)


def _native(state: State, attr: Attr, flags: int, inner: MapObject | None, name: str,
            spin_lock_off: int) -> Map:
    """The map itself, with the type's own checks."""
    made = MapAttr(
        map_type=attr["map_type"], key_size=attr["key_size"], value_size=attr["value_size"],
        max_entries=attr["max_entries"], map_flags=flags, name=name,
        numa_node=attr["numa_node"], map_extra=attr["map_extra"],
        inner=inner.map if inner else None, spin_lock_off=spin_lock_off)
    return create(made, state.kernel.ncpus, state.seed)


def map_create(state: State, attr: Attr) -> int:
    """BPF_MAP_CREATE: a new map's descriptor."""
    flags = attr["map_flags"] & ~uapi.BPF_F_TOKEN_FD
    if _invalid(attr, flags):
        raise BpfError(EINVAL)
    mode = file_mode(flags)
    _check_numa(attr, flags)
    if attr["map_ifindex"]:
        raise NotSupported("maps offloaded to a device")
    if attr["map_flags"] & uapi.BPF_F_TOKEN_FD:
        refuse_token(state, attr["map_token_fd"])
    return state.files.install(_create(state, attr, flags), mode)


def _create(state: State, attr: Attr, flags: int) -> MapObject:
    """The object; the kernel makes the map first and looks at name, BTF and hash afterwards."""
    inner = _inner(state, attr)
    name = attr.raw("map_name").partition(b"\0")[0].decode("latin-1")
    native = _native(state, attr, flags, inner, name, -1)
    object_name(attr.raw("map_name"))
    btf = _map_btf(state, attr)
    if btf is not None and (offset := _lock_of_checked(state, native, flags, btf)) >= 0:
        native = _native(state, attr, flags, inner, name, offset)
    like = map_facts(inner, kernel_types(state), module_types(state)) if inner else None
    map = MapObject(state, native, name, btf, _exclusive(state, attr), like)
    state.kernel.add_map(native)
    return map


def _lock_of_checked(state: State, native: Map, flags: int, btf: MapBtf) -> int:
    """Where the value has its `struct bpf_spin_lock`, in bytes; -1: it has none.

    Raises the kernel's error where types and map do not fit.
    """
    typed = TypedMap(BY_TYPE[native.type], btf.object.btf, btf.key, btf.value, native.key_size,
                     native.value_size, native.max_entries, flags, kernel_types(state),
                     module_types(state))
    check_map_btf(typed)
    return next((f.offset for f in typed.fields if f.special.name == "bpf_spin_lock"), -1)


# -- elements


def permit(state: State, fd: int, need: int) -> MapObject:
    """The map behind a descriptor that allows this; EPERM where it or the freeze does not."""
    map = state.object(fd, MapObject)
    mode = state.files[fd].mode & ~(CAN_WRITE if map.frozen else 0)
    if need & ~mode:
        raise BpfError(EPERM, "the descriptor or a freeze forbids it")
    return map


def _key(state: State, map: MapObject, address: int) -> bytes:
    """The caller's key. EINVAL for one where the map has none."""
    size = map.map.key_size
    if not size and address:
        raise BpfError(EINVAL, "this map has no keys")
    return state.memory.read(address, size)


def _check_lock(map: MapObject, flags: int) -> None:
    """BPF_F_LOCK needs a spin lock in the value."""
    if flags & uapi.BPF_F_LOCK and map.map.spin_lock_off < 0:
        raise BpfError(EINVAL, "BPF_F_LOCK without a spin lock")


def _only_lock(flags: int) -> None:
    if flags & ~uapi.BPF_F_LOCK:
        raise BpfError(EINVAL, f"unknown flags {flags:#x}")


def map_lookup_elem(state: State, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_ELEM."""
    flags = attr["flags"]
    _only_lock(flags)
    map = permit(state, attr["map_fd"], CAN_READ)
    _check_lock(map, flags)
    key = _key(state, map, attr["key"])
    native = map.map
    if map.type == uapi.BPF_MAP_TYPE_BLOOM_FILTER:
        native.lookup(key, flags, state.memory.read(attr["value"], native.user_value_size))
        return 0
    state.memory.write(attr["value"], native.lookup(key, flags))
    return 0


def _holdable(state: State, map: MapObject, fd: int) -> Held | PerfEvent:
    """What a descriptor in a map's value means."""
    if map.map.holds == "prog":
        prog = state.object(fd, ProgObject)
        return Held(prog, prog.native, state.lock)
    if map.map.holds == "map":
        inner = state.object(fd, MapObject)
        return Held(inner, inner.map, state.lock)
    if map.map.holds == "perf_event":
        return _perf_event(state, fd)
    raise NotSupported(f"descriptors of a {map.map.holds} in maps")


def _perf_event(state: State, fd: int) -> PerfEvent:
    """The perf event behind a descriptor; EBADF for all else."""
    object = state.files[fd].object
    if not isinstance(object, PerfEventObject):
        raise BpfError(EBADF, "not a perf event")
    return object.event


def update_value(state: State, map: MapObject, key: bytes, value: bytes, flags: int) -> None:
    """Set one element; in maps that hold objects the value is a descriptor."""
    if map.map.holds is None:
        map.map.update(key, value, flags)
        return
    map.map.check_update(key, flags)
    map.map.update_object(key, _holdable(state, map, int.from_bytes(value[:4], "little")), flags)


def map_update_elem(state: State, attr: Attr) -> int:
    """BPF_MAP_UPDATE_ELEM."""
    map = permit(state, attr["map_fd"], CAN_WRITE)
    _check_lock(map, attr["flags"])
    key = _key(state, map, attr["key"])
    value = state.memory.read(attr["value"], map.map.user_value_size)
    update_value(state, map, key, value, attr["flags"])
    return 0


def map_delete_elem(state: State, attr: Attr) -> int:
    """BPF_MAP_DELETE_ELEM."""
    map = permit(state, attr["map_fd"], CAN_WRITE)
    map.map.delete(_key(state, map, attr["key"]))
    return 0


def map_get_next_key(state: State, attr: Attr) -> int:
    """BPF_MAP_GET_NEXT_KEY: the first key where the caller gives none."""
    map = permit(state, attr["map_fd"], CAN_READ)
    key = _key(state, map, attr["key"]) if attr["key"] else None
    state.memory.write(attr["next_key"], map.map.next_key(key))
    return 0


def map_lookup_and_delete_elem(state: State, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM, the pop of queues and stacks."""
    flags = attr["flags"]
    _only_lock(flags)
    map = permit(state, attr["map_fd"], CAN_READ | CAN_WRITE)
    if flags and map.type in _POPPED:
        raise BpfError(EINVAL)
    _check_lock(map, flags)
    key = _key(state, map, attr["key"])
    if map.type not in _POP_TYPES:
        raise BpfError(ENOTSUPP, "this map type cannot look up and delete")
    state.memory.write(attr["value"], map.map.lookup_and_delete(key, flags))
    return 0


def map_freeze(state: State, attr: Attr) -> int:
    """BPF_MAP_FREEZE: user space may no longer write."""
    fd = attr["map_fd"]
    map = state.object(fd, MapObject)
    if map.map.spin_lock_off >= 0 or map.type == uapi.BPF_MAP_TYPE_STRUCT_OPS:
        raise BpfError(ENOTSUPP)
    permit(state, fd, CAN_WRITE)
    map.map.freeze()
    return 0


def prog_bind_map(state: State, attr: Attr) -> int:
    """BPF_PROG_BIND_MAP: a program holds one more map."""
    if attr["prog_bind_map.flags"]:
        raise BpfError(EINVAL)
    prog = state.object(attr["prog_bind_map.prog_fd"], ProgObject)
    prog.bind(state.object(attr["prog_bind_map.map_fd"], MapObject))
    return 0
