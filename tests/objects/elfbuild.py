"""ELF files built by hand, so that a test shows the byte that matters."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import elf as e

Code = Sequence[Insn] | bytes
ALLOC_EXEC, ALLOC_WRITE = e.SHF_ALLOC | e.SHF_EXECINSTR, e.SHF_ALLOC | e.SHF_WRITE


class ElfBuilder:
    """Sections and symbols in the order they are added; `to_bytes()` lays the file out.

    Section 0 and symbol 0 are the empty ones; the string and symbol tables come last.
    """

    def __init__(self, byteorder: e.ByteOrder = "little") -> None:
        self.byteorder = byteorder
        self.prefix = "<" if byteorder == "little" else ">"
        self._sections: list[tuple[str, int, int, bytes, int, int, int, int]] = []
        self._symbols: list[tuple[str, int, int, int, int, int]] = [("", 0, 0, 0, 0, 0)]
        self._relocations: list[tuple[int, bytes]] = []

    def section(self, name: str, data: bytes = b"", kind: int = e.SHT_PROGBITS,
                flags: int = e.SHF_ALLOC, *, size: int | None = None, info: int = 0) -> int:
        """Add a section; its index."""
        length = len(data) if size is None else size
        self._sections.append((name, kind, flags, data, length, 0, info, 0))
        return len(self._sections)

    def code(self, name: str, code: Code) -> int:
        """Add a section of instructions; its index."""
        data = code if isinstance(code, bytes) else isa.encode(code, self.byteorder)
        return self.section(name, data, flags=ALLOC_EXEC)

    def symbol(self, name: str, section: int, value: int = 0, size: int = 0,
               kind: int = e.STT_OBJECT, bind: int = e.STB_GLOBAL, other: int = 0) -> int:
        """Add a symbol; its index."""
        self._symbols.append((name, kind | bind << 4, other, section, value, size))
        return len(self._symbols) - 1

    def function(self, name: str, section: int, value: int, size: int,
                 bind: int = e.STB_GLOBAL) -> int:
        return self.symbol(name, section, value, size, e.STT_FUNC, bind)

    def relocate(self, section: int, *rows: tuple[int, int, int]) -> None:
        """Add (offset, symbol index, type) relocations of a section."""
        data = b"".join(struct.pack(self.prefix + "QQ", offset, symbol << 32 | kind)
                        for offset, symbol, kind in rows)
        self._relocations.append((section, data))

    def to_bytes(self, *, machine: int = e.EM_BPF) -> bytes:
        strings, sections = _Strings(), list(self._sections)
        symbols = b"".join(struct.pack(self.prefix + "IBBHQQ", strings.add(name), *rest)
                           for name, *rest in self._symbols)
        table = len(sections) + len(self._relocations) + 1
        for target, data in self._relocations:
            name = ".rel" + self._sections[target - 1][0]
            sections.append((name, e.SHT_REL, 0, data, len(data), table, target, 16))
        sections.append((".symtab", e.SHT_SYMTAB, 0, symbols, len(symbols), table + 1, 1, 24))
        names = [strings.add(s[0]) for s in sections] + [strings.add(".strtab")]
        raw = bytes(strings.data)
        sections.append((".strtab", e.SHT_STRTAB, 0, raw, len(raw), 0, 0, 0))
        return self._lay_out(sections, names, machine)

    def _lay_out(self, sections: list[tuple[str, int, int, bytes, int, int, int, int]],
                 names: list[int], machine: int) -> bytes:
        body, headers, at = b"", bytes(64), 64
        for name, (_, kind, flags, data, size, link, info, entry) in zip(names, sections,
                                                                          strict=True):
            headers += struct.pack(self.prefix + "IIQQQQIIQQ", name, kind, flags, 0, at, size,
                                   link, info, 8, entry)
            body += data
            at += len(data)
        ident = b"\x7fELF\x02" + (b"\1" if self.byteorder == "little" else b"\2") + b"\1"
        head = struct.pack(self.prefix + e.HEADER, ident, e.ET_REL, machine, 1, 0, 0, at, 0, 64,
                           0, 0, 64, len(sections) + 1, len(sections))
        return head + body + headers


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        self.data += text.encode() + b"\0"
        return len(self.data) - len(text.encode()) - 1


MOV, EXIT = Insn(0xB7, 0, 0, 0, 0), Insn(0x95)


def smallest(byteorder: e.ByteOrder = "little") -> ElfBuilder:
    """One XDP program `r0 = 0; exit`."""
    made = ElfBuilder(byteorder)
    made.function("prog", made.code("xdp", [MOV, EXIT]), 0, 16)
    return made
