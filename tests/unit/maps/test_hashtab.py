from __future__ import annotations

import ctypes
import errno
import threading
from collections.abc import Callable

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.exercise import elements, exercise

ErrnoOf = Callable[[Callable[[], object]], int]
HASH = uapi.BPF_MAP_TYPE_HASH
PERCPU = uapi.BPF_MAP_TYPE_PERCPU_HASH
LRU = uapi.BPF_MAP_TYPE_LRU_HASH
LRU_PERCPU = uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH
ALL = (HASH, PERCPU, LRU, LRU_PERCPU)


def key(n: int, size: int = 4) -> bytes:
    return n.to_bytes(size, "little")


def fill(m: maps.Map, n: int) -> None:
    for i in range(n):
        m.update(key(i), bytes([i % 256]) * m.user_value_size)


def test_full(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 3), 2)
    fill(m, 3)
    assert errno_of(lambda: m.update(key(3), bytes(4))) == errno.E2BIG
    m.update(key(2), b"full")
    m.delete(key(0))
    m.update(key(3), bytes(4))
    assert sorted(m.keys()) == [key(1), key(2), key(3)]


@pytest.mark.parametrize("map_type", ALL)
def test_replacing_for_ever_needs_no_room(map_type: int) -> None:
    m = maps.create(MapAttr(map_type, 4, 8, 1), 2)
    for i in range(500):
        m.update(key(7), bytes([i % 256]) * m.user_value_size)
    assert m.lookup(key(7)) == bytes([499 % 256]) * m.user_value_size


def test_same_seed_same_order() -> None:
    def order(seed: int, flags: int = 0) -> list[bytes]:
        m = maps.create(MapAttr(HASH, 4, 4, 64, flags), 2, seed)
        fill(m, 64)
        return list(m.keys())

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1, uapi.BPF_F_ZERO_SEED) == order(2, uapi.BPF_F_ZERO_SEED)


def test_unknown_key_starts_again() -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 8), 2)
    fill(m, 4)
    assert m.next_key(key(99)) == m.next_key(None)


def test_old_value_stays_readable_after_an_update() -> None:
    """A program that looked up before an update keeps the old value, as in the kernel."""
    m = maps.create(MapAttr(HASH, 4, 4, 8), 2)
    m.update(key(1), b"old!")
    base, _, _, value_off, size = m.area
    assert ctypes.string_at(base + value_off, size) == b"old!"
    m.update(key(1), b"new!")
    assert ctypes.string_at(base + value_off, size) == b"old!"
    assert m.lookup(key(1)) == b"new!"


def test_percpu_new_element_is_zero_on_other_cpus() -> None:
    for map_type in (PERCPU, LRU_PERCPU):
        m = maps.create(MapAttr(map_type, 4, 4, 1), 2)
        m.update(key(1), b"\xff" * 16)
        m.delete(key(1))
        exercise(m, "update", key(2), 1, cpu=1, value=b"mine")
        assert m.lookup(key(2)) == bytes(8) + b"mine" + bytes(4)


def test_for_each_is_in_bucket_order() -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 64), 2, seed=5)
    fill(m, 40)
    assert [k for k, _ in elements(m)] == list(m.keys())
    assert len(elements(m, limit=7)) == 7


def test_program_lookup_protects_from_eviction() -> None:
    m = maps.create(MapAttr(LRU, 4, 4, 4, uapi.BPF_F_NO_COMMON_LRU), 1)
    fill(m, 4)
    _, failed = exercise(m, "lookup", key(0), 1)
    assert failed == 0
    m.update(key(9), bytes(4))
    left = set(m.keys())
    assert key(0) in left
    assert key(9) in left
    assert key(1) not in left


def test_user_lookup_does_not_protect() -> None:
    m = maps.create(MapAttr(LRU, 4, 4, 4, uapi.BPF_F_NO_COMMON_LRU), 1)
    fill(m, 4)
    m.lookup(key(0))
    m.update(key(9), bytes(4))
    assert key(0) not in set(m.keys())


