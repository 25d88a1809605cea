"""The headers of .BTF and .BTF.ext, and their section bounds (include/uapi/linux/btf.h)."""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from anybpf import uapi
from anybpf.errors import LoadError

ByteOrder = Literal["little", "big"]
PREFIX: dict[ByteOrder, str] = {"little": "<", "big": ">"}

#: magic u16, version u8, flags u8, header length u32
COMMON = "HBBI"
COMMON_SIZE = 8
#: .BTF: offset and length of the types, then of the strings
BTF_HEADER_SIZE = COMMON_SIZE + 16


class Header(NamedTuple):
    """What both headers begin with."""

    byteorder: ByteOrder
    version: int
    flags: int
    size: int


def detect(data: bytes, section: str) -> ByteOrder:
    """The byte order that the magic number says; LoadError if there is none."""
    if len(data) < COMMON_SIZE:
        raise LoadError("header is cut short", section, len(data))
    for order in PREFIX:
        if int.from_bytes(data[:2], order) == uapi.BTF_MAGIC:
            return order
    raise LoadError(f"bad magic {int.from_bytes(data[:2], 'little'):#x}", section, 0)


def read(data: bytes, section: str) -> Header:
    """The common header, checked: version 1, no flags, wholly there, unknown tail all zero."""
    order = detect(data, section)
    _, version, flags, size = struct.unpack_from(PREFIX[order] + COMMON, data)
    if version != uapi.BTF_VERSION:
        raise LoadError(f"unsupported version {version}", section, 2)
    if flags:
        raise LoadError(f"unsupported flags {flags:#x}", section, 3)
    if not COMMON_SIZE <= size <= len(data):
        raise LoadError(f"bad header length {size}", section, 4)
    return Header(order, version, flags, size)


def refuse_tail(data: bytes, header: Header, known: int, section: str) -> None:
    """A header longer than we know is fine as long as the unknown part is zero."""
    tail = data[known : header.size]
    if any(tail):
        raise LoadError("unknown header fields are set", section, known)
