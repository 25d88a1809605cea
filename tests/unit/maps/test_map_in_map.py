from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr, type_name
from anybpf.maps.exercise import exercise

ErrnoOf = Callable[[Callable[[], object]], int]
ARRAY_OF_MAPS, HASH_OF_MAPS = uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS
INNER = MapAttr(uapi.BPF_MAP_TYPE_HASH, 4, 8, 10)
BOTH = pytest.mark.parametrize("outer", [ARRAY_OF_MAPS, HASH_OF_MAPS], ids=type_name)
K0, K1 = bytes(4), b"\1\0\0\0"


def inner(number: int) -> maps.Map:
    m = maps.create(INNER, 2)
    m.id = number
    return m


def outer_map(outer: int) -> maps.Map:
    return maps.create(MapAttr(outer, 4, 4, 2, inner=inner(99)), 2)


@BOTH
def test_user_space_sees_ids(outer: int, errno_of: ErrnoOf) -> None:
    m, first = outer_map(outer), inner(7)
    assert errno_of(lambda: m.lookup(K1)) == errno.ENOENT
    m.update_object(K1, first)
    assert m.lookup(K1) == b"\7\0\0\0"
    assert m.get_object(K1) is first
    assert m.lookup_batch(None, 5)[:4] == (errno.ENOENT, 1, K1, b"\7\0\0\0")
    assert errno_of(lambda: m.update(K1, bytes(4))) == errno.EINVAL


@BOTH
def test_programs_find_maps(outer: int) -> None:
    m = outer_map(outer)
    m.update_object(K1, inner(7))
    assert exercise(m, "lookup", K1, 1)[1] == 0
    assert exercise(m, "lookup", K0, 1)[1] == 1
    assert m.area[1] == 0


@BOTH
def test_inner_maps_live_as_long_as_their_slot(outer: int) -> None:
    m = outer_map(outer)
    refs = []
    for number in range(3):
        one = inner(number)
        refs.append(weakref.ref(one))
        m.update_object(K0, one)
        del one
    gc.collect()
    assert [r() is None for r in refs] == [True, True, False]
    m.delete(K0)
    gc.collect()
    assert refs[2]() is None


def test_batch_deletion_lets_go() -> None:
    m = outer_map(HASH_OF_MAPS)
    one = inner(5)
    gone = weakref.ref(one)
    m.update_object(K0, one)
    del one
    assert m.lookup_and_delete_batch(None, 5).values == b"\5\0\0\0"
    gc.collect()
    assert gone() is None
    assert m.get_object(K0) is None


@BOTH
def test_other_maps_are_refused(outer: int, errno_of: ErrnoOf) -> None:
    m = outer_map(outer)
    other = maps.create(INNER._replace(value_size=4), 2)
    assert errno_of(lambda: m.update_object(K0, other)) == errno.EINVAL


@BOTH
def test_no_template_and_nesting(outer: int, errno_of: ErrnoOf) -> None:
    attr = MapAttr(outer, 4, 4, 2)
    assert errno_of(lambda: maps.create(attr, 2)) == errno.EINVAL
    assert errno_of(lambda: maps.create(attr._replace(inner=outer_map(outer)), 2)) == errno.EINVAL


@BOTH
def test_inner_meta(outer: int) -> None:
    meta = outer_map(outer).inner_meta
    assert (meta.map_type, meta.key_size, meta.value_size, meta.max_entries) == INNER[:4]
