"""The ELF reader: what it reads, and what it says about files that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from anybpf.errors import LoadError
from anybpf.libbpf import elf as e
from anybpf.libbpf.elf import ElfFile
from objects.elfbuild import ElfBuilder, smallest


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_sections_symbols_and_relocations(byteorder: e.ByteOrder) -> None:
    made = ElfBuilder(byteorder)
    code = made.code("xdp", bytes(32))
    data = made.section(".data", b"abcd", flags=e.SHF_ALLOC | e.SHF_WRITE)
    made.section(".bss", kind=e.SHT_NOBITS, size=1 << 40)
    var = made.symbol("var", data, 2, 2)
    made.symbol("", code, kind=e.STT_SECTION, bind=e.STB_LOCAL)
    made.relocate(code, (16, var, e.R_BPF_64_64), (0, var, e.R_BPF_64_64))
    file = ElfFile(made.to_bytes())

    assert file.byteorder == byteorder
    assert [s.name for s in file.sections] == ["", "xdp", ".data", ".bss", ".relxdp", ".symtab",
                                               ".strtab"]
    assert file.sections[code].is_code
    assert not file.sections[data].is_code
    assert bytes(file.sections[data].data) == b"abcd"
    assert (file.sections[3].size, len(file.sections[3].data)) == (1 << 40, 0)
    assert file.symbols[var] == e.Symbol(1, "var", 2, 2, e.STT_OBJECT, e.STB_GLOBAL, 0, data)
    assert file.symbols[2].name == "xdp"
    assert [(r.offset, r.symbol.name) for r in file.relocations(file.sections[code])] == [
        (0, "var"), (16, "var")]


def test_section_count_beyond_the_header() -> None:
    raw = bytearray(smallest().to_bytes())
    headers = int.from_bytes(raw[40:48], "little")
    count, names = struct.unpack_from("<HH", raw, 60)
    struct.pack_into("<HH", raw, 60, 0, e.SHN_XINDEX)
    struct.pack_into("<QI", raw, headers + 32, count, names)
    assert len(ElfFile(bytes(raw)).sections) == count


def header(at: int, layout: str, value: int) -> Callable[[bytearray], None]:
    def change(raw: bytearray) -> None:
        struct.pack_into("<" + layout, raw, at, value)
    return change


def section(index: int, at: int, layout: str, value: int) -> Callable[[bytearray], None]:
    def change(raw: bytearray) -> None:
        start = int.from_bytes(raw[40:48], "little") + 64 * index
        struct.pack_into("<" + layout, raw, start + at, value)
    return change


def cut(size: int) -> Callable[[bytearray], None]:
    def change(raw: bytearray) -> None:
        del raw[size:]
    return change


XDP, REL, SYMTAB, STRTAB = 1, 2, 3, 4


def with_relocation() -> bytes:
    made = smallest()
    made.relocate(1, (0, 1, e.R_BPF_64_64))
    return made.to_bytes()


MALFORMED = [
    ("empty", cut(0), "", "bad magic"),
    ("not ELF", header(0, "B", 1), "", "bad magic"),
    ("short header", cut(40), "", "truncated ELF header (40 bytes)"),
    ("32 bits", header(4, "B", 1), "", "not a 64-bit ELF file"),
    ("byte order", header(5, "B", 3), "", "unknown ELF byte order 3"),
    ("executable", header(16, "H", 2), "", "not a relocatable object (ELF type 2)"),
    ("x86", header(18, "H", 62), "", "not a BPF object (ELF machine 62)"),
    ("no sections", header(40, "Q", 0), "", "no section headers"),
    ("header size", header(58, "H", 40), "", "bad section header size 40"),
    ("headers outside", header(40, "Q", 1 << 50), "", "section headers lie outside the file"),
    ("too many", header(60, "H", 9999), "", "9999 section headers lie outside the file"),
    ("name table", header(62, "H", 1), "", "bad section name table index 1"),
    ("section outside", section(XDP, 32, "Q", 1 << 60), "xdp", "bytes lie outside the file"),
    ("section before", section(XDP, 24, "Q", 2**64 - 8), "xdp", "bytes lie outside the file"),
    ("name outside", section(XDP, 0, "I", 5000), "#1", "outside the string table"),
    ("symtab size", section(SYMTAB, 32, "Q", 25), ".symtab", "size 25 is not a multiple of 24"),
    ("symtab strings", section(SYMTAB, 40, "I", 77), ".symtab", "bad string table index 77"),
    ("RELA", section(REL, 4, "I", 4), ".relxdp", "relocations with addend"),
    ("rel size", section(REL, 32, "Q", 15), ".relxdp", "size 15 is not a multiple of 16"),
]


def read_all(raw: bytes) -> None:
    file = ElfFile(raw)
    for one in file.sections:
        file.relocations(one)


@pytest.mark.parametrize(("change", "where", "message"), [m[1:] for m in MALFORMED],
                         ids=[m[0] for m in MALFORMED])
def test_malformed(change: Callable[[bytearray], None], where: str, message: str) -> None:
    raw = bytearray(with_relocation())
    change(raw)
    with pytest.raises(LoadError) as caught:
        read_all(bytes(raw))
    assert message in caught.value.message
    assert caught.value.section == where


@pytest.mark.parametrize(("row", "message"), [
    ((0, 99, e.R_BPF_64_64), "symbol 99 does not exist"),
    ((16, 1, e.R_BPF_64_64), "offset 0x10 is outside section 'xdp'"),
    ((0, 1, 77), "unknown relocation type 77"),
])
def test_bad_relocations(row: tuple[int, int, int], message: str) -> None:
    made = smallest()
    made.relocate(1, row)
    file = ElfFile(made.to_bytes())
    with pytest.raises(LoadError) as caught:
        file.relocations(file.sections[1])
    assert (caught.value.section, caught.value.offset) == (".relxdp", 0)
    assert caught.value.message == message


def test_symbol_of_a_section_that_is_not_there() -> None:
    made = smallest()
    made.symbol("lost", 50)
    with pytest.raises(LoadError, match=r"section '.symtab' offset 0x30: symbol 'lost'"):
        ElfFile(made.to_bytes())
