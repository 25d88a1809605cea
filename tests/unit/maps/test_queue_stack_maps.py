from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import exercise

ErrnoOf = Callable[[Callable[[], object]], int]


def make(map_type: int, entries: int = 3) -> maps.Map:
    return maps.create(MapAttr(map_type, 0, 1, entries), 2)


@pytest.mark.parametrize(("map_type", "order"), [(uapi.BPF_MAP_TYPE_QUEUE, b"abc"),
                                                 (uapi.BPF_MAP_TYPE_STACK, b"cba")])
def test_order(map_type: int, order: bytes, errno_of: ErrnoOf) -> None:
    m = make(map_type)
    for value in (b"a", b"b", b"c"):
        m.update(b"", value)
    assert errno_of(lambda: m.update(b"", b"d")) == errno.E2BIG
    assert m.lookup() == order[:1]
    assert b"".join(m.lookup_and_delete() for _ in range(3)) == order
    assert errno_of(m.lookup_and_delete) == errno.ENOENT


def test_exist_drops_the_oldest() -> None:
    for map_type, order in ((uapi.BPF_MAP_TYPE_QUEUE, b"bcd"), (uapi.BPF_MAP_TYPE_STACK, b"dcb")):
        m = make(map_type)
        for value in (b"a", b"b", b"c", b"d"):
            m.update(b"", value, uapi.BPF_EXIST)
        assert b"".join(m.lookup_and_delete() for _ in range(3)) == order


def test_programs_push_and_pop() -> None:
    m = make(uapi.BPF_MAP_TYPE_QUEUE)
    assert exercise(m, "push", b"", 5, value=b"x")[1] == 2
    assert exercise(m, "peek", b"", 1)[1] == 0
    assert exercise(m, "pop", b"", 4)[1] == 1
