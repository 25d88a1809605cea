"""Executables built by hand: sections, segments, symbols and notes in their place."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Literal

from anybpf.libbpf import elf_image as i

Shape = tuple[int, Literal["<", ">"]]
SHAPES: list[Shape] = [(64, "<"), (64, ">"), (32, "<"), (32, ">")]
PROGBITS, STRTAB = 1, 3


def usdt_note(shape: Shape, address: int, base: int, semaphore: int, *texts: str) -> bytes:
    """One note of section .note.stapsdt."""
    words = struct.pack(shape[1] + ("3Q" if shape[0] == 64 else "3I"), address, base, semaphore)
    data = words + b"".join(t.encode() + b"\0" for t in texts)
    head = struct.pack(shape[1] + "3I", 8, len(data), 3) + b"stapsdt\0"
    return head + data.ljust(-(-len(data) // 4) * 4, b"\0")


@dataclass
class ImageBuilder:
    """`section()` gives each its number; `to_bytes()` lays the file out."""

    shape: Shape = (64, "<")
    machine: int = 62
    kind: int = i.ET_DYN
    segments: list[i.Segment] = field(default_factory=list)
    sections: list[tuple[str, int, int, int, bytes, int]] = field(default_factory=list)

    def section(self, name: str, data: bytes, kind: int = PROGBITS, address: int = 0,
                offset: int = 0, link: int = 0) -> int:
        """Add a section; `offset` 0 lets the builder place its bytes."""
        self.sections.append((name, kind, address, offset, data, link))
        return len(self.sections)

    def symbols(self, table: int, *rows: tuple[str, int, int, int, int]) -> int:
        """A symbol table of (name, value, type, bind, section), with the empty one in front."""
        names = b"\0" + b"".join(r[0].encode() + b"\0" for r in rows)
        strings = self.section(".strings", names, STRTAB)
        raw, at = self._symbol(0, 0, 0, 0, 0), 1
        for name, value, kind, bind, section in rows:
            raw += self._symbol(at, value, kind, bind, section)
            at += len(name) + 1
        return self.section(".symbols", raw, table, link=strings)

    def _symbol(self, name: int, value: int, kind: int, bind: int, section: int) -> bytes:
        if self.shape[0] == 64:
            return struct.pack(self.shape[1] + "IBBHQQ", name, kind | bind << 4, 0, section,
                               value, 8)
        return struct.pack(self.shape[1] + "IIIBBH", name, value, 8, kind | bind << 4, 0, section)

    def versions(self, numbers: list[int], names: dict[int, str]) -> None:
        """Version number of each symbol, and what the numbers are called."""
        raw = struct.pack(f"{self.shape[1]}{len(numbers)}H", *numbers)
        self.section(".gnu.version", raw, i.SHT_GNU_VERSYM)
        texts = b"\0" + b"".join(n.encode() + b"\0" for n in names.values())
        strings = self.section(".vernames", texts, STRTAB)
        data, at = b"", 1
        for place, (number, name) in enumerate(names.items()):
            following = 28 if place < len(names) - 1 else 0
            data += struct.pack(self.shape[1] + "HHHHIII", 1, 0, number, 1, 0, 20, following)
            data += struct.pack(self.shape[1] + "II", at, 0)
            at += len(name) + 1
        self.section(".gnu.version_d", data, i.SHT_GNU_VERDEF, link=strings)

    def to_bytes(self) -> bytes:
        bits, prefix = self.shape
        wide = bits == 64
        head_size, segment_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
        names = b"\0" + b"".join(s[0].encode() + b"\0" for s in self.sections) + b".names\0"
        rows = [*self.sections, (".names", STRTAB, 0, 0, names, 0)]
        at = head_size + segment_size * len(self.segments)
        body, headers, name_at = b"", bytes(section_size), 1
        layout = prefix + ("IIQQQQIIQQ" if wide else "10I")
        for name, kind, address, offset, data, link in rows:
            place = offset or at + len(body)
            headers += struct.pack(layout, name_at, kind, 0, address, place, len(data), link, 0,
                                   1, 0)
            body += b"" if offset else data
            name_at += len(name) + 1
        table = at + len(body)
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if prefix == "<" else 2, 1]) + bytes(9)
        head = struct.pack(prefix + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), self.kind,
                           self.machine, 1, 0, head_size, table, 0, head_size, segment_size,
                           len(self.segments), section_size, len(rows) + 1, len(rows))
        return ident + head + self._segment_headers() + body + headers

    def _segment_headers(self) -> bytes:
        bits, prefix = self.shape
        return b"".join(
            struct.pack(prefix + "IIQQQQQQ", i.PT_LOAD, s.flags, s.offset, s.start, 0, s.size,
                        s.size, 0) if bits == 64 else
            struct.pack(prefix + "8I", i.PT_LOAD, s.offset, s.start, 0, s.size, s.size, s.flags, 0)
            for s in self.segments)