def test_percpu_lru_rounds_entries_up() -> None:
    m = maps.create(MapAttr(LRU, 4, 4, 10, uapi.BPF_F_NO_COMMON_LRU), 4)
    assert m.max_entries == 12


def test_batch_takes_whole_buckets(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 1), 2)
    m.update(key(1), b"abcd")
    assert m.lookup_batch(None, 5) == (errno.ENOENT, 1, key(1), b"abcd", key(1))
    assert m.lookup_batch(key(1), 5) == (errno.ENOENT, 0, b"", b"", b"")
    assert m.lookup_and_delete_batch(None, 5).count == 1
    assert list(m.keys()) == []
    assert errno_of(lambda: m.lookup_batch(b"\0", 5)) == errno.EINVAL


def test_batch_without_room_for_a_bucket() -> None:
    """Of two buckets, some pair of keys shares one: batches of one element cannot begin there."""
    m = maps.create(MapAttr(HASH, 4, 4, 2), 2)
    errors = set()
    for i in range(1, 20):
        m.update(key(0), bytes(4))
        m.update(key(i), bytes(4))
        got = m.lookup_batch(None, 1)
        assert got.count == (0 if got.errno == errno.ENOSPC else 1)
        errors.add(got.errno)
        assert m.lookup_and_delete_batch(None, 2)[:2] == (errno.ENOENT, 2)
    assert errors == {0, errno.ENOSPC}


def test_walk_and_clear_a_big_table() -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 1000), 2)
    fill(m, 1000)
    seen, position = [], None
    for _ in range(2000):
        got = m.lookup_and_delete_batch(position, 50)
        position = got.next
        seen += [got.keys[i:i + 4] for i in range(0, len(got.keys), 4)]
        if got.errno:
            break
    assert sorted(seen) == sorted(key(i) for i in range(1000))
    assert list(m.keys()) == []


# -- threads: operations as programs call them run without the GIL

def run_threads(*jobs: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(("map_type", "flags"), [
    *((t, 0) for t in ALL), *((t, uapi.BPF_F_NO_COMMON_LRU) for t in (LRU, LRU_PERCPU))])
def test_threads(map_type: int, flags: int) -> None:
    """Four threads insert, look up and delete the same few keys; the table stays whole."""
    m = maps.create(MapAttr(map_type, 4, 8, 24, flags), 4)
    keys = b"".join(key(i) for i in range(32))

    def work(cpu: int) -> None:
        for round_ in range(30):
            value = bytes([cpu * 50 + round_]) * 8
            exercise(m, "update", keys, 20, cpu, value)
            exercise(m, "lookup", keys, 20, cpu)
            exercise(m, "delete", keys[cpu * 16:], 5, cpu)

    run_threads(*(lambda cpu=cpu: work(cpu) for cpu in range(4)))      # type: ignore[misc]
    found = list(m.keys())
    assert len(found) == len(set(found)) <= m.max_entries
    for k in found:
        value = m.lookup(k)
        assert all(len(set(value[i:i + 8])) == 1 for i in range(0, len(value), 8)), value
        m.delete(k)
    fill(m, 24)
    if map_type in (HASH, PERCPU):
        assert len(list(m.keys())) == 24     # no element was lost


def test_user_space_beside_programs() -> None:
    m = maps.create(MapAttr(HASH, 4, 8, 64), 4)
    keys = b"".join(key(i) for i in range(64))

    def programs(cpu: int) -> None:
        for _ in range(40):
            exercise(m, "update", keys, 10, cpu, bytes([cpu]) * 8)
            exercise(m, "delete", keys, 1, cpu)

    def user() -> None:
        for _ in range(100):
            for k in m.keys():     # noqa: SIM118 - a Map is no dict
                assert k in {key(i) for i in range(64)}
            got = m.lookup_and_delete_batch(None, 1000)
            assert got.count <= 64

    run_threads(lambda: programs(0), lambda: programs(1), user)
