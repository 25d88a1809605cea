"""Maps in native memory (kernel/bpf/*map*.c): `create(MapAttr(...), ncpus)` makes one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported
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

#: types whose `map_extra` means something
EXTRA_TYPES = (uapi.BPF_MAP_TYPE_BLOOM_FILTER, uapi.BPF_MAP_TYPE_ARENA)

#: the one node modelled, and NUMA_NO_NODE
NUMA_NODES = (0, uapi.U32)
#: the largest machine: CPU numbers have 16 bits in an LRU map's elements
MAX_CPUS = 1 << 16
#: modelled types whose values may have a struct bpf_spin_lock
LOCK_TYPES = (uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_ARRAY)
LOCK_SIZE = 4


def is_supported(map_type: int) -> bool:
    """Whether `create` can make maps of this type."""
    return map_type in TYPES


def create(attr: MapAttr, ncpus: int, seed: int = 0) -> Map:
    """A new map on a machine with `ncpus` possible CPUs; `seed` goes into the hashes.

    Raises BpfError as BPF_MAP_CREATE does, NotSupported for a type not modelled.
    """
    if not 0 < ncpus <= MAX_CPUS:
        raise ValueError(f"a machine has 1 to {MAX_CPUS} CPUs, not {ncpus}")
    _check(attr)
    make = TYPES.get(attr.map_type)
    if make is None:
        raise NotSupported(f"map type {type_name(attr.map_type)}")
    return make(attr, ncpus, seed)


def _check(attr: MapAttr) -> None:
    """What BPF_MAP_CREATE asks of every type, in its order."""
    both = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
    _require(attr.map_extra == 0 or attr.map_type in EXTRA_TYPES, "map_extra")
    _require(attr.map_flags & both != both, "both BPF_F_RDONLY and BPF_F_WRONLY")
    _require(not attr.map_flags & uapi.BPF_F_NUMA_NODE or attr.numa_node in NUMA_NODES, "NUMA node")
    _require(all(0 <= n <= uapi.U32 for n in attr[:5]), "sizes and flags have 32 bits")
    _require(-1 <= attr.spin_lock_off <= attr.value_size - LOCK_SIZE or attr.spin_lock_off == -1,
             "spin lock outside the value")
    _require(attr.spin_lock_off < 0 or attr.map_type in LOCK_TYPES, "spin lock", errno.EOPNOTSUPP)
    _require(uapi.BPF_MAP_TYPE_UNSPEC < attr.map_type < uapi.__MAX_BPF_MAP_TYPE, "map type")


def _require(ok: bool, what: str, number: int = errno.EINVAL) -> None:
    if not ok:
        raise BpfError(number, f"{os.strerror(number)}: {what}")
