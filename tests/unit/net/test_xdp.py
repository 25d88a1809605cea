"""Frames: what lies in the first page, and what in fragments."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest

from anybpf.net.xdp import LAYOUT, MAX_LINEAR, XdpBuff


def test_a_small_frame_is_linear() -> None:
    frame = XdpBuff(b"meta" + bytes(range(60)), 4)
    assert (frame.meta, frame.linear_size, frame.frags_size) == (4, 64, 0)
    assert bytes(frame) == b"meta" + bytes(range(60))
    assert (frame.ingress_ifindex, frame.rx_queue_index) == (1, 0)


@pytest.mark.parametrize("size", [MAX_LINEAR, MAX_LINEAR + 1, 8000, 60000])
def test_a_long_frame_has_fragments_of_a_page(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    frame = XdpBuff(data)
    assert bytes(frame) == data
    assert frame.linear_size == min(size, MAX_LINEAR)
    assert sum(frame.fragment_sizes) == size - frame.linear_size
    assert all(n == 4096 for n in frame.fragment_sizes[:-1])


def test_the_caller_may_ask_for_a_short_linear_part() -> None:
    frame = XdpBuff(bytes(100), 0, 20)
    assert (frame.linear_size, frame.fragment_sizes) == (20, [80])


def test_an_empty_frame() -> None:
    assert bytes(XdpBuff(b"")) == b""


@pytest.mark.parametrize(("size", "meta"), [(10, 11), (300, 220)])
def test_metadata_must_fit(size: int, meta: int) -> None:
    with pytest.raises(ValueError, match="metadata"):
        XdpBuff(bytes(size), meta)


def test_devices_are_kept() -> None:
    frame = XdpBuff(bytes(20), 0, None, array("I", [1, 7]), ingress_ifindex=7, rx_queue_index=2)
    assert (frame.ingress_ifindex, frame.rx_queue_index) == (7, 2)


def test_members_do_not_overlap() -> None:
    ends = sorted((offset, offset + size) for offset, size in LAYOUT.values())
    assert all(a[1] <= b[0] for a, b in pairwise(ends))
