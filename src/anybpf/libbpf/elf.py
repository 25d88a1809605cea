"""A bounded reader of relocatable BPF ELF files (tools/lib/bpf/elf.c).

Only what a loader needs: sections, symbols and relocations of 64-bit files in either byte order.
Nothing is read beyond the file, nothing is allocated by a size that the file only claims, and
whatever is wrong is a `LoadError` with the section and the offset in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from anybpf.errors import LoadError

ByteOrder = Literal["little", "big"]

EM_NONE, EM_BPF = 0, 247
ET_REL = 1
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 3, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_COMPRESSED = 1, 2, 4, 0x800
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = 0, 1, 2, 3, 4
STV_DEFAULT, STV_INTERNAL, STV_HIDDEN = 0, 1, 2
R_BPF_NONE, R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_ABS32 = 0, 1, 2, 3
R_BPF_64_NODYLD32, R_BPF_64_32 = 4, 10

RELOC_NAMES = {
    R_BPF_NONE: "R_BPF_NONE", R_BPF_64_64: "R_BPF_64_64", R_BPF_64_ABS64: "R_BPF_64_ABS64",
    R_BPF_64_ABS32: "R_BPF_64_ABS32", R_BPF_64_NODYLD32: "R_BPF_64_NODYLD32",
    R_BPF_64_32: "R_BPF_64_32",
}
HEADER = "16sHHIQQQIHHHHHH"
HEADER_SIZE, SECTION_SIZE, SYMBOL_SIZE, REL_SIZE = 64, 64, 24, 16


class Symbol(NamedTuple):
    """One symbol: `section` is a section index (or SHN_*), `value` an offset into it in bytes."""

    number: int
    name: str
    value: int
    size: int
    type: int
    bind: int
    visibility: int
    section: int

    @property
    def is_extern(self) -> bool:
        """A named symbol that another file or the kernel must provide."""
        return (self.section == SHN_UNDEF and self.bind in (STB_GLOBAL, STB_WEAK)
                and self.type == STT_NOTYPE)

    @property
    def is_weak(self) -> bool:
        return self.bind == STB_WEAK


class Relocation(NamedTuple):
    """One entry of a SHT_REL section: byte `offset` in the target section, type, symbol."""

    offset: int
    type: int
    symbol: Symbol


@dataclass
class Section:
    """One section header; `data` is a view of the file (empty for SHT_NOBITS)."""

    index: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int
    data: memoryview = field(repr=False)

    @property
    def is_code(self) -> bool:
        return self.type == SHT_PROGBITS and bool(self.flags & SHF_EXECINSTR)

    def error(self, message: str, offset: int | None = None) -> LoadError:
        """A LoadError that names this section; `offset` counts bytes from its start."""
        return LoadError(message, self.name or f"#{self.index}", offset)


class ElfFile:
    """An ELF file taken apart: `sections`, `symbols`, `relocations(section)`.

    Raises LoadError for anything that is not a well-formed 64-bit relocatable BPF file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.byteorder: ByteOrder = self._identify()
        self._prefix = "<" if self.byteorder == "little" else ">"
        header = struct.unpack_from(self._prefix + HEADER, data)
        (_, self.type, self.machine, _, _, _, self._shoff, _, _, _, _, self._shentsize,
         self._shnum, self._shstrndx) = header
        self._check_header()
        self.sections = self._read_sections()
        self._symbol_table = self._find_symbol_table()
        self.symbols = self._read_symbols()

    def _identify(self) -> ByteOrder:
        ident = bytes(self.data[:HEADER_SIZE])
        if ident[:4] != b"\x7fELF":
            raise LoadError("not an ELF file (bad magic)", offset=0)
        if len(ident) < HEADER_SIZE:
            raise LoadError(f"truncated ELF header ({len(ident)} bytes)", offset=0)
        if ident[4] != 2:
            raise LoadError("not a 64-bit ELF file", offset=4)
        if ident[5] not in (1, 2):
            raise LoadError(f"unknown ELF byte order {ident[5]}", offset=5)
        return "little" if ident[5] == 1 else "big"

    def _check_header(self) -> None:
        if self.type != ET_REL:
            raise LoadError(f"not a relocatable object (ELF type {self.type})", offset=16)
        if self.machine not in (EM_NONE, EM_BPF):
            raise LoadError(f"not a BPF object (ELF machine {self.machine})", offset=18)
        if self._shoff == 0:
            raise LoadError("no section headers", offset=40)
        if self._shentsize != SECTION_SIZE:
            raise LoadError(f"bad section header size {self._shentsize}", offset=58)

    # sections

    def _raw_section(self, index: int) -> tuple[int, ...]:
        return struct.unpack_from(self._prefix + "IIQQQQIIQQ", self.data,
                                  self._shoff + index * SECTION_SIZE)

    def _section_count(self) -> tuple[int, int]:
        """Number of sections and index of their string table; section 0 holds large ones."""
        if self._shoff + SECTION_SIZE > len(self.data):
            raise LoadError("section headers lie outside the file", offset=self._shoff)
        first = self._raw_section(0)
        count = self._shnum or first[5]
        names = first[6] if self._shstrndx == SHN_XINDEX else self._shstrndx
        if self._shoff + count * SECTION_SIZE > len(self.data):
            raise LoadError(f"{count} section headers lie outside the file", offset=self._shoff)
        return count, names

    def _read_sections(self) -> list[Section]:
        count, names = self._section_count()
        raw = [self._raw_section(i) for i in range(count)]
        if not 0 < names < count or raw[names][1] != SHT_STRTAB:
            raise LoadError(f"bad section name table index {names}", offset=62)
        strings = self._contents("section names", raw[names])
        return [self._section(i, r, strings) for i, r in enumerate(raw)]

    def _section(self, index: int, raw: tuple[int, ...], strings: memoryview) -> Section:
        name = self._string(strings, raw[0], f"#{index}") if index else ""
        data = self._contents(name, raw)
        return Section(index, name, raw[1], raw[2], raw[4], raw[5], raw[6], raw[7], raw[9], data)

    def _contents(self, name: str, raw: tuple[int, ...]) -> memoryview:
        kind, offset, size = raw[1], raw[4], raw[5]
        if kind in (0, SHT_NOBITS):
            return self.data[:0]
        if offset > len(self.data) or size > len(self.data) - offset:
            raise LoadError(f"{size} bytes lie outside the file", name, offset)
        return self.data[offset:offset + size]

    def _string(self, strings: memoryview, at: int, where: str) -> str:
        """The NUL-terminated string at `at`; names over 4096 bytes are refused."""
        if at >= len(strings):
            raise LoadError(f"string offset {at:#x} is outside the string table", where)
        piece = bytes(strings[at:at + 4097])
        end = piece.find(b"\0")
        if end < 0:
            raise LoadError("string without end or over 4096 bytes", where, at)
        return piece[:end].decode("utf-8", "backslashreplace")

    def find(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    # symbols

    def _find_symbol_table(self) -> Section | None:
        tables = [s for s in self.sections if s.type == SHT_SYMTAB]
        if len(tables) > 1:
            raise tables[1].error("more than one symbol table")
        return tables[0] if tables else None

    def _read_symbols(self) -> list[Symbol]:
        table = self._symbol_table
        if table is None:
            return []
        if table.size % SYMBOL_SIZE:
            raise table.error(f"size {table.size} is not a multiple of {SYMBOL_SIZE}")
        if not 0 < table.link < len(self.sections):
            raise table.error(f"bad string table index {table.link}")
        strings = self.sections[table.link].data
        rows = self._rows("IBBHQQ", table)
        return [self._symbol(i, row, strings) for i, row in enumerate(rows)]

    def _rows(self, layout: str, table: Section) -> Iterator[tuple[int, ...]]:
        # a copy: an unfinished iter_unpack over a memoryview, caught in a cycle with an exception,
        # crashes the garbage collector of CPython 3.11
        return struct.iter_unpack(self._prefix + layout, bytes(table.data))

    def _symbol(self, index: int, row: tuple[int, ...], strings: memoryview) -> Symbol:
        name, info, other, section, value, size = row
        text = self._string(strings, name, self._symtab_name) if name else ""
        if len(self.sections) <= section < SHN_LORESERVE:
            raise LoadError(f"symbol '{text}' is in section {section} which does not exist",
                            self._symtab_name, index * SYMBOL_SIZE)
        if info & 0xF == STT_SECTION and section < len(self.sections):
            text = text or self.sections[section].name
        return Symbol(index, text, value, size, info & 0xF, info >> 4, other & 3, section)

    @property
    def _symtab_name(self) -> str:
        return self._symbol_table.name if self._symbol_table else ".symtab"

    # relocations

    def relocations(self, section: Section) -> list[Relocation]:
        """All relocations that apply to `section`, in order of their offset."""
        found: list[Relocation] = []
        for table in self.sections:
            if table.info == section.index and table.type in (SHT_REL, SHT_RELA):
                found += self._read_relocations(table, section)
        return sorted(found, key=lambda r: r.offset)

    def _read_relocations(self, table: Section, target: Section) -> list[Relocation]:
        if table.type == SHT_RELA:
            raise table.error("relocations with addend (RELA) are not used by BPF")
        if table.size % REL_SIZE:
            raise table.error(f"size {table.size} is not a multiple of {REL_SIZE}")
        rows = self._rows("QQ", table)
        return [self._relocation(table, target, i, *row) for i, row in enumerate(rows)]

    def _relocation(self, table: Section, target: Section, index: int, offset: int,
                    info: int) -> Relocation:
        kind, symbol = info & 0xFFFF_FFFF, info >> 32
        if kind not in RELOC_NAMES:
            raise table.error(f"unknown relocation type {kind}", index * REL_SIZE)
        if symbol >= len(self.symbols):
            raise table.error(f"symbol {symbol} does not exist", index * REL_SIZE)
        if offset >= target.size:
            raise table.error(f"offset {offset:#x} is outside section '{target.name}'",
                              index * REL_SIZE)
        return Relocation(offset, kind, self.symbols[symbol])
