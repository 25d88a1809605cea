"""Random sequences of operations: our maps answer like plain Python models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from answers import Refused, outcome
from anybpf import maps, uapi
from anybpf.maps import Map, MapAttr, type_name
from property.map_models import ArrayModel, HashModel, QueueModel, TrieModel

NCPUS = 3
FEW = settings(max_examples=25, deadline=None)
FLAGS = st.sampled_from([0, 0, 0, 1, 2, 3])
#: (operation, which key, a byte to fill the value with, flags)
OPERATIONS = st.lists(st.tuples(
    st.sampled_from(["update", "update", "update", "lookup", "delete", "lookup_and_delete"]),
    st.integers(0, 11), st.integers(0, 255), FLAGS), max_size=40)
TRIE_DATA = (b"\0\0", b"\x80\0", b"\xc0\0", b"\xc0\x01", b"\xff\xff", b"\x01\x80")


def key_of(attr: MapAttr, n: int, fill: int) -> bytes:
    if attr.map_type == uapi.BPF_MAP_TYPE_LPM_TRIE:
        return (fill % 18).to_bytes(4, "little") + TRIE_DATA[n % 6]
    return n.to_bytes(attr.key_size, "little") if attr.key_size else b""


def same_answers(ours: Map, model: Any, attr: MapAttr, steps: list[tuple[str, int, int, int]],
                 check: Callable[[], None] = lambda: None) -> None:
    """Do every step on both and compare."""
    for name, n, fill, flags in steps:
        key = key_of(attr, n, fill)
        args: tuple[Any, ...] = (key,)
        if name == "update":
            args = (key, bytes([fill]) * ours.user_value_size, flags)
        assert outcome(getattr(ours, name), *args) == outcome(getattr(model, name), *args), name
        check()


@pytest.mark.parametrize("flags", [0, uapi.BPF_F_NO_PREALLOC, uapi.BPF_F_ZERO_SEED])
@pytest.mark.parametrize("map_type", [uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_PERCPU_HASH],
                         ids=type_name)
@given(steps=OPERATIONS, entries=st.integers(1, 8), seed=st.integers(0, uapi.U32))
@FEW
def test_hash(map_type: int, flags: int, steps: Any, entries: int, seed: int) -> None:
    attr = MapAttr(map_type, 5, 6, entries, flags)
    ours, model = maps.create(attr, NCPUS, seed), HashModel(attr)

    def check() -> None:
        assert set(ours.keys()) == model.keys()

    same_answers(ours, model, attr, steps, check)


@pytest.mark.parametrize("map_type", [uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY],
                         ids=type_name)
@given(steps=OPERATIONS, entries=st.integers(1, 8))
@FEW
def test_array(map_type: int, steps: Any, entries: int) -> None:
    attr = MapAttr(map_type, 4, 6, entries)
    ours = maps.create(attr, NCPUS)
    same_answers(ours, ArrayModel(attr, ours.user_value_size), attr, steps)
    assert len(list(ours.keys())) == entries


@pytest.mark.parametrize("map_type", [uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK],
                         ids=type_name)
@given(steps=OPERATIONS, entries=st.integers(1, 5))
@FEW
def test_queue(map_type: int, steps: Any, entries: int) -> None:
    attr = MapAttr(map_type, 0, 3, entries)
    same_answers(maps.create(attr, NCPUS), QueueModel(attr), attr, steps)


@given(steps=OPERATIONS, entries=st.integers(1, 8))
@FEW
def test_trie(steps: Any, entries: int) -> None:
    attr = MapAttr(uapi.BPF_MAP_TYPE_LPM_TRIE, 6, 6, entries, uapi.BPF_F_NO_PREALLOC)
    ours, model = maps.create(attr, NCPUS), TrieModel(attr)

    def check() -> None:
        walk = [model.split(k) for k in ours.keys()]     # noqa: SIM118 - a Map is no dict
        assert set(walk) == model.keys()
        assert len(walk) == len(model.data)
        # more specific prefixes come before those that contain them
        assert not any(b.startswith(a) for i, a in enumerate(walk) for b in walk[i + 1:])

    same_answers(ours, model, attr, steps, check)


@pytest.mark.parametrize("flags", [0, uapi.BPF_F_NO_COMMON_LRU])
@pytest.mark.parametrize("map_type", [uapi.BPF_MAP_TYPE_LRU_HASH,
                                      uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH], ids=type_name)
@given(steps=OPERATIONS, entries=st.integers(1, 8))
@FEW
def test_lru_remembers_the_last(map_type: int, flags: int, steps: Any, entries: int) -> None:
    """Which element goes is the kernel's secret (tests/kernel compares): never the newest."""
    ours = maps.create(MapAttr(map_type, 4, 8, entries, flags), NCPUS)
    written: dict[bytes, bytes] = {}
    for name, n, fill, _ in steps:
        key = n.to_bytes(4, "little")
        value = bytes([fill]) * ours.user_value_size
        if name == "update":
            ours.update(key, value)
            written[key] = value
            assert ours.lookup(key) == value
        elif name == "delete" and outcome(ours.delete, key) is None:
            del written[key]
    found = {k: ours.lookup(k) for k in ours.keys()}     # noqa: SIM118 - a Map is no dict
    assert found.items() <= written.items()
    assert len(found) <= ours.max_entries


@given(values=st.sets(st.binary(min_size=4, max_size=4), max_size=40), seed=st.integers(0, 9))
@FEW
def test_bloom_filter_never_forgets(values: set[bytes], seed: int) -> None:
    ours = maps.create(MapAttr(uapi.BPF_MAP_TYPE_BLOOM_FILTER, 0, 4, 40), NCPUS, seed)
    for value in values:
        ours.update(b"", value)
    for value in values:
        assert ours.lookup(value=value) == value


@given(sizes=st.lists(st.tuples(st.integers(0, 1500), st.booleans(), st.booleans()), max_size=60))
@FEW
def test_ring_buffer_keeps_order(sizes: list[tuple[int, bool, bool]]) -> None:
    """What fits comes out once, in order, whole; discarded records do not."""
    ring = maps.create(MapAttr(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096), NCPUS)
    expected: list[bytes] = []
    got: list[bytes] = []
    for i, (size, drain, discard) in enumerate(sizes):
        record = bytes([i]) * size
        fits = ring.available + (size + 15) // 8 * 8 < 4096
        sample = ring.reserve(size) if discard else None
        if discard:
            assert bool(sample) == fits
            if sample:
                ring.discard(sample)
        else:
            assert outcome(ring.output, record) == (None if fits else Refused(11))
            expected += [record] if fits else []
        if drain:
            got += ring.records()
            assert ring.available == 0
    assert got + list(ring.records()) == expected
