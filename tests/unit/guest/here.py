"""A guest that is this very process: frames go through the wire's form and are played here."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from guest import remote, wire

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


class Here(remote.Remote):
    """Plays what `request` packs as the agent does; no other process is asked."""

    def __init__(self) -> None:
        self._later: list[wire.Call] = []
        self.files: dict[int, object] = {}
        self.frames = 0

    def calls(self, wanted: list[wire.Call]) -> list[wire.Answer]:  # type: ignore[override]
        calls, self._later = [*self._later, *wanted], []
        self.frames += 1
        frame = wire.request(calls, 256)
        magic, kind, length, _ = wire.HEAD.unpack_from(frame)
        body = frame[wire.HEAD.size:]
        assert (magic, kind, length) == (wire.MAGIC, wire.CALLS, len(body))
        found = list(wire.answers(calls, b"".join(played(body))))
        return found[len(calls) - len(wanted):]


def played(body: bytes) -> Iterator[bytes]:
    """The answer's body to a request's."""
    at, results = 8, []
    for _ in range(struct.unpack_from("<Q", body)[0]):
        number, segments, patches, _ = struct.unpack_from("<4I", body, at)
        arguments = [struct.unpack_from("<IIQ", body, at + 16 + 16 * i) for i in range(6)]
        at += 16 + 6 * 16
        heads = [struct.unpack_from("<QII", body, at + 16 * i) for i in range(segments)]
        at += 16 * segments
        fixes = [struct.unpack_from("<IIQQ", body, at + 24 * i) for i in range(patches)]
        at += 24 * patches
        memory = []
        for size, flags, _ in heads:
            memory.append(ctypes.create_string_buffer(max(size, 1)))
            if flags & 1:
                ctypes.memmove(memory[-1], body[at:at + size], size)
                at += (size + 7) & ~7
        where = [ctypes.addressof(m) for m in memory]
        for segment, kind, offset, value in fixes:
            data = (results[value] & 0xFFFFFFFF).to_bytes(4, "little") if kind == 2 \
                else where[value].to_bytes(8, "little")
            ctypes.memmove(where[segment] + offset, data, len(data))
        given = [where[value] if kind == 1 else results[value] if kind == 2 else value
                 for kind, _, value in arguments]
        results.append(syscall(number, given))
        yield struct.pack("<q", results[-1])
        for (size, flags, _), held in zip(heads, memory, strict=True):
            if flags & 2:
                data = cut(held.raw[:size], flags, results[-1])
                yield struct.pack("<Q", len(data)) + data
    assert at == len(body)


def cut(data: bytes, flags: int, result: int) -> bytes:
    """As much of a segment as is answered."""
    if flags & 8:
        return data[:max(result, 0)]
    return data[:data.find(b"\0") + 1 or None] if flags & 4 else data


def syscall(number: int, arguments: list[int]) -> int:
    """The answer, or the negative error number."""
    if number == remote.GETPID:
        return os.getpid()
    ctypes.set_errno(0)
    answer = int(LIBC.syscall(ctypes.c_long(number), *(ctypes.c_ulong(a) for a in arguments)))
    return -ctypes.get_errno() if answer == -1 else answer
