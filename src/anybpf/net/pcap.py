"""Packet captures: pcap and pcapng read, pcap written (IETF draft-gharris-opsawg-pcap, -pcapng).

Microsecond and nanosecond files, both byte orders. Reading is lazy: one packet at a time from
a memory map, so that a capture may be larger than memory.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from anybpf.errors import LoadError, reading

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
#: no sane capture holds a longer packet; a length above it means a broken file
MAX_PACKET = 16 * 1024 * 1024

#: first four bytes -> (byte order, nanoseconds per timestamp fraction)
PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
BLOCK_SECTION, BLOCK_INTERFACE, BLOCK_PACKET, BLOCK_SIMPLE, BLOCK_ENHANCED = (
    0x0A0D0D0A, 1, 2, 3, 6)
OPTION_TSRESOL, OPTION_TSOFFSET = 9, 14
SECTION_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


class Packet(NamedTuple):
    """One captured packet: `time_ns` since the epoch, `wire_len` its length on the wire."""

    data: bytes
    time_ns: int
    wire_len: int
    linktype: int


class Interface(NamedTuple):
    """What a pcapng interface block says: timestamps count 1/`units` s from `offset_s`."""

    linktype: int
    snaplen: int
    units: int
    offset_s: int


def fail(message: str, offset: int) -> LoadError:
    return LoadError(message, offset=offset)


def read(path: str | Path) -> Iterator[Packet]:
    """The packets of the capture file `path`, in order. Raises LoadError on a malformed file."""
    with reading(path), open(path, "rb") as file, mapped(file) as view:
        yield from packets(view)


def mapped(file: BinaryIO) -> mmap.mmap:
    if not file.read(1):
        raise fail("empty file", 0)
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        raise fail("a pipe or device, not a regular file", 0) from None


def packets(view: bytes | mmap.mmap) -> Iterator[Packet]:
    """The packets of a capture in memory."""
    magic = bytes(view[:4])
    if magic in PCAP_MAGIC:
        return pcap_packets(view, *PCAP_MAGIC[magic])
    if magic == b"\x0a\x0d\x0d\x0a":
        return pcapng_packets(view)
    raise fail(f"neither pcap nor pcapng (starts with {magic.hex()})", 0)


def pcap_packets(view: bytes | mmap.mmap, order: str, unit_ns: int) -> Iterator[Packet]:
    if len(view) < 24:
        raise fail("file header cut short", len(view))
    linktype = struct.unpack_from(order + "I", view, 20)[0] & 0x0FFF_FFFF
    record = struct.Struct(order + "IIII")
    at = 24
    while at < len(view):
        if at + 16 > len(view):
            raise fail("packet header cut short", at)
        seconds, fraction, length, wire_len = record.unpack_from(view, at)
        data = body(view, at + 16, length)
        yield Packet(data, seconds * 1_000_000_000 + fraction * unit_ns, wire_len, linktype)
        at += 16 + length


def body(view: bytes | mmap.mmap, at: int, length: int) -> bytes:
    if length > MAX_PACKET or at + length > len(view):
        raise fail(f"packet of {length} bytes runs past the end", at)
    return bytes(view[at : at + length])


def pcapng_packets(view: bytes | mmap.mmap) -> Iterator[Packet]:
    order, interfaces = "<", list[Interface]()
    at = 0
    while at < len(view):
        if bytes(view[at : at + 4]) == b"\x0a\x0d\x0d\x0a":
            order, interfaces = section_order(view, at), []
        kind, length = block_header(view, at, order)
        content = bytes(view[at + 8 : at + length - 4])
        if kind == BLOCK_INTERFACE:
            interfaces.append(interface(content, order, at))
        elif kind in PACKET_BLOCKS:
            yield PACKET_BLOCKS[kind](content, order, interfaces, at)
        at += length


def section_order(view: bytes | mmap.mmap, at: int) -> str:
    order = SECTION_ORDER.get(bytes(view[at + 8 : at + 12]))
    if order is None:
        raise fail("section header without a byte-order magic", at + 8)
    return order


def block_header(view: bytes | mmap.mmap, at: int, order: str) -> tuple[int, int]:
    if at + 12 > len(view):
        raise fail("block header cut short", at)
    kind, length = struct.unpack_from(order + "II", view, at)
    if length < 12 or length % 4 or at + length > len(view):
        raise fail(f"block of {length} bytes", at)
    return kind, length


def interface(content: bytes, order: str, at: int) -> Interface:
    if len(content) < 8:
        raise fail("interface block cut short", at)
    linktype, _, snaplen = struct.unpack_from(order + "HHI", content)
    options = dict(block_options(content[8:], order))
    resolution = options.get(OPTION_TSRESOL, b"\x06")[:1] or b"\x06"
    exponent = resolution[0] & 0x7F
    units = 2**exponent if resolution[0] & 0x80 else 10**exponent
    offset = options.get(OPTION_TSOFFSET, b"")
    seconds = struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0
    return Interface(linktype, snaplen, units, seconds)


def block_options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def enhanced(content: bytes, order: str, interfaces: list[Interface], at: int) -> Packet:
    number, high, low, length, wire_len = fields(content, order + "IIIII", at)
    return captured(content, 20, (high << 32) | low, length, wire_len, number, interfaces, at)


def obsolete(content: bytes, order: str, interfaces: list[Interface], at: int) -> Packet:
    number, _, high, low, length, wire_len = fields(content, order + "HHIIII", at)
    return captured(content, 20, (high << 32) | low, length, wire_len, number, interfaces, at)


def simple(content: bytes, order: str, interfaces: list[Interface], at: int) -> Packet:
    (wire_len,) = fields(content, order + "I", at)
    snaplen = interfaces[0].snaplen if interfaces else 0
    length = min(wire_len, snaplen or wire_len, len(content) - 4)
    return captured(content, 4, 0, length, wire_len, 0, interfaces, at)


PACKET_BLOCKS: dict[int, Callable[[bytes, str, list[Interface], int], Packet]] = {
    BLOCK_ENHANCED: enhanced, BLOCK_PACKET: obsolete, BLOCK_SIMPLE: simple}


def fields(content: bytes, layout: str, at: int) -> tuple[int, ...]:
    if len(content) < struct.calcsize(layout):
        raise fail("packet block cut short", at)
    return struct.unpack_from(layout, content)


def captured(content: bytes, start: int, stamp: int, length: int, wire_len: int, number: int,
             interfaces: list[Interface], at: int) -> Packet:
    if number >= len(interfaces):
        raise fail(f"packet of interface {number}, which no block describes", at)
    if start + length > len(content):
        raise fail(f"packet of {length} bytes runs past its block", at)
    card = interfaces[number]
    time_ns = stamp * 1_000_000_000 // card.units + card.offset_s * 1_000_000_000
    return Packet(content[start : start + length], time_ns, wire_len, card.linktype)


class Writer:
    """Writes a nanosecond pcap file; use as a context manager."""

    def __init__(self, path: str | Path, linktype: int = LINKTYPE_ETHERNET) -> None:
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._file.write(struct.pack("<IHHiIII", 0xA1B2_3C4D, 2, 4, 0, 0, 262_144, linktype))

    def write(self, data: bytes, time_ns: int, wire_len: int | None = None) -> None:
        """Append one packet; `wire_len` is its original length if it was cut."""
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        length = len(data)
        self._file.write(struct.pack("<IIII", seconds, fraction, length, wire_len or length))
        self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
