from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from anybpf.errors import BpfError
from anybpf.maps import PerfEvent

ErrnoOf = Callable[[Callable[[], object]], int]


def test_records_are_padded_as_perf_pads() -> None:
    """Size field and bytes together fill 8-byte words."""
    event = PerfEvent(cpu=1)
    for n in range(10):
        event.append(b"x" * n)
    got = list(event.records())
    assert [len(r) for r in got] == [4, 4, 4, 4, 4, 12, 12, 12, 12, 12]
    assert all(r.rstrip(b"\0") == b"x" * n for n, r in enumerate(got))
    assert event.cpu == 1


def test_lost_records_are_counted(errno_of: ErrnoOf) -> None:
    event = PerfEvent(capacity=64)
    event.append(bytes(28))
    event.append(bytes(28))
    assert errno_of(lambda: event.append(b"")) == errno.ENOSPC
    assert event.lost == 1
    assert len(list(event.records())) == 2
    event.append(bytes(28))


def test_records_wrap() -> None:
    event = PerfEvent(capacity=64)
    for n in range(100):
        event.append(bytes([n]) * 20)
        assert list(event.records()) == [bytes([n]) * 20]


@pytest.mark.parametrize("capacity", [0, 7, 12, 1 << 62])
def test_capacity(capacity: int) -> None:
    with pytest.raises(BpfError) as caught:
        PerfEvent(capacity=capacity)
    assert caught.value.errno in (errno.EINVAL, errno.ENOMEM)
