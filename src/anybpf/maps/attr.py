"""What a map is made from, and what its batch operations answer (include/uapi/linux/bpf.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from anybpf.maps.bpf_map import Map


class MapAttr(NamedTuple):
    """The part of BPF_MAP_CREATE's attributes that decides what a map is. Sizes are in bytes."""

    map_type: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int = 0
    name: str = ""
    #: only looked at with BPF_F_NUMA_NODE; one node is modelled
    numa_node: int = 0
    map_extra: int = 0
    #: maps of maps: the map that all inner maps must be like
    inner: Map | None = None
    #: offset of the value's `struct bpf_spin_lock`, from its BTF; -1: it has none
    spin_lock_off: int = -1


class Batch(NamedTuple):
    """How far a batch operation came: `count` elements are done even where `errno` is not 0."""

    errno: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    keys: bytes = b""
    values: bytes = b""
    #: where to go on (opaque, `Map.batch_size` bytes), or b"" where nothing was looked up
    next: bytes = b""
