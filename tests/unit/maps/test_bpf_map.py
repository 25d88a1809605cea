from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from anybpf import maps, uapi
from anybpf.errors import BpfError, NotSupported
from anybpf.maps import MapAttr

ErrnoOf = Callable[[Callable[[], object]], int]
ARRAY = uapi.BPF_MAP_TYPE_ARRAY
HASH = uapi.BPF_MAP_TYPE_HASH


def test_what_a_map_says_about_itself() -> None:
    m = maps.create(MapAttr(HASH, 3, 5, 7, uapi.BPF_F_NO_PREALLOC, name="flows"), 2)
    assert (m.type, m.key_size, m.value_size, m.max_entries) == (HASH, 3, 5, 7)
    assert (m.flags, m.name, m.user_value_size, m.ncpus) == (uapi.BPF_F_NO_PREALLOC, "flows", 5, 2)
    assert repr(m) == "<hash map 'flows' key=3 value=5 max_entries=7>"
    m.id = 12
    assert m.id == 12


def test_types_not_modelled_are_named() -> None:
    with pytest.raises(NotSupported, match="map type devmap"):
        maps.create(MapAttr(uapi.BPF_MAP_TYPE_DEVMAP, 4, 4, 1), 2)


@pytest.mark.parametrize("map_type", [0, 34, 1 << 31])
def test_unknown_types(map_type: int, errno_of: ErrnoOf) -> None:
    assert errno_of(lambda: maps.create(MapAttr(map_type, 4, 4, 1), 2)) == errno.EINVAL


@pytest.mark.parametrize("key", [b"", b"123", b"12345"])
def test_keys_of_the_wrong_size(key: bytes, errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 1), 2)
    for call in (m.lookup, m.delete, m.next_key, m.lookup_and_delete):
        assert errno_of(lambda call=call: call(key)) == errno.EINVAL    # type: ignore[misc]
    assert errno_of(lambda: m.update(key, b"1234")) == errno.EINVAL
    assert errno_of(lambda: m.update(b"1234", key)) == errno.EINVAL


def test_bytes_like_keys() -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 1), 2)
    m.update(bytearray(b"abcd"), memoryview(b"1234"))
    assert m.lookup(memoryview(b"abcd")) == b"1234"


@pytest.mark.parametrize("key", [4, None, "abcd", ["a"]])
def test_keys_that_are_not_bytes(key: Any) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 4, 1), 2)
    with pytest.raises(TypeError):
        m.lookup(key)


@pytest.mark.parametrize("attr", [
    MapAttr(ARRAY, -4, 4, 1), MapAttr(ARRAY, 4, 1 << 32, 1), MapAttr(HASH, 4, 4, -1),
    MapAttr(ARRAY, 4, 4, 1, -1), MapAttr(ARRAY, 4, 8, 1, spin_lock_off=5),
    MapAttr(ARRAY, 4, 8, 1, spin_lock_off=-2), MapAttr(ARRAY, 4, 2, 1, spin_lock_off=0)])
def test_numbers_out_of_range(attr: MapAttr, errno_of: ErrnoOf) -> None:
    assert errno_of(lambda: maps.create(attr, 2)) == errno.EINVAL


def test_spin_locks_only_in_some_types(errno_of: ErrnoOf) -> None:
    attr = MapAttr(uapi.BPF_MAP_TYPE_LRU_HASH, 4, 8, 1, spin_lock_off=0)
    assert errno_of(lambda: maps.create(attr, 2)) == errno.EOPNOTSUPP


@pytest.mark.parametrize("ncpus", [0, -1, 1 << 17])
def test_cpus(ncpus: int, errno_of: ErrnoOf) -> None:
    with pytest.raises(ValueError):
        maps.create(MapAttr(ARRAY, 4, 4, 1), ncpus)
    m = maps.create(MapAttr(ARRAY, 4, 4, 1), 2)
    assert errno_of(lambda: setattr(m, "user_cpu", 2)) == errno.EINVAL


def test_maps_are_made_by_create() -> None:
    with pytest.raises(TypeError):
        maps.Map()
    m = maps.create(MapAttr(ARRAY, 4, 4, 1), 2)
    with pytest.raises(BpfError):
        type(m).__init__(m, MapAttr(ARRAY, 4, 4, 1), 2)     # type: ignore[misc]


def test_errors_name_the_map() -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 1, name="flows"), 2)
    with pytest.raises(BpfError, match="No such file or directory: map 'flows'"):
        m.lookup(b"abcd")


def test_keys_walk() -> None:
    m = maps.create(MapAttr(ARRAY, 4, 4, 3), 2)
    assert list(m.keys()) == [bytes([i, 0, 0, 0]) for i in range(3)]


@pytest.mark.parametrize("flags", [-1, 1 << 64, 1 << 63])
def test_flags_out_of_range(flags: int, errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 4, 3), 2)
    assert errno_of(lambda: m.update(bytes(4), bytes(4), flags)) == errno.EINVAL
    assert errno_of(lambda: m.lookup(bytes(4), flags)) == errno.EINVAL


def test_freeze_stops_user_space_only(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 4, 3), 2)
    m.update(bytes(4), b"abcd")
    m.freeze()
    assert m.frozen
    assert errno_of(lambda: m.update(bytes(4), bytes(4))) == errno.EPERM
    assert m.lookup(bytes(4)) == b"abcd"


