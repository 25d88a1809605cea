"""Map types: the rules of MAP_CREATE, and which helper takes which map."""

from __future__ import annotations

import errno

import pytest

from anybpf import uapi
from anybpf.errors import ENOTSUPP
from anybpf.proto import maps


@pytest.mark.parametrize(("name", "attr", "expected"), [
    ("array", (4, 8, 1), 0),
    ("array", (8, 8, 1), errno.EINVAL),
    ("array", (4, 8, 0), errno.EINVAL),
    ("array", (4, 1 << 31, 1), errno.E2BIG),
    ("hash", (0, 8, 1), errno.EINVAL),
    ("hash", (4, 4194252, 1), errno.E2BIG),
    ("hash", (4, 4194251, 1), 0),
    ("percpu_array", (4, 32769, 1), errno.E2BIG),
    ("queue", (4, 8, 1), errno.EINVAL),
    ("ringbuf", (0, 0, 4096), 0),
    ("ringbuf", (0, 0, 12288), errno.EINVAL),
    ("ringbuf", (0, 0, 100), errno.EINVAL),
    ("lpm_trie", (8, 8, 1), errno.EINVAL),
    ("lpm_trie", (8, 8, 1, uapi.BPF_F_NO_PREALLOC), 0),
    ("lru_hash", (4, 8, 1, uapi.BPF_F_NO_PREALLOC), ENOTSUPP),
    ("stack_trace", (4, 8, 1), 0),
    ("stack_trace", (4, 8, 1, uapi.BPF_F_STACK_BUILD_ID), errno.EINVAL),
    ("array", (4, 8, 1, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY), errno.EINVAL),
    ("array", (4, 8, 1, 1 << 30), errno.EINVAL),
    ("array", (4, 8, 1, 0, 1), errno.EINVAL),
    ("bloom_filter", (0, 8, 1, 0, 15), 0),
    ("bloom_filter", (0, 8, 1, 0, 16), errno.EINVAL),
])
def test_create(name: str, attr: tuple[int, ...], expected: int) -> None:
    assert maps.BY_NAME[name].check(*attr) == expected


@pytest.mark.parametrize(("map_type", "helper", "prog_type", "may"), [
    ("HASH", "map_lookup_elem", "XDP", True),
    ("HASH", "redirect_map", "XDP", False),
    ("DEVMAP", "redirect_map", "XDP", True),
    ("DEVMAP", "map_update_elem", "XDP", False),
    ("PROG_ARRAY", "map_lookup_elem", "XDP", False),
    ("QUEUE", "map_pop_elem", "XDP", True),
    ("SOCKMAP", "map_update_elem", "XDP", True),
    ("SOCKMAP", "map_update_elem", "CGROUP_SKB", False),
    ("SOCKMAP", "map_delete_elem", "CGROUP_SKB", False),
    ("SOCKMAP", "map_delete_elem", "SOCK_OPS", True),
    ("SOCKMAP", "map_update_elem", "SOCK_OPS", False),
    ("SOCKMAP", "map_lookup_elem", "CGROUP_SKB", True),
])
def test_compatible(map_type: str, helper: str, prog_type: str, may: bool) -> None:
    number = getattr(uapi, f"BPF_MAP_TYPE_{map_type}")
    caller = getattr(uapi, f"BPF_PROG_TYPE_{prog_type}")
    assert maps.compatible(number, helper, caller) == may
