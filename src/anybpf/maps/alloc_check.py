"""Which maps can be made: sizes and flags by type (map_alloc_check of kernel/bpf/*map*.c).

Every function takes a MapAttr and raises the BpfError that BPF_MAP_CREATE gives; the order of the
checks is the kernel's, because it decides between EINVAL and E2BIG.
"""

from __future__ import annotations

from errno import E2BIG, EINVAL, EOPNOTSUPP
from mmap import PAGESIZE

from anybpf import uapi
from anybpf.maps.attr import MapAttr
from anybpf.maps.bpf_map import ACCESS_MASK, access_flags_ok, require

ENOTSUPP = 524
INT_MAX = 0x7FFF_FFFF
#: the most that the kernel allocates in one piece, in bytes
KMALLOC_MAX_SIZE = 4 << 20
#: the largest per-CPU value, in bytes
PCPU_MIN_UNIT_SIZE = 32 << 10
PERCPU_HASHES = (uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH)
LRU_HASHES = (uapi.BPF_MAP_TYPE_LRU_HASH, uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH)
#: key and value of a hash table together must be smaller: 48 bytes are the kernel's element header
HASH_ELEM_SIZE = KMALLOC_MAX_SIZE - 48
#: more buckets than this overflow the size of the kernel's bucket array
HASH_MAX_BUCKETS = 1 << 27
TRIE_KEY_SIZES = range(4 + 1, 4 + 256 + 1)
#: 20 bytes are the fields of the kernel's node
TRIE_VALUE_SIZES = range(1, KMALLOC_MAX_SIZE - TRIE_KEY_SIZES[-1] - 20 + 1)
BLOOM_MAX_FUNCTIONS = 15
#: types whose `map_extra` means something
EXTRA_TYPES = (uapi.BPF_MAP_TYPE_BLOOM_FILTER, uapi.BPF_MAP_TYPE_ARENA)
#: the one node modelled, and NUMA_NO_NODE
NUMA_NODES = (0, uapi.U32)
#: modelled types whose values may have a struct bpf_spin_lock
SPIN_LOCK_TYPES = (uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_ARRAY)
SPIN_LOCK_SIZE = 4

ARRAY_FLAGS = (uapi.BPF_F_NUMA_NODE | uapi.BPF_F_MMAPABLE | ACCESS_MASK
               | uapi.BPF_F_PRESERVE_ELEMS | uapi.BPF_F_INNER_MAP)
HASH_FLAGS = (uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_NO_COMMON_LRU | uapi.BPF_F_NUMA_NODE
              | ACCESS_MASK | uapi.BPF_F_ZERO_SEED)
TRIE_FLAGS = uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_NUMA_NODE | ACCESS_MASK
QUEUE_FLAGS = uapi.BPF_F_NUMA_NODE | ACCESS_MASK
BLOOM_FLAGS = uapi.BPF_F_NUMA_NODE | uapi.BPF_F_ZERO_SEED | ACCESS_MASK
RINGBUF_FLAGS = uapi.BPF_F_NUMA_NODE


def check_flags(attr: MapAttr, allowed: int) -> None:
    """EINVAL for flags that the type lacks, or that close the map to programs altogether."""
    flags = attr.map_flags
    require(not flags & ~allowed and access_flags_ok(flags), EINVAL, f"map flags {flags:#x}")


def check_percpu_size(attr: MapAttr) -> None:
    """E2BIG for a per-CPU value that is too large."""
    require((attr.value_size + 7) & ~7 <= PCPU_MIN_UNIT_SIZE, E2BIG, "per-CPU value size")


def check_array(attr: MapAttr) -> None:
    """Arrays of values and, as far as they are the same, of objects."""
    flags, map_type = attr.map_flags, attr.map_type
    percpu = map_type == uapi.BPF_MAP_TYPE_PERCPU_ARRAY
    require(attr.max_entries > 0 and attr.key_size == 4 and attr.value_size > 0, EINVAL,
            "array sizes: keys are 4 bytes, values and entries more than none")
    check_flags(attr, ARRAY_FLAGS)
    require(not (percpu and flags & uapi.BPF_F_NUMA_NODE), EINVAL, "per-CPU array on a NUMA node")
    require(map_type == uapi.BPF_MAP_TYPE_ARRAY
            or not flags & (uapi.BPF_F_MMAPABLE | uapi.BPF_F_INNER_MAP), EINVAL, "array flags")
    require(map_type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY
            or not flags & uapi.BPF_F_PRESERVE_ELEMS, EINVAL, "BPF_F_PRESERVE_ELEMS")
    require(attr.value_size <= INT_MAX, E2BIG, "array value size")
    if percpu:
        check_percpu_size(attr)


