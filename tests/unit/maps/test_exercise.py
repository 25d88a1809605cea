from __future__ import annotations

import errno
from collections.abc import Callable

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import elements, exercise

ErrnoOf = Callable[[Callable[[], object]], int]


def test_counts_failures() -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_HASH, 4, 4, 2), 2)
    keys = b"aaaabbbbcccc"
    seconds, failed = exercise(m, "update", keys, 2, value=b"abcd")
    assert (seconds > 0, failed) == (True, 2)
    assert exercise(m, "lookup", keys, 1)[1] == 1
    assert exercise(m, "delete", keys, 1)[1] == 1
    assert list(m.keys()) == []


def test_cpu_and_value_are_checked(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 400, 2), 2)
    assert errno_of(lambda: exercise(m, "lookup", bytes(4), 1, cpu=2)) == errno.EINVAL
    assert errno_of(lambda: exercise(m, "update", bytes(4), 1, value=b"short")) == errno.EINVAL
    assert errno_of(lambda: elements(m, cpu=2)) == errno.EINVAL


def test_maps_without_elements(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096), 2)
    assert errno_of(lambda: elements(m)) == errno.EINVAL
