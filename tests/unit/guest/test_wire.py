"""Frames: what is packed is what the agent reads, what it answers is what is unpacked."""

from __future__ import annotations

import struct

import pytest

from guest import wire
from guest.wire import Call, Patch, Result, Segment


def test_a_request_is_laid_out_as_agent_c_reads_it() -> None:
    target, place = Segment(b"abc", answered=True), Segment(b"\0" * 8)
    frame = wire.request([Call(7, [1, place, Result(0)], [target], [Patch(place, 0, target)])], 512)
    assert wire.HEAD.unpack_from(frame) == (wire.MAGIC, wire.CALLS, len(frame) - 24, 512)
    body = frame[24:]
    assert struct.unpack_from("<Q4I", body) == (1, 7, 2, 1, 0)
    arguments = [struct.unpack_from("<IIQ", body, 24 + 16 * i) for i in range(6)]
    assert arguments == [(0, 0, 1), (1, 0, 1), (2, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    assert struct.unpack_from("<QIIQII", body, 120) == (3, 1 | 2, 0, 8, 1, 0)
    assert struct.unpack_from("<IIQQ", body, 152) == (1, 1, 0, 0)
    assert body[176:] == b"abc" + bytes(5) + bytes(8)


@pytest.mark.parametrize(("flags", "number"), [
    ({}, 0), ({"answered": True}, 2), ({"answered": True, "string": True}, 6),
    ({"answered": True, "counted": True}, 10)])
def test_flags_of_memory_that_is_made_there(flags: dict[str, bool], number: int) -> None:
    assert wire.SEGMENT.unpack(Segment(size=5, **flags).head()) == (5, number, 0)


def test_negative_arguments_are_64_bits() -> None:
    assert struct.pack("<Q", (1 << 64) - 1) in wire.request([Call(1, [-1])], 0)


def test_answers_come_in_the_order_of_calls() -> None:
    first, silent, second = Segment(b"x", answered=True), Segment(b"y"), Segment(size=9,
                                                                                 answered=True)
    calls = [Call(1, [first, silent]), Call(2, [second])]
    body = struct.pack("<qQ2sqQ", -22, 2, b"ab", 5, 0)
    found = list(wire.answers(calls, body))
    assert [(a.value, list(a.memory.values())) for a in found] == [(-22, [b"ab"]), (5, [b""])]


def test_a_frame_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="too long"):
        wire.request([Call(1, [Segment(bytes(wire.BOX))])], 0)
