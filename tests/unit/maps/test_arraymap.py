from __future__ import annotations

import ctypes
import errno
import gc
import weakref
from collections.abc import Callable

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr, PerfEvent
from anybpf.maps.exercise import elements, exercise

ErrnoOf = Callable[[Callable[[], object]], int]
PERCPU = uapi.BPF_MAP_TYPE_PERCPU_ARRAY


class Thing:
    """Something with an address and an id, as programs have."""

    def __init__(self, address: int, prog_type: int = uapi.BPF_PROG_TYPE_XDP) -> None:
        self.address, self.id, self.prog_type = address, address % 1000, prog_type


def key(n: int) -> bytes:
    return n.to_bytes(4, "little")


def test_percpu_value_is_all_copies() -> None:
    m = maps.create(MapAttr(PERCPU, 4, 6, 2), 3)
    assert m.user_value_size == 24
    m.update(key(1), bytes(range(24)))
    assert m.lookup(key(1)) == bytes(range(24))
    assert m.lookup(key(0)) == bytes(24)


def test_program_writes_its_own_copy() -> None:
    m = maps.create(MapAttr(PERCPU, 4, 6, 2), 3)
    exercise(m, "update", key(1), 1, cpu=1, value=b"abcdef")
    assert m.lookup(key(1)) == bytes(8) + b"abcdef\0\0" + bytes(8)
    assert elements(m, cpu=1) == [(key(0), bytes(6)), (key(1), b"abcdef")]
    assert elements(m, cpu=0)[1] == (key(1), bytes(6))


def test_for_each_stops_when_told() -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_ARRAY, 4, 4, 10), 2)
    assert [k for k, _ in elements(m, limit=3)] == [key(0), key(1), key(2)]


def test_area_leads_to_values() -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_ARRAY, 4, 5, 3), 2)
    m.update(key(2), b"hello")
    base, size, stride, value_off, value_size = m.area
    assert (size, stride, value_size) == (24, 8, 5)
    assert ctypes.string_at(base + 2 * stride + value_off, value_size) == b"hello"


def test_value_address(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1), 2)
    m.update(key(0), b"0123456789abcdef")
    assert ctypes.string_at(m.value_address(10), 6) == b"abcdef"
    assert errno_of(lambda: m.value_address(16)) == errno.EINVAL
    two = maps.create(MapAttr(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 2), 2)
    assert errno_of(lambda: two.value_address(0)) == 524


def slots(m: maps.Map) -> list[int]:
    """The native slots, which lie right where a program's tail call looks."""
    address = ctypes.c_uint64.from_address(m.address + array_value_offset(m)).value
    return list((ctypes.c_uint64 * m.max_entries).from_address(address))


def array_value_offset(m: maps.Map) -> int:
    """struct bpf_array ends with elem_size and the values' address."""
    for offset in range(64, 200, 8):
        if ctypes.c_uint64.from_address(m.address + offset).value == 8:
            return offset + 8
    raise AssertionError("no elem_size found")


def test_prog_array(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3), 2)
    prog = Thing(0x1234_5000)
    m.update_object(key(1), prog)
    assert slots(m) == [0, 0x1234_5000, 0]
    assert m.lookup(key(1)) == key(prog.id)
    assert m.get_object(key(1)) is prog
    assert errno_of(lambda: m.lookup(key(0))) == errno.ENOENT
    assert errno_of(lambda: m.update_object(key(3), prog)) == errno.E2BIG
    assert errno_of(lambda: m.update_object(key(0), prog, 1)) == errno.EINVAL
    other = Thing(0x1000, uapi.BPF_PROG_TYPE_KPROBE)
    assert errno_of(lambda: m.update_object(key(0), other)) == errno.EINVAL
    m.delete(key(1))
    assert slots(m) == [0, 0, 0]
    assert errno_of(lambda: m.delete(key(1))) == errno.ENOENT


def test_slots_keep_alive_and_let_go() -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3), 2)
    m.update_object(key(0), Thing(0x1000))
    m.update_object(key(1), Thing(0x2000))
    first, second = (weakref.ref(m.get_object(key(i))) for i in range(2))
    gc.collect()
    assert first() is not None
    m.update_object(key(0), Thing(0x3000))
    assert first() is None
    m.release_uref()
    assert second() is None
    assert slots(m) == [0, 0, 0]


def test_values_cannot_be_put_where_objects_go(errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3), 2)
    assert errno_of(lambda: m.update(key(0), bytes(4))) == errno.EINVAL
    assert slots(m) == [0, 0, 0]
    values = maps.create(MapAttr(uapi.BPF_MAP_TYPE_ARRAY, 4, 4, 3), 2)
    assert errno_of(lambda: values.update_object(key(0), Thing(1))) == errno.EINVAL


def test_perf_event_array() -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2), 2)
    events = [PerfEvent(cpu) for cpu in range(2)]
    for cpu, event in enumerate(events):
        m.update_object(key(cpu), event)
    assert m.holds == "perf_event"
    assert slots(m) == [e.address for e in events]


@pytest.mark.parametrize("operation", ["push", "pop", "peek"])
def test_operations_that_arrays_lack(operation: str, errno_of: ErrnoOf) -> None:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_ARRAY, 4, 4, 2), 2)
    assert errno_of(lambda: exercise(m, operation, key(0), 1)) == errno.EINVAL