def test_impossible_sizes_are_enomem(errno_of: ErrnoOf) -> None:
    huge = MapAttr(ARRAY, 4, 0x7FFF_FFFF, uapi.U32)
    assert errno_of(lambda: maps.create(huge, 2)) == errno.ENOMEM
    shared = huge._replace(map_flags=uapi.BPF_F_MMAPABLE)
    assert errno_of(lambda: maps.create(shared, 2)) == errno.ENOMEM
    percpu = MapAttr(uapi.BPF_MAP_TYPE_PERCPU_HASH, 4, 32768, 1 << 27)
    assert errno_of(lambda: maps.create(percpu, 4096)) == errno.ENOMEM


def test_large_maps_cost_nothing_until_used() -> None:
    m = maps.create(MapAttr(HASH, 4, 1024, 1 << 24), 2)
    m.update(b"abcd", bytes(1024))
    assert len(list(m.keys())) == 1


# -- bpf_spin_lock

@pytest.mark.parametrize("map_type", [ARRAY, HASH])
def test_spin_lock_reads_as_zero_and_survives(map_type: int, errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(map_type, 4, 12, 2, spin_lock_off=4), 2)
    m.update(bytes(4), b"abcdLOCKefgh")
    assert m.lookup(bytes(4)) == b"abcd\0\0\0\0efgh"
    m.update(bytes(4), b"ABCDLOCKEFGH", uapi.BPF_F_LOCK)
    assert m.lookup(bytes(4), uapi.BPF_F_LOCK) == b"ABCD\0\0\0\0EFGH"
    assert errno_of(m.freeze) == 524


def test_lock_flag_needs_a_lock(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 12, 2), 2)
    assert errno_of(lambda: m.update(bytes(4), bytes(12), uapi.BPF_F_LOCK)) == errno.EINVAL
    assert errno_of(lambda: m.lookup(bytes(4), uapi.BPF_F_LOCK)) == errno.EINVAL


def test_a_lock_never_released_is_no_hang(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 12, 1, uapi.BPF_F_MMAPABLE, spin_lock_off=4), 2)
    with m.mmap() as view:
        view[4] = 1
    assert errno_of(lambda: m.lookup(bytes(4), uapi.BPF_F_LOCK)) == errno.ETIMEDOUT
    assert m.lookup(bytes(4)) == bytes(12)


# -- batches

def test_batch_walk_of_an_array() -> None:
    m = maps.create(MapAttr(ARRAY, 4, 1, 5), 2)
    keys = b"".join(m.keys())
    assert m.update_batch(keys, b"abcde", 5) == (0, 5, b"", b"", b"")
    first = m.lookup_batch(None, 3)
    assert (first.errno, first.count, first.values) == (0, 3, b"abc")
    rest = m.lookup_batch(first.next, 3)
    assert (rest.errno, rest.count, rest.values, rest.keys) == (errno.ENOENT, 2, b"de", keys[12:])


def test_batch_stops_at_the_first_error() -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 2), 2)
    keys = b"aaaabbbbcccc"
    assert m.update_batch(keys, bytes(12), 3)[:2] == (errno.E2BIG, 2)
    assert m.delete_batch(b"aaaaxxxxbbbb", 3)[:2] == (errno.ENOENT, 1)


def test_batch_buffers_too_short(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(HASH, 4, 4, 2), 2)
    assert errno_of(lambda: m.update_batch(b"aaaa", bytes(4), 2)) == errno.EINVAL
    assert errno_of(lambda: m.delete_batch(b"aaaa", 2)) == errno.EINVAL
    assert errno_of(lambda: m.lookup_batch(b"way too long", 2)) == errno.EINVAL


# -- mmap

def test_mmap_shares_memory(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 8, 4, uapi.BPF_F_MMAPABLE), 2)
    with m.mmap() as view:
        view[8:16] = b"from you"
        assert m.lookup(b"\1\0\0\0") == b"from you"
        m.update(b"\2\0\0\0", b"from map")
        assert view[16:24] == b"from map"
        assert errno_of(m.freeze) == errno.EBUSY
    m.freeze()
    assert errno_of(m.mmap) == errno.EPERM
    with m.mmap(writable=False) as view:
        assert view[8:16] == b"from you"


def test_mmap_outlives_the_map() -> None:
    m = maps.create(MapAttr(ARRAY, 4, 8, 1, uapi.BPF_F_MMAPABLE), 2)
    view = m.mmap()
    del m
    gc.collect()
    view[:4] = b"safe"
    assert view[:4] == b"safe"


def test_mmap_of_what_programs_only_read(errno_of: ErrnoOf) -> None:
    flags = uapi.BPF_F_MMAPABLE | uapi.BPF_F_RDONLY_PROG
    m = maps.create(MapAttr(ARRAY, 4, 8, 1, flags), 2)
    assert errno_of(m.mmap) == errno.EACCES
    m.mmap(writable=False).close()


def test_mmap_range(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(ARRAY, 4, 8, 1, uapi.BPF_F_MMAPABLE), 2)
    for arguments in ((1 << 40, 0), (8192, 0), (0, 4096), (0, -4096), (4096, 1)):
        length, offset = arguments
        assert errno_of(lambda n=length, o=offset: m.mmap(n, offset=o)), arguments  # type: ignore[misc]
    plain = maps.create(MapAttr(ARRAY, 4, 8, 1), 2)
    assert errno_of(plain.mmap) == 524


def test_maps_are_collected() -> None:
    m = maps.create(MapAttr(ARRAY, 4, 8, 1), 2)
    gone = weakref.ref(m)
    del m
    gc.collect()
    assert gone() is None
