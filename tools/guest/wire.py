"""Frames between a client and the agent in the guest (agent.c has the same layout).

A frame is a head (magic, kind, length, nonce) and so many bytes. A request holds calls; a call is
its number, six arguments, the segments of memory that it needs, and patches: places in segments
where an address of another segment belongs, or the result of an earlier call of the same frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAGIC = 0x3F667062
HELLO, CALLS, DIED = 1, 2, 3
VERSION = 1
#: no frame is longer
BOX = 256 << 20

HEAD = struct.Struct("<IIQQ")
COUNT = struct.Struct("<Q")
CALL = struct.Struct("<4I")
ARGUMENT = struct.Struct("<IIQ")
SEGMENT = struct.Struct("<QII")
PATCH = struct.Struct("<IIQQ")
RESULT = struct.Struct("<q")

_VALUE, _SEGMENT, _RESULT = 0, 1, 2
_SENT, _ANSWERED, _STRING, _COUNTED = 1, 2, 4, 8
ARGUMENTS = 6
U64 = (1 << 64) - 1


@dataclass(eq=False)
class Segment:
    """Memory of a call: `data` is sent, or `size` zero bytes are made there.

    `answered`: it comes back; `string`: up to its first zero byte only; `counted`: as many bytes
    as the call's result says.
    """

    data: bytes = b""
    size: int = -1
    answered: bool = False
    string: bool = False
    counted: bool = False

    def __post_init__(self) -> None:
        if self.size < 0:
            self.size = len(self.data)

    def head(self) -> bytes:
        flags = ((_SENT, bool(self.data)), (_ANSWERED, self.answered), (_STRING, self.string),
                 (_COUNTED, self.counted))
        return SEGMENT.pack(self.size, sum(flag for flag, is_set in flags if is_set), 0)

    def body(self) -> bytes:
        return self.data.ljust((len(self.data) + 7) & ~7, b"\0")


class Result(NamedTuple):
    """In place of a number: what number `call` of the same frame answered."""

    call: int


class Patch(NamedTuple):
    """At `offset` of `segment` belongs the address of a segment (8 bytes) or a result (4)."""

    segment: Segment
    offset: int
    value: Segment | Result


@dataclass(eq=False)
class Call:
    """One system call; an argument is a number, a segment of `segments`, or a result."""

    number: int
    arguments: Sequence[int | Segment | Result]
    segments: list[Segment] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)

    def __post_init__(self) -> None:
        for argument in self.arguments:
            if isinstance(argument, Segment) and argument not in self.segments:
                self.segments.append(argument)

    def packed(self) -> Iterator[bytes]:
        """The pieces of the call as the agent reads it."""
        places = {segment: place for place, segment in enumerate(self.segments)}
        yield CALL.pack(self.number, len(self.segments), len(self.patches), 0)
        for argument in [*self.arguments, *[0] * ARGUMENTS][:ARGUMENTS]:
            kind, value = _kind(argument, places)
            yield ARGUMENT.pack(kind, 0, value)
        yield from (segment.head() for segment in self.segments)
        for patch in self.patches:
            kind, value = _kind(patch.value, places)
            yield PATCH.pack(places[patch.segment], kind, patch.offset, value)
        yield from (segment.body() for segment in self.segments)


def _kind(value: int | Segment | Result, places: dict[Segment, int]) -> tuple[int, int]:
    if isinstance(value, Segment):
        return _SEGMENT, places[value]
    if isinstance(value, Result):
        return _RESULT, value.call
    return _VALUE, value & U64


class Answer(NamedTuple):
    """What a call returned (a negative error number where it failed) and its answered segments."""

    value: int
    memory: dict[Segment, bytes]


def request(calls: Sequence[Call], nonce: int) -> bytes:
    """The frame that asks for all of `calls`, in their order."""
    body = b"".join((COUNT.pack(len(calls)), *(piece for call in calls for piece in call.packed())))
    if len(body) > BOX:
        raise ValueError(f"a frame of {len(body)} bytes is too long for the guest")
    return HEAD.pack(MAGIC, CALLS, len(body), nonce) + body


def answers(calls: Iterable[Call], body: bytes) -> Iterator[Answer]:
    """The answers to the calls of one request."""
    at = 0
    for call in calls:
        value = RESULT.unpack_from(body, at)[0]
        at += RESULT.size
        memory = {}
        for segment in call.segments:
            if segment.answered:
                size = COUNT.unpack_from(body, at)[0]
                at += COUNT.size
                memory[segment] = body[at:at + size]
                at += size
        yield Answer(value, memory)
