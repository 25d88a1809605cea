"""What a map's BTF must say (map_check_btf in kernel/bpf/syscall.c and the map types)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.fields import BadFields, Finder
from anybpf.btf.parse import Btf
from anybpf.errors import ENOTSUPP, BpfError, LoadError
from anybpf.proto import maps as rows
from anybpf.syscall.objects import MapBtf

if TYPE_CHECKING:
    from anybpf.maps import Map


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


def check_map_btf(btf: MapBtf, map: Map) -> None:
    """Raise the kernel's error where types and map do not fit."""
    if not btf.value:
        return
    row = rows.BY_TYPE[map.type]
    if not btf.key and not row.keyless and row.btf != "refused":
        raise BpfError(EINVAL, "this map's BTF needs a key")
    _check_sizes(btf, map)
    if spin_lock_offset(btf) >= 0 and not row.spin_lock:
        raise BpfError(EOPNOTSUPP, "no spin locks in values of this map type")
    if row.btf == "refused":
        raise BpfError(ENOTSUPP, "this map type has no BTF")
    if check := _CHECKS.get(map.type):
        check(btf, map)


def spin_lock_offset(btf: MapBtf) -> int:
    """Where the value has its `struct bpf_spin_lock`, in bytes; -1: it has none."""
    value = _plain(btf, btf.value) if btf.value else None
    if not isinstance(value, t.Struct):
        return -1
    try:
        parsed = btf.object.btf
        found = Finder(parsed).struct(parsed.resolve(btf.value), value)
    except BadFields as error:
        raise BpfError(error.errno, "special fields of the value") from None
    return next((f.offset for f in found if f.special.name == "bpf_spin_lock"), -1)
