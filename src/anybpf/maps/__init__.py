"""Maps in native memory (kernel/bpf/*map*.c): `create(MapAttr(...), ncpus)` makes one."""

from __future__ import annotations

from collections.abc import Callable

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.maps.alloc_check import check_common
from anybpf.maps.arraymap import ArrayMap, CgroupArray, PerfEventArray, ProgArray
from anybpf.maps.attr import Batch, MapAttr
from anybpf.maps.bloom_filter import BloomFilter
from anybpf.maps.bpf_map import Map, type_name
from anybpf.maps.hashtab import HashMap
from anybpf.maps.lpm_trie import LpmTrie
from anybpf.maps.map_in_map import ArrayOfMaps, HashOfMaps
from anybpf.maps.perf_event import PerfEvent
from anybpf.maps.queue_stack_maps import QueueStack
from anybpf.maps.ringbuf import RingBuf

__all__ = ["Batch", "Map", "MapAttr", "PerfEvent", "create", "is_supported"]

TYPES: dict[int, Callable[[MapAttr, int, int], Map]] = {
    uapi.BPF_MAP_TYPE_HASH: HashMap,
    uapi.BPF_MAP_TYPE_ARRAY: ArrayMap,
    uapi.BPF_MAP_TYPE_PROG_ARRAY: ProgArray,
    uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY: PerfEventArray,
    uapi.BPF_MAP_TYPE_PERCPU_HASH: HashMap,
    uapi.BPF_MAP_TYPE_PERCPU_ARRAY: ArrayMap,
    uapi.BPF_MAP_TYPE_CGROUP_ARRAY: CgroupArray,
    uapi.BPF_MAP_TYPE_LRU_HASH: HashMap,
    uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH: HashMap,
    uapi.BPF_MAP_TYPE_LPM_TRIE: LpmTrie,
    uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS: ArrayOfMaps,
    uapi.BPF_MAP_TYPE_HASH_OF_MAPS: HashOfMaps,
    uapi.BPF_MAP_TYPE_QUEUE: QueueStack,
    uapi.BPF_MAP_TYPE_STACK: QueueStack,
    uapi.BPF_MAP_TYPE_RINGBUF: RingBuf,
    uapi.BPF_MAP_TYPE_BLOOM_FILTER: BloomFilter,
}

#: the largest machine: CPU numbers have 16 bits in an LRU map's elements
MAX_CPUS = 1 << 16


def is_supported(map_type: int) -> bool:
    """Whether `create` can make maps of this type."""
    return map_type in TYPES


def create(attr: MapAttr, ncpus: int, seed: int = 0) -> Map:
    """A new map on a machine with `ncpus` possible CPUs; `seed` goes into the hashes.

    Raises BpfError as BPF_MAP_CREATE does, NotSupported for a type not modelled.
    """
    if not 0 < ncpus <= MAX_CPUS:
        raise ValueError(f"a machine has 1 to {MAX_CPUS} CPUs, not {ncpus}")
    check_common(attr)
    make = TYPES.get(attr.map_type)
    if make is None:
        raise NotSupported(f"map type {type_name(attr.map_type)}")
    return make(attr, ncpus, seed)
