"""Numbers that tests/kernel saw the kernel give, for machines where it cannot be asked."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from anybpf import maps, uapi
from anybpf.errors import ENOTSUPP
from anybpf.maps import MapAttr

ErrnoOf = Callable[[Callable[[], object]], int]
ARRAY, HASH, LRU = uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_LRU_HASH
PERCPU_ARRAY, PERCPU_HASH = uapi.BPF_MAP_TYPE_PERCPU_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_HASH
PROGS, EVENTS = uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY
TRIE, QUEUE = uapi.BPF_MAP_TYPE_LPM_TRIE, uapi.BPF_MAP_TYPE_QUEUE
RING, BLOOM = uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_BLOOM_FILTER
EINVAL, E2BIG = errno.EINVAL, errno.E2BIG

CASES = [
    (MapAttr(ARRAY, 4, 1, 1), 0),
    (MapAttr(ARRAY, 8, 1, 1), EINVAL),
    (MapAttr(ARRAY, 4, 0, 1), EINVAL),
    (MapAttr(ARRAY, 4, 1, 0), EINVAL),
    (MapAttr(ARRAY, 4, 1 << 31, 1), E2BIG),
    (MapAttr(ARRAY, 4, 4, 1, uapi.BPF_F_NO_PREALLOC), EINVAL),
    (MapAttr(ARRAY, 4, 4, 1, uapi.BPF_F_MMAPABLE), 0),
    (MapAttr(ARRAY, 4, 4, 1, uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG), EINVAL),
    (MapAttr(ARRAY, 4, 4, 1, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY), EINVAL),
    (MapAttr(ARRAY, 4, 4, 1, uapi.BPF_F_NUMA_NODE, numa_node=0), 0),
    (MapAttr(ARRAY, 4, 4, 1, uapi.BPF_F_NUMA_NODE, numa_node=5), EINVAL),
    (MapAttr(ARRAY, 4, 4, 1, map_extra=1), EINVAL),
    (MapAttr(PERCPU_ARRAY, 4, 32768, 1), 0),
    (MapAttr(PERCPU_ARRAY, 4, 32769, 1), E2BIG),
    (MapAttr(PERCPU_ARRAY, 4, 4, 1, uapi.BPF_F_MMAPABLE), EINVAL),
    (MapAttr(PERCPU_ARRAY, 4, 4, 1, uapi.BPF_F_NUMA_NODE), EINVAL),
    (MapAttr(PROGS, 4, 8, 1), EINVAL),
    (MapAttr(PROGS, 4, 4, 1, uapi.BPF_F_RDONLY_PROG), EINVAL),
    (MapAttr(EVENTS, 4, 4, 1, uapi.BPF_F_PRESERVE_ELEMS), 0),
    (MapAttr(PROGS, 4, 4, 1, uapi.BPF_F_PRESERVE_ELEMS), EINVAL),
    (MapAttr(HASH, 0, 4, 1), EINVAL),
    (MapAttr(HASH, 4, (4 << 20) - 53, 1), 0),
    (MapAttr(HASH, 4, (4 << 20) - 52, 1), E2BIG),
    (MapAttr(HASH, 4, 4, 1, uapi.BPF_F_NO_COMMON_LRU), EINVAL),
    (MapAttr(HASH, 4, 4, (1 << 27) + 1), E2BIG),
    (MapAttr(LRU, 4, 4, 1, uapi.BPF_F_NO_PREALLOC), ENOTSUPP),
    (MapAttr(LRU, 4, 4, 1, uapi.BPF_F_NO_COMMON_LRU | uapi.BPF_F_NUMA_NODE), EINVAL),
    (MapAttr(PERCPU_HASH, 4, 32769, 1), E2BIG),
    (MapAttr(TRIE, 8, 4, 1), EINVAL),
    (MapAttr(TRIE, 8, 4, 1, uapi.BPF_F_NO_PREALLOC), 0),
    (MapAttr(TRIE, 4, 4, 1, uapi.BPF_F_NO_PREALLOC), EINVAL),
    (MapAttr(TRIE, 261, 4, 1, uapi.BPF_F_NO_PREALLOC), EINVAL),
    (MapAttr(TRIE, 8, 4194025, 1, uapi.BPF_F_NO_PREALLOC), EINVAL),
    (MapAttr(QUEUE, 4, 4, 1), EINVAL),
    (MapAttr(QUEUE, 0, (4 << 20) + 1, 1), E2BIG),
    (MapAttr(RING, 0, 0, 4096), 0),
    (MapAttr(RING, 0, 0, 12288), EINVAL),
    (MapAttr(RING, 0, 0, 2048), EINVAL),
    (MapAttr(RING, 0, 4, 4096), EINVAL),
    (MapAttr(BLOOM, 0, 4, 1, map_extra=15), 0),
    (MapAttr(BLOOM, 0, 4, 1, map_extra=16), EINVAL),
    (MapAttr(BLOOM, 4, 4, 1), EINVAL),
    (MapAttr(BLOOM, 0, (4 << 20) + 1, 0), E2BIG),
]


@pytest.mark.parametrize(("attr", "number"), CASES,
                         ids=lambda x: "-".join(map(str, x[:5])) if isinstance(x, tuple) else None)
def test_errors(attr: MapAttr, number: int, errno_of: ErrnoOf) -> None:
    assert errno_of(lambda: maps.create(attr, 2)) == number
