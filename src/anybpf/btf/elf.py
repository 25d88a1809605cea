"""One section of an ELF file, found by name (tools/lib/bpf/btf.c, btf_parse_elf).

Files of 32 and 64 bits in either byte order: an object, a module, all of a kernel. Only the section
headers, their names and the one section are read; what lies outside the file is a LoadError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from anybpf.errors import LoadError

MAGIC = b"\x7fELF"
SHT_NOBITS = 8
XINDEX = 0xFFFF
#: class -> (place and layout of shoff; place of shentsize, shnum, shstrndx; a section header)
LAYOUTS = {1: (32, "I", 46, "10I"), 2: (40, "Q", 58, "IIQQQQIIQQ")}


class Header(NamedTuple):
    """A section header: `name` is an offset into the table of names."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


def find_section(data: bytes, name: str) -> bytes | None:
    """The bytes of the first section called `name`, None if there is none. Raises LoadError."""
    names, headers = _read_headers(data)
    wanted = name.encode() + b"\0"
    for header in headers:
        if names.startswith(wanted, header.name):
            return b"" if header.type == SHT_NOBITS else _slice(data, header, name)
    return None


def _read_headers(data: bytes) -> tuple[bytes, Iterator[Header]]:
    """The table of names, and the headers of all sections."""
    if not data.startswith(MAGIC) or len(data) < 52 or data[4] not in LAYOUTS \
            or data[5] not in (1, 2):
        raise LoadError("broken ELF file: bad header", offset=0)
    prefix = "<" if data[5] == 1 else ">"
    place, word, counts, layout = LAYOUTS[data[4]]
    start = _unpack(data, prefix + word, place)[0]
    stride, count, names = _unpack(data, prefix + "3H", counts)
    if not start:
        return b"", iter(())
    first = Header(*_unpack(data, prefix + layout, start))
    count = count or first.size
    names = first.link if names == XINDEX else names
    size = struct.calcsize(prefix + layout)
    if stride < size or start + count * stride > len(data) or names >= count:
        raise LoadError(f"broken ELF file: {count} section headers lie outside it", offset=start)
    strings = Header(*_unpack(data, prefix + layout, start + names * stride))
    return _slice(data, strings, "section names"), (
        Header(*_unpack(data, prefix + layout, start + i * stride)) for i in range(1, count))


def _unpack(data: bytes, layout: str, offset: int) -> tuple[int, ...]:
    if offset + struct.calcsize(layout) > len(data):
        raise LoadError("broken ELF file: headers lie outside it", offset=offset)
    return struct.unpack_from(layout, data, offset)


def _slice(data: bytes, header: Header, name: str) -> bytes:
    if header.offset + header.size > len(data):
        raise LoadError(f"broken ELF file: {header.size} bytes lie outside it", name,
                        header.offset)
    return data[header.offset:header.offset + header.size]
