from __future__ import annotations

import errno
from collections.abc import Callable

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import exercise

ErrnoOf = Callable[[Callable[[], object]], int]


def bloom(entries: int, extra: int = 0, seed: int = 1) -> maps.Map:
    return maps.create(MapAttr(uapi.BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, entries, map_extra=extra), 2,
                       seed)


def contains(m: maps.Map, n: int) -> bool:
    return exercise(m, "peek", b"", 1, value=n.to_bytes(8, "little"))[1] == 0


def test_few_false_positives() -> None:
    m = bloom(1000)
    for n in range(1000):
        m.update(b"", n.to_bytes(8, "little"))
    assert all(contains(m, n) for n in range(1000))
    assert sum(contains(m, n) for n in range(10_000, 20_000)) < 1000


def test_seed_decides_the_bits() -> None:
    def false_positives(seed: int) -> list[int]:
        m = bloom(20, 1, seed)
        for n in range(20):
            m.update(b"", n.to_bytes(8, "little"))
        return [n for n in range(100, 400) if contains(m, n)]

    assert false_positives(1) == false_positives(1)
    assert false_positives(1) != false_positives(2)


def test_lookup_asks_for_a_value(errno_of: ErrnoOf) -> None:
    m = bloom(10)
    value = b"a value!"
    assert errno_of(lambda: m.lookup(value=value)) == errno.ENOENT
    m.update(b"", value)
    assert m.lookup(value=value) == value
    assert errno_of(m.lookup) == errno.EINVAL
    assert errno_of(lambda: m.update(b"", value, uapi.BPF_NOEXIST)) == errno.EINVAL


def test_a_filter_of_half_a_gigabyte_is_only_reserved() -> None:
    m = bloom(uapi.U32, 15)
    m.update(b"", bytes(8))
    assert contains(m, 0)
