"""Batches: chunks of the caller's arrays, and how far a failing one came."""

from __future__ import annotations

import ctypes

import pytest

from anybpf import uapi as u
from anybpf.errors import BpfError
from anybpf.syscall.batch import elements
from anybpf.syscall.memory import OwnMemory
from kernel.calls import Calls, u32, u64


def test_elements_stop_at_the_one_that_faults(calls: Calls) -> None:
    address = calls.at_page_end(u32(1, 2, 3))
    found = elements(OwnMemory(), address, 4, 5)
    assert [next(found) for _ in range(3)] == [u32(1), u32(2), u32(3)]
    with pytest.raises(BpfError) as caught:
        next(found)
    assert caught.value.name == "EFAULT"


def test_elements_of_many_chunks(calls: Calls) -> None:
    numbers = range(50_000)
    address = calls.pointer(u32(*numbers))
    assert [int.from_bytes(x, "little") for x in elements(OwnMemory(), address, 4, 50_000)] == [
        *numbers]


@pytest.mark.parametrize("kind", [u.BPF_MAP_TYPE_HASH, u.BPF_MAP_TYPE_ARRAY])
def test_update_and_lookup(calls: Calls, kind: int) -> None:
    fd = calls.map(kind, max_entries=8)
    keys, values = u32(*range(8)), u64(*range(100, 108))
    assert calls.call(u.BPF_MAP_UPDATE_BATCH, batch__map_fd=fd, batch__keys=keys,
                      batch__values=values, batch__count=8) == 0
    got_keys, got_values, position = (calls.buffer(n) for n in (64, 128, 8))
    answer = calls.call(
        u.BPF_MAP_LOOKUP_BATCH, batch__map_fd=fd, batch__keys=ctypes.addressof(got_keys),
        batch__values=ctypes.addressof(got_values), batch__count=9,
        batch__out_batch=ctypes.addressof(position))
    assert (answer, calls.out("batch.count")) == ("ENOENT", 8)
    pairs = {got_keys.raw[4 * i:4 * i + 4]: got_values.raw[8 * i:8 * i + 8] for i in range(8)}
    assert pairs == {u32(i): u64(100 + i) for i in range(8)}


def test_a_failing_update_tells_how_far_it_came(calls: Calls) -> None:
    fd = calls.map(max_entries=2)
    assert calls.call(u.BPF_MAP_UPDATE_BATCH, batch__map_fd=fd, batch__keys=u32(0, 1, 2, 3),
                      batch__values=u64(0, 1, 2, 3), batch__count=4) == "E2BIG"
    assert calls.out("batch.count") == 2
