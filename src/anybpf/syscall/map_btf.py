"""What a map's BTF must say (map_check_btf in kernel/bpf/syscall.c and the map types)."""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG, EACCES, EFAULT, EINVAL, EOPNOTSUPP
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.fields import LOADED, Field, Finder, parse_fields, value_fields
from anybpf.btf.parse import Btf
from anybpf.errors import ENOTSUPP, BpfError, LoadError
from anybpf.proto import maps as rows

#: what a `uptr` points to lies in one page
PAGE_SIZE = 4096
#: members of struct bpf_cgroup_storage_key: bits before each, and its bytes
_CGROUP_KEY = ((0, 8), (64, 4))
_ACCESS = uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG


class TypedMap(NamedTuple):
    """What a map is made with, as far as its types matter."""

    row: rows.Map
    btf: Btf
    #: ids of the types of key and value; 0: not said
    key: int
    value: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    #: the kernel's own types
    kernel: Btf | None = None
    #: those of its modules
    modules: tuple[Btf, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        """Locks, timers and the like in the value."""
        return value_fields(self.btf, self.value, self.kernel, self.modules)


def _size(btf: Btf, type_id: int) -> int:
    """The size of a type that has one; EINVAL for others."""
    try:
        return btf.size_of(type_id)
    except (LoadError, LookupError, ValueError):
        raise BpfError(EINVAL, f"BTF type {type_id} has no size") from None


def _check_sizes(map: TypedMap) -> None:
    if map.key and _size(map.btf, map.key) != map.key_size:
        raise BpfError(EINVAL, "the BTF key is not of key_size")
    if _size(map.btf, map.value) != map.value_size:
        raise BpfError(EINVAL, "the BTF value is not of value_size")


def _plain(btf: Btf, type_id: int) -> t.Type:
    """The type behind modifiers and typedefs."""
    return btf.type(btf.resolve(type_id))


# -- special members of the value


def _check_special(map: TypedMap) -> None:
    """The map type, and how programs may use the map, go with the special members of the value."""
    fields = map.fields
    if not fields:
        return
    if (map.flags | map.row.adds) & _ACCESS:
        raise BpfError(EACCES, "programs write to values with special members")
    names = {one.special.name for one in fields}
    if strange := sorted(names - map.row.specials):
        raise BpfError(EOPNOTSUPP, f"no {strange[0]} in values of this map type")
    for one in fields:
        if one.special.name == "uptr":
            _check_uptr(map, one)
        elif one.special.node and not _has_record(map, one.value_type):
            raise BpfError(EFAULT, "what the root holds has no node")


def _check_uptr(map: TypedMap, field: Field) -> None:
    """A user pointer's target is the program's own, and lies in one page."""
    size = _size(map.btf, field.value_type)
    if field.kernel_type or not size:
        raise BpfError(EINVAL, "a uptr points to a struct of the program's own")
    if size > PAGE_SIZE:
        raise BpfError(E2BIG, "a uptr's target lies in one page")


def _has_record(map: TypedMap, type_id: int) -> bool:
    """Whether BPF_BTF_LOAD found special members in the struct."""
    return bool(parse_fields(map.btf, type_id, Finder(map.btf, LOADED, map.kernel, map.modules)))


# -- map types


def _is_int(made: t.Type, size: int) -> bool:
    """A whole integer of so many bytes."""
    return isinstance(made, t.Int) and (made.size, made.bits, made.offset) == (size, 8 * size, 0)


def _check_array(map: TypedMap) -> None:
    """Keys are 32-bit ints; a one-element array may be a data section without key."""
    if not map.key:
        whole = map.row.name == "array" and map.max_entries == 1
        if not whole or not isinstance(_plain(map.btf, map.value), t.Datasec):
            raise BpfError(EINVAL, "only a data section has no key")
    else:
        _check_int_key(map)


def _check_int_key(map: TypedMap) -> None:
    if not _is_int(_plain(map.btf, map.key), 4):
        raise BpfError(EINVAL, "the key is a 32-bit int")


def _check_trie(map: TypedMap) -> None:
    """Keys are structs that begin with the prefix length."""
    if not isinstance(_plain(map.btf, map.key), t.Struct):
        raise BpfError(EINVAL, "the key of an LPM trie is a struct")


def _check_bloom(map: TypedMap) -> None:
    if map.key:
        raise BpfError(EINVAL, "a bloom filter has no key")


def _check_cgroup_storage(map: TypedMap) -> None:
    """Keys are a cgroup's 64-bit number, or a struct of it and an attach type."""
    key = _plain(map.btf, map.key)
    if map.key_size == 8:
        good = _is_int(key, 8)
    else:
        good = (isinstance(key, t.Struct) and len(key.members) == len(_CGROUP_KEY)
                and all(_is_member(map.btf, member, *place)
                        for member, place in zip(key.members, _CGROUP_KEY, strict=True)))
    if not good:
        raise BpfError(EINVAL, "the key is no struct bpf_cgroup_storage_key")


def _is_member(btf: Btf, member: t.Member, at: int, size: int) -> bool:
    """An int of that size at that place, and no bitfield."""
    return member.bit_offset == at and not member.bitfield_size and _is_int(
        _plain(btf, member.type), size)


_CHECKS: dict[str, Callable[[TypedMap], None]] = {
    "array": _check_array, "percpu_array": _check_array, "lpm_trie": _check_trie,
    "bloom_filter": _check_bloom, "cgroup_storage": _check_cgroup_storage,
    "percpu_cgroup_storage": _check_cgroup_storage, "sk_storage": _check_int_key,
    "inode_storage": _check_int_key, "task_storage": _check_int_key,
    "cgrp_storage": _check_int_key,
}


def check_map_btf(map: TypedMap) -> None:
    """Raise the kernel's error where types and map do not fit."""
    if not map.value:
        return
    if not map.key and not map.row.keyless and map.row.btf != "refused":
        raise BpfError(EINVAL, "this map's BTF needs a key")
    _check_sizes(map)
    _check_special(map)
    if map.row.btf == "refused":
        raise BpfError(ENOTSUPP, "this map type has no BTF")
    if check := _CHECKS.get(map.row.name):
        check(map)
