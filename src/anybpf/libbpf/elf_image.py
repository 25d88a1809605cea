"""A bounded reader of programs and shared libraries, for what probes need (tools/lib/bpf/elf.c).

Sections, loadable segments, function symbols with their versions, and notes of 32-bit and 64-bit
ELF files in either byte order. Whatever is wrong is a `LoadError` with the offset; nothing is read
beyond the file, nothing is allocated by a size that the file only claims.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from anybpf.errors import LoadError
from anybpf.libbpf.elf import SHT_NOBITS, SHT_STRTAB, ByteOrder

ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
PT_LOAD = 1
PF_X, PF_W = 1, 2
SHT_DYNSYM, SHT_NOTE, SHT_GNU_VERDEF, SHT_GNU_VERSYM = 11, 7, 0x6FFFFFFD, 0x6FFFFFFF
SHN_XINDEX = 0xFFFF
VERSION_HIDDEN = 0x8000
MAX_STRING = 4096
MAX_VERSIONS = 1 << 16


class _Layout(NamedTuple):
    """How one class of ELF files stores its headers."""

    header: str
    header_size: int
    section: str
    segment: str
    symbol: str


LAYOUTS = {
    1: _Layout("HHIIIIIHHHHHH", 52, "IIIIIIIIII", "IIIIIIII", "IIIBBH"),
    2: _Layout("HHIQQQIHHHHHH", 64, "IIQQQQIIQQ", "IIQQQQQQ", "IBBHQQ"),
}


class Section(NamedTuple):
    """One section header; `address` is where it is in memory, `offset` where in the file."""

    name: str
    type: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


class Segment(NamedTuple):
    """A loadable segment: `size` bytes of memory from `start`, from `offset` in the file."""

    start: int
    size: int
    offset: int
    flags: int

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def is_executable(self) -> bool:
        return bool(self.flags & PF_X)

    def holds(self, address: int) -> bool:
        return self.start <= address < self.end

    def file_offset(self, address: int) -> int:
        return address - self.start + self.offset


class ImageSymbol(NamedTuple):
    """A symbol; `version` is "" if it has none, `table` SHT_DYNSYM or SHT_SYMTAB."""

    name: str
    value: int
    size: int
    type: int
    bind: int
    section: int
    version: str
    table: int


class Note(NamedTuple):
    """One note: who made it, its number, its bytes; `offset` is the description's in the file."""

    owner: str
    type: int
    data: bytes
    offset: int


