"""Fields of the structs that cross bpf(2), by name (include/uapi/linux/bpf.h)."""

from __future__ import annotations

import struct
from functools import cache
from typing import NamedTuple

from anybpf.uapi_structs import STRUCTS, Member

_FORMATS = {"__u8": "<B", "__u32": "<I", "__s32": "<i", "__u64": "<Q"}


class Field(NamedTuple):
    """A field's place: first byte, byte after its end, and how to read it (None: raw bytes)."""

    start: int
    end: int
    codec: struct.Struct | None


def _field(member: Member) -> Field:
    """The place of one struct member; an array is raw bytes."""
    if member.type in _FORMATS:
        codec = struct.Struct(_FORMATS[member.type])
        return Field(member.offset, member.offset + codec.size, codec)
    length = int(member.type.removesuffix("]").split("[")[1])
    return Field(member.offset, member.offset + length, None)


@cache
def fields(name: str) -> dict[str, Field]:
    """The fields of `struct name` (or union), in its order."""
    return {m.name: _field(m) for m in STRUCTS[name].members}


class Record:
    """One struct in its own bytes: `record["field"]` is an int, or bytes for an array."""

    def __init__(self, name: str, data: bytes = b"") -> None:
        """Begins with `data`, zero-filled."""
        size = STRUCTS[name].size
        self.bytes = bytearray(data[:size].ljust(size, b"\0"))
        self._fields = fields(name)

    def __getitem__(self, name: str) -> int:
        field = self._fields[name]
        assert field.codec is not None, name
        value: int = field.codec.unpack_from(self.bytes, field.start)[0]
        return value

    def __setitem__(self, name: str, value: int | bytes) -> None:
        field = self._fields[name]
        if isinstance(value, bytes):
            self.bytes[field.start:field.end] = value.ljust(field.end - field.start, b"\0")
        else:
            assert field.codec is not None, name
            field.codec.pack_into(self.bytes, field.start, value)
