"""What a map's BTF must say (map_check_btf in kernel/bpf/syscall.c and the map types)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EEXIST, EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError
from anybpf.syscall.errnos import ENOTSUPP
from anybpf.syscall.objects import MapBtf

if TYPE_CHECKING:
    from anybpf.maps import Map

#: maps that have no use for BTF and say so
_WITHOUT = frozenset((
    uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY, uapi.BPF_MAP_TYPE_CGROUP_ARRAY,
    uapi.BPF_MAP_TYPE_STACK_TRACE,
    uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS, uapi.BPF_MAP_TYPE_DEVMAP,
    uapi.BPF_MAP_TYPE_DEVMAP_HASH, uapi.BPF_MAP_TYPE_CPUMAP, uapi.BPF_MAP_TYPE_XSKMAP,
))
_WITH_SPIN_LOCK = frozenset((
    uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_CGROUP_STORAGE,
    uapi.BPF_MAP_TYPE_SK_STORAGE, uapi.BPF_MAP_TYPE_INODE_STORAGE, uapi.BPF_MAP_TYPE_TASK_STORAGE,
    uapi.BPF_MAP_TYPE_CGRP_STORAGE,
))


def _size(btf: Btf, type_id: int) -> int:
    """The size of a type that has one; EINVAL for others."""
    try:
        return btf.size_of(type_id)
    except (LoadError, LookupError, ValueError):
        raise BpfError(EINVAL, f"BTF type {type_id} has no size") from None


def _check_sizes(btf: MapBtf, map: Map) -> None:
    parsed = btf.object.btf
    if btf.key and _size(parsed, btf.key) != map.key_size:
        raise BpfError(EINVAL, "the BTF key is not of key_size")
    if _size(parsed, btf.value) != map.value_size:
        raise BpfError(EINVAL, "the BTF value is not of value_size")


def _plain(btf: MapBtf, type_id: int) -> t.Type:
    """The type behind modifiers and typedefs."""
    parsed = btf.object.btf
    return parsed.type(parsed.resolve(type_id))


def _check_array(btf: MapBtf, map: Map) -> None:
    """Keys are 32-bit ints; a one-element array may be a data section without key."""
    if not btf.key:
        whole = map.type == uapi.BPF_MAP_TYPE_ARRAY and map.max_entries == 1
        if not whole or not isinstance(_plain(btf, btf.value), t.Datasec):
            raise BpfError(EINVAL, "only a data section has no key")
    elif not isinstance(key := _plain(btf, btf.key), t.Int) or key.size != 4:
        raise BpfError(EINVAL, "an array's key is a 32-bit int")


def _check_trie(btf: MapBtf, map: Map) -> None:
    """Keys are structs that begin with the prefix length."""
    if not isinstance(_plain(btf, btf.key), t.Struct):
        raise BpfError(EINVAL, "the key of an LPM trie is a struct")


_CHECKS: dict[int, Callable[[MapBtf, Map], None]] = {
    uapi.BPF_MAP_TYPE_ARRAY: _check_array,
    uapi.BPF_MAP_TYPE_PERCPU_ARRAY: _check_array,
    uapi.BPF_MAP_TYPE_LPM_TRIE: _check_trie,
}
#: maps whose BTF may leave the key out
_KEYLESS = (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY, uapi.BPF_MAP_TYPE_BLOOM_FILTER,
            uapi.BPF_MAP_TYPE_ARENA, uapi.BPF_MAP_TYPE_LPM_TRIE)


def check_map_btf(btf: MapBtf, map: Map) -> None:
    """Raise the kernel's error where types and map do not fit."""
    if not btf.value:
        return
    if not btf.key and map.type not in _KEYLESS and map.type not in _WITHOUT:
        raise BpfError(EINVAL, "this map's BTF needs a key")
    _check_sizes(btf, map)
    if spin_lock_offset(btf) >= 0 and map.type not in _WITH_SPIN_LOCK:
        raise BpfError(EOPNOTSUPP, "no spin locks in values of this map type")
    if map.type in _WITHOUT:
        raise BpfError(ENOTSUPP, "this map type has no BTF")
    if check := _CHECKS.get(map.type):
        check(btf, map)


def spin_lock_offset(btf: MapBtf) -> int:
    """Where the value has its `struct bpf_spin_lock`, in bytes; -1: it has none."""
    value = _plain(btf, btf.value) if btf.value else None
    if not isinstance(value, t.Struct):
        return -1
    found = [m.offset for m in value.members if _is_spin_lock(btf, m.type)]
    if len(found) > 1:
        raise BpfError(EEXIST, "a value has one spin lock")
    return found[0] if found else -1


def _is_spin_lock(btf: MapBtf, type_id: int) -> bool:
    member = _plain(btf, type_id)
    return isinstance(member, t.Struct) and member.name == "bpf_spin_lock"