class ElfImage:
    """An executable or shared library taken apart. Raises LoadError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bits, self.byteorder = self._identify()
        self._prefix = "<" if self.byteorder == "little" else ">"
        self._layout = LAYOUTS[2 if self.bits == 64 else 1]
        (self.type, self.machine, _, _, self._phoff, self._shoff, _, _, self._phentsize,
         self._phnum, self._shentsize, self._shnum, self._shstrndx) = self._unpack(
             self._layout.header, 16, "ELF header")
        self.sections = self._read_sections()
        self.segments = self._read_segments()

    def _identify(self) -> tuple[int, ByteOrder]:
        ident = self.data[:16]
        if ident[:4] != b"\x7fELF":
            raise LoadError("not an ELF file (bad magic)", offset=0)
        if len(ident) < 16 or ident[4] not in LAYOUTS:
            raise LoadError("unknown ELF class", offset=4)
        if ident[5] not in (1, 2):
            raise LoadError(f"unknown ELF byte order {ident[5]}", offset=5)
        return (64 if ident[4] == 2 else 32), ("little" if ident[5] == 1 else "big")

    def _unpack(self, layout: str, offset: int, what: str) -> tuple[int, ...]:
        if offset + struct.calcsize(self._prefix + layout) > len(self.data):
            raise LoadError(f"{what} lies outside the file", offset=offset)
        return struct.unpack_from(self._prefix + layout, self.data, offset)

    def _table(self, layout: str, offset: int, count: int, stride: int,
               what: str) -> Iterator[tuple[int, ...]]:
        size = struct.calcsize(self._prefix + layout)
        if count and (stride < size or offset + count * stride > len(self.data)):
            raise LoadError(f"{count} {what} lie outside the file", offset=offset)
        return (self._unpack(layout, offset + i * stride, what) for i in range(count))

    # sections and segments

    def _read_sections(self) -> list[Section]:
        if not self._shoff:
            return []
        first = self._unpack(self._layout.section, self._shoff, "section header")
        count = self._shnum or first[5]
        names = first[6] if self._shstrndx == SHN_XINDEX else self._shstrndx
        raw = list(self._table(self._layout.section, self._shoff, count, self._shentsize,
                               "section headers"))
        if names >= count or (count and raw[names][1] not in (0, SHT_STRTAB)):
            raise LoadError(f"bad section name table index {names}", offset=self._shoff)
        strings = self._slice(raw[names][4], raw[names][5]) if count else b""
        return [Section(self._string(strings, r[0]), r[1], r[3], r[4], r[5], r[6], r[9])
                for r in raw]

    def _slice(self, offset: int, size: int, name: str = "") -> bytes:
        if offset > len(self.data) or size > len(self.data) - offset:
            raise LoadError(f"{size} bytes lie outside the file", name, offset)
        return self.data[offset:offset + size]

    @staticmethod
    def _string(strings: bytes, at: int) -> str:
        end = strings.find(b"\0", at, at + MAX_STRING)
        if at >= len(strings) or end < 0:
            raise LoadError(f"string offset {at:#x} is outside the string table")
        return strings[at:end].decode("utf-8", "backslashreplace")

    def _read_segments(self) -> list[Segment]:
        """The loadable ones, in the order of their address."""
        rows = self._table(self._layout.segment, self._phoff, self._phnum if self._phoff else 0,
                           self._phentsize, "program headers")
        found = []
        for row in rows:
            if row[0] == PT_LOAD:
                flags, offset, address, size = (
                    (row[1], row[2], row[3], row[6]) if self.bits == 64
                    else (row[6], row[1], row[2], row[5]))
                found.append(Segment(address, size, offset, flags))
        return sorted(found)

    def find(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    def contents(self, section: Section) -> bytes:
        """The section's bytes; none for one that is not in the file. Raises LoadError."""
        if section.type in (0, SHT_NOBITS):
            return b""
        return self._slice(section.offset, section.size, section.name)

    def segment_of(self, address: int) -> Segment | None:
        """The loadable segment that an address lies in."""
        return next((s for s in self.segments if s.holds(address)), None)

    # symbols

    def symbols(self, table: int) -> Iterator[ImageSymbol]:
        """The symbols of one kind of table (SHT_DYNSYM, SHT_SYMTAB), in order."""
        for section in self.sections:
            if section.type == table:
                yield from self._symbols(section)

    def _symbols(self, section: Section) -> Iterator[ImageSymbol]:
        layout = self._prefix + self._layout.symbol
        raw = self.contents(section)
        size = struct.calcsize(layout)
        if len(raw) % size or section.link >= len(self.sections):
            raise LoadError("symbol table is malformed", section.name, section.offset)
        strings = self.contents(self.sections[section.link])
        versions = self._versions if section.type == SHT_DYNSYM else []
        for index, row in enumerate(struct.iter_unpack(layout, raw)):
            name, info, shndx, value, length = (
                (row[0], row[1], row[3], row[4], row[5]) if self.bits == 64
                else (row[0], row[3], row[5], row[1], row[2]))
            version = versions[index] if index < len(versions) else ""
            yield ImageSymbol(self._string(strings, name) if name else "", value, length,
                              info & 0xF, info >> 4, shndx, version, section.type)

    @cached_property
    def _versions(self) -> list[str]:
        """The version of each dynamic symbol, by its number."""
        section = next((s for s in self.sections if s.type == SHT_GNU_VERSYM), None)
        if section is None:
            return []
        raw = self.contents(section)
        names = self._version_names
        return [names.get(number & ~VERSION_HIDDEN, "") for (number,) in
                struct.iter_unpack(self._prefix + "H", raw[:len(raw) & ~1])]

    @cached_property
    def _version_names(self) -> dict[int, str]:
        section = next((s for s in self.sections if s.type == SHT_GNU_VERDEF), None)
        if section is None or section.link >= len(self.sections):
            return {}
        raw, strings = self.contents(section), self.contents(self.sections[section.link])
        names: dict[int, str] = {}
        at = 0
        for _ in range(MAX_VERSIONS):
            if at + 20 > len(raw):
                break
            _, _, number, _, _, aux, following = struct.unpack_from(
                self._prefix + "HHHHIII", raw, at)
            if at + aux + 8 <= len(raw):
                text = struct.unpack_from(self._prefix + "I", raw, at + aux)[0]
                names.setdefault(number, self._string(strings, text))
            if not following:
                break
            at += following
        return names

    # notes

    def notes(self, section: Section) -> Iterator[Note]:
        """The notes in a section; a broken one raises LoadError."""
        raw = self.contents(section)
        at = 0
        while at + 12 <= len(raw):
            name_size, size, kind = struct.unpack_from(self._prefix + "III", raw, at)
            start = at + 12 + (name_size + 3 & ~3)
            if start + size > len(raw):
                raise LoadError("note crosses the section's end", section.name, at)
            owner = raw[at + 12:at + 12 + name_size].split(b"\0")[0]
            yield Note(owner.decode("utf-8", "backslashreplace"), kind, raw[start:start + size],
                       section.offset + start)
            at = start + (size + 3 & ~3)
