from __future__ import annotations

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import exercise


def key(n: int) -> bytes:
    return n.to_bytes(4, "little")


def lru(entries: int, ncpus: int, flags: int = 0) -> maps.Map:
    return maps.create(MapAttr(uapi.BPF_MAP_TYPE_LRU_HASH, 4, 4, entries, flags), ncpus)


def test_the_oldest_goes_first() -> None:
    m = lru(8, 1, uapi.BPF_F_NO_COMMON_LRU)
    for i in range(100):
        m.update(key(i), bytes(4))
        assert key(i) in set(m.keys())
    assert min(int.from_bytes(k, "little") for k in m.keys()) > 80   # noqa: SIM118


def test_a_working_set_in_use_survives_a_scan() -> None:
    """The point of the active list: keys looked up between insertions stay."""
    m = lru(64, 1, uapi.BPF_F_NO_COMMON_LRU)
    working = [key(i) for i in range(16)]
    for k in working:
        m.update(k, bytes(4))
    for i in range(1000, 2000):
        exercise(m, "lookup", b"".join(working), 1)
        m.update(key(i), bytes(4))
    assert set(working) <= set(m.keys())


@pytest.mark.parametrize("flags", [0, uapi.BPF_F_NO_COMMON_LRU])
def test_when_all_are_in_use_one_still_goes(flags: int) -> None:
    m = lru(4, 1, flags)
    for i in range(4):
        m.update(key(i), bytes(4))
    exercise(m, "lookup", b"".join(key(i) for i in range(4)), 1)
    m.update(key(9), bytes(4))
    assert key(9) in set(m.keys())


def test_another_cpus_elements_are_stolen() -> None:
    """Common LRU: one CPU filled the map, another can still insert."""
    m = lru(8, 4)
    for i in range(8):
        exercise(m, "update", key(i), 1, cpu=0)
    for i in range(100, 140):
        _, failed = exercise(m, "update", key(i), 1, cpu=3)
        assert failed == 0
        assert key(i) in set(m.keys())


def test_percpu_lists_do_not_steal() -> None:
    """Per-CPU LRU: every CPU has its share and evicts from it alone."""
    m = lru(8, 4, uapi.BPF_F_NO_COMMON_LRU)
    exercise(m, "update", key(0), 1, cpu=0)
    for i in range(100, 200):
        exercise(m, "update", key(i), 1, cpu=3)
    assert key(0) in set(m.keys())
    assert len(list(m.keys())) <= 3


def test_deleted_elements_are_used_again() -> None:
    m = lru(4, 2)
    for i in range(50):
        m.update(key(i), bytes(4))
        m.delete(key(i))
    assert list(m.keys()) == []
    for i in range(2):
        m.update(key(i), bytes(4))
    assert set(m.keys()) == {key(0), key(1)}