def check_fd_array(attr: MapAttr) -> None:
    """Arrays of objects: slots of 4 bytes, no access flags for programs."""
    require(attr.value_size == 4, EINVAL, "slots are 4 bytes")
    require(not attr.map_flags & (uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG), EINVAL,
            "program access flags")
    check_array(attr)


def check_hash(attr: MapAttr) -> None:
    """Hash tables of all kinds."""
    flags = attr.map_flags
    percpu, lru = attr.map_type in PERCPU_HASHES, attr.map_type in LRU_HASHES
    percpu_lru = bool(flags & uapi.BPF_F_NO_COMMON_LRU)
    check_flags(attr, HASH_FLAGS)
    require(lru or not percpu_lru, EINVAL, "BPF_F_NO_COMMON_LRU without LRU")
    require(not lru or not flags & uapi.BPF_F_NO_PREALLOC, ENOTSUPP, "LRU without preallocation")
    require(not flags & uapi.BPF_F_NUMA_NODE or not (percpu or percpu_lru), EINVAL,
            "per-CPU on a NUMA node")
    require(attr.max_entries and attr.key_size and attr.value_size, EINVAL, "a size of 0")
    require(attr.key_size + attr.value_size < HASH_ELEM_SIZE, E2BIG, "key and value size")
    if percpu:
        check_percpu_size(attr)


def check_hash_of_maps(attr: MapAttr) -> None:
    """Values are 4 bytes: an fd to write, an id to read."""
    require(attr.value_size == 4, EINVAL, "values are 4 bytes")
    check_hash(attr)


def check_trie(attr: MapAttr) -> None:
    """Longest prefix match; BPF_F_NO_PREALLOC must be given."""
    require(attr.max_entries and attr.map_flags & uapi.BPF_F_NO_PREALLOC, EINVAL, "trie flags")
    check_flags(attr, TRIE_FLAGS)
    require(attr.key_size in TRIE_KEY_SIZES, EINVAL, "trie key size")
    require(attr.value_size in TRIE_VALUE_SIZES, EINVAL, "trie value size")


def check_queue(attr: MapAttr) -> None:
    """Queues and stacks: values and no keys."""
    require(attr.max_entries and attr.value_size and attr.key_size == 0, EINVAL,
            "queues have values and no keys")
    check_flags(attr, QUEUE_FLAGS)
    require(attr.value_size <= KMALLOC_MAX_SIZE, E2BIG, "value size")


def check_bloom(attr: MapAttr) -> None:
    """Bloom filters: no keys; `map_extra` counts the hash functions (0: 5)."""
    require(attr.value_size <= KMALLOC_MAX_SIZE, E2BIG, "value size")
    require(attr.max_entries and attr.value_size and attr.key_size == 0, EINVAL,
            "bloom filters have values and no keys")
    check_flags(attr, BLOOM_FLAGS)
    require(attr.map_extra <= BLOOM_MAX_FUNCTIONS, EINVAL, "map_extra: hash functions")


def check_ringbuf(attr: MapAttr) -> None:
    """Ring buffers: no keys, no values; the size a power of two of whole pages."""
    size = attr.max_entries
    check_flags(attr, RINGBUF_FLAGS)
    require(attr.key_size == 0 and attr.value_size == 0, EINVAL, "ring buffers have no elements")
    require(size and size & (size - 1) == 0 and size % PAGESIZE == 0, EINVAL,
            "the size must be a power of two and whole pages")


def check_common(attr: MapAttr) -> None:
    """What BPF_MAP_CREATE asks of every type before it asks the type."""
    flags, both = attr.map_flags, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
    require(all(0 <= n <= uapi.U32 for n in attr[:5]), EINVAL, "sizes and flags have 32 bits")
    require(attr.map_extra == 0 or attr.map_type in EXTRA_TYPES, EINVAL, "map_extra")
    require(flags & both != both, EINVAL, "both BPF_F_RDONLY and BPF_F_WRONLY")
    require(not flags & uapi.BPF_F_NUMA_NODE or attr.numa_node in NUMA_NODES, EINVAL, "NUMA node")
    require(uapi.BPF_MAP_TYPE_UNSPEC < attr.map_type < uapi.__MAX_BPF_MAP_TYPE, EINVAL, "map type")
    check_spin_lock(attr)


def check_spin_lock(attr: MapAttr) -> None:
    """A bpf_spin_lock lies in the value, and only in values of some types."""
    offset = attr.spin_lock_off
    require(offset == -1 or 0 <= offset <= attr.value_size - SPIN_LOCK_SIZE, EINVAL,
            "spin lock outside the value")
    require(offset == -1 or attr.map_type in SPIN_LOCK_TYPES, EOPNOTSUPP, "spin lock in the value")
