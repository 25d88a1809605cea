"""Batch commands on maps (generic_map_*_batch in kernel/bpf/syscall.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from anybpf.errors import BpfError
from anybpf.maps import Batch
from anybpf.syscall.attr import Attr
from anybpf.syscall.fds import CAN_READ, CAN_WRITE
from anybpf.syscall.map import HASHES, permit, update_value
from anybpf.syscall.memory import UserMemory
from anybpf.syscall.objects import MapObject
from anybpf.syscall.state import State

#: bytes of the caller's arrays that are copied at once
_CHUNK = 1 << 16


def elements(memory: UserMemory, address: int, size: int, count: int) -> Iterator[bytes]:
    """The entries of the caller's array one by one; EFAULT comes at the entry that has it."""
    step = max(_CHUNK // max(size, 1), 1)
    for first in range(0, count, step):
        here, number = address + first * size, min(step, count - first)
        try:
            block = memory.read(here, number * size)
        except BpfError:
            yield from (memory.read(here + i * size, size) for i in range(number))
        else:
            yield from (block[i * size:(i + 1) * size] for i in range(number))


def _each(attr: Attr, step: Callable[[], None]) -> int:
    """Do `step` as often as the caller asks; tell how often it worked."""
    done = 0
    try:
        while done < attr["batch.count"]:
            step()
            done += 1
    finally:
        attr["batch.count"] = done
    return 0


def map_update_batch(state: State, attr: Attr) -> int:
    """BPF_MAP_UPDATE_BATCH."""
    map = permit(state, attr["batch.map_fd"], CAN_WRITE)
    flags, count = attr["batch.elem_flags"], attr["batch.count"]
    map.map.check_batch("update", flags)
    if not count:
        return 0
    keys = elements(state.memory, attr["batch.keys"], map.map.key_size, count)
    values = elements(state.memory, attr["batch.values"], map.map.user_value_size, count)
    return _each(attr, lambda: update_value(state, map, next(keys), next(values), flags))


def map_delete_batch(state: State, attr: Attr) -> int:
    """BPF_MAP_DELETE_BATCH."""
    map = permit(state, attr["batch.map_fd"], CAN_WRITE)
    count = attr["batch.count"]
    map.map.check_batch("delete", attr["batch.elem_flags"])
    if not count:
        return 0
    keys = elements(state.memory, attr["batch.keys"], map.map.key_size, count)
    return _each(attr, lambda: map.map.delete(next(keys)))


def _lookup(state: State, attr: Attr, map: MapObject, delete: bool) -> int:
    """Copy elements out from the caller's position on, and tell the position behind them."""
    flags = attr["batch.elem_flags"]
    run = map.map.lookup_and_delete_batch if delete else map.map.lookup_batch
    run(None, 0, flags, attr["batch.flags"])
    if not attr["batch.count"]:
        return 0
    attr["batch.count"] = 0
    start = attr["batch.in_batch"]
    position = state.memory.read(start, map.map.batch_size) if start else None
    found = run(position, attr["batch.count"], flags, attr["batch.flags"])
    state.memory.write(attr["batch.keys"], found.keys)
    state.memory.write(attr["batch.values"], found.values)
    _position(state, attr, map, found)
    if found.errno:
        raise BpfError(found.errno)
    return 0


def _position(state: State, attr: Attr, map: MapObject, found: Batch) -> None:
    """Tell count and position; hashes do it the other way round, which a bad pointer shows."""
    if map.type not in HASHES:
        attr["batch.count"] = found.count
    state.memory.write(attr["batch.out_batch"], found.next)
    attr["batch.count"] = found.count


def map_lookup_batch(state: State, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_BATCH."""
    return _lookup(state, attr, permit(state, attr["batch.map_fd"], CAN_READ), False)


def map_lookup_and_delete_batch(state: State, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_AND_DELETE_BATCH."""
    map = permit(state, attr["batch.map_fd"], CAN_READ | CAN_WRITE)
    return _lookup(state, attr, map, True)
