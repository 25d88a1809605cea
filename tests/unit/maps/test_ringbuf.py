from __future__ import annotations

import ctypes
import errno
import threading
from collections.abc import Callable

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr
from anybpf.maps.ringbuf import RingBuf

ErrnoOf = Callable[[Callable[[], object]], int]
SIZE = 4096


def ring(size: int = SIZE) -> RingBuf:
    m = maps.create(MapAttr(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, size), 2)
    assert isinstance(m, RingBuf)
    return m


def header(sample: int) -> tuple[int, int]:
    length, page = (ctypes.c_uint32 * 2).from_address(sample - 8)
    return length, page


def test_records_in_order() -> None:
    r = ring()
    for i in range(10):
        r.output(bytes([i]) * i)
    assert list(r.records()) == [bytes([i]) * i for i in range(10)]
    assert list(r.records()) == []


def test_header_layout() -> None:
    """Length with the busy bit, and the page counted from the ring buffer's first page."""
    r = ring(2 * SIZE)
    first = r.reserve(5)
    assert header(first) == (5 | uapi.BPF_RINGBUF_BUSY_BIT, 3)
    second = r.reserve(4090)
    assert second - first == 16
    third = r.reserve(1)
    assert header(third)[1] == 4
    r.submit(first)
    assert header(first)[0] == 5
    r.discard(second)
    assert header(second)[0] == 4090 | uapi.BPF_RINGBUF_DISCARD_BIT


def test_consumer_waits_for_the_oldest() -> None:
    r = ring()
    first = r.reserve(8)
    r.output(b"second")
    assert list(r.records()) == []
    ctypes.memmove(first, b"1st done", 8)
    r.submit(first)
    assert list(r.records()) == [b"1st done", b"second"]


def test_records_wrap_in_one_piece() -> None:
    r = ring()
    for i in range(50):
        record = bytes([i]) * 1000
        r.output(record)
        assert list(r.records()) == [record]


def test_never_quite_full(errno_of: ErrnoOf) -> None:
    r = ring()
    assert errno_of(lambda: r.output(bytes(SIZE - 8))) == errno.EAGAIN
    r.output(bytes(SIZE - 16))
    assert errno_of(lambda: r.output(b"")) == errno.EAGAIN
    assert len(list(r.records())) == 1
    r.output(b"again")


def test_pending_record_blocks_a_lap(errno_of: ErrnoOf) -> None:
    """Space behind a record that is still busy is not given out again, consumed or not."""
    r = ring()
    held = r.reserve(1000)
    r.output(bytes(2000))
    assert errno_of(lambda: r.output(bytes(2000))) == errno.EAGAIN
    r.submit(held)
    assert len(list(r.records())) == 2
    r.output(bytes(2000))


@pytest.mark.parametrize("size", [1 << 30, (1 << 32) - 1, 1 << 32, (1 << 64) - 1, SIZE])
def test_absurd_sizes(size: int) -> None:
    r = ring()
    assert r.reserve(size) == 0
    assert r.available == 0


def test_positions_and_wakeups() -> None:
    r = ring()
    r.output(b"12345678")
    assert (r.producer_pos, r.consumer_pos, r.available, r.wakeups) == (16, 0, 16, 1)
    r.output(b"x")
    assert r.wakeups == 1       # the consumer has not caught up: it will see this one anyway
    r.output(b"x", uapi.BPF_RB_FORCE_WAKEUP)
    assert r.wakeups == 2
    assert len(list(r.records())) == 3
    r.output(b"x", uapi.BPF_RB_NO_WAKEUP)
    assert r.wakeups == 2
    assert (r.producer_pos, r.consumer_pos) == (64, 48)


def test_bad_flags_and_samples(errno_of: ErrnoOf) -> None:
    r = ring()
    assert errno_of(lambda: r.output(b"x", 4)) == errno.EINVAL
    sample = r.reserve(8)
    for wrong in (0, sample + 8, sample - 8, 12345, (1 << 64) - 1):
        assert errno_of(lambda at=wrong: r.submit(at)) == errno.EINVAL     # type: ignore[misc]
    r.submit(sample)
    assert errno_of(lambda: r.submit(sample)) == errno.EINVAL


def test_mmap_as_libbpf_does(errno_of: ErrnoOf) -> None:
    r = ring()
    with r.mmap() as consumer, r.mmap(offset=4096, writable=False) as producer:
        r.output(b"abc")
        assert int.from_bytes(producer[:8], "little") == 16
        assert producer[4096:4096 + 11] == b"\3\0\0\0\3\0\0\0abc"
        consumer[:8] = (16).to_bytes(8, "little")
    assert (r.available, list(r.records())) == (0, [])
    assert errno_of(lambda: r.mmap(offset=4096)) == errno.EPERM
    assert errno_of(lambda: r.mmap(8192)) == errno.EPERM


@pytest.mark.parametrize("position", [3, 8, 4090, 12345, (1 << 64) - 1, 1 << 63])
def test_a_lying_consumer_hurts_nobody(position: int) -> None:
    r = ring()
    for _ in range(5):
        r.output(b"\xff" * 600)
    with r.mmap() as consumer:
        consumer[:8] = position.to_bytes(8, "little")
    for record in r.records():
        assert len(record) < SIZE


def test_pages_address_has_the_data_twice() -> None:
    r = ring()
    sample = r.reserve(4)
    ctypes.memmove(sample, b"twin", 4)
    data = r.pages_address + 2 * 4096
    assert sample == data + 8
    assert ctypes.string_at(data + SIZE + 8, 4) == b"twin"


def test_producers_in_threads() -> None:
    r = ring(1 << 20)

    def produce(n: int) -> None:
        for i in range(500):
            sample = r.reserve(16)
            ctypes.memmove(sample, n.to_bytes(8, "little") + i.to_bytes(8, "little"), 16)
            r.submit(sample)

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [(x[0], int.from_bytes(x[8:], "little")) for x in r.records()]
    for n in range(4):
        assert [i for who, i in seen if who == n] == list(range(500))
