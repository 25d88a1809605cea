"""What a loader must fill in before BTF can be used (tools/lib/bpf/libbpf.c).

A compiler leaves the size of data sections and the offsets of their variables to the loader.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.btf.types import Datasec, SecVar, Var
from anybpf.libbpf.elf import STB_LOCAL, STT_OBJECT, ElfFile

RECORD = 12        #: bytes before a type's own words, and of one variable in a DATASEC
EXTERN_SECTIONS = (".kconfig", ".ksyms")


def ids_of_kind(btf: Btf, kind: int) -> Iterator[int]:
    """The ids of this blob's types of one kind, without decoding the others."""
    return (i for i in btf.ids() if btf.kind(i) == kind)


def fill_datasecs(btf: Btf, elf: ElfFile) -> Btf:
    """The same BTF with sizes of data sections and offsets of variables taken from the ELF file.

    Variables are sorted by offset, as the kernel demands. Sections that the file does not have
    (extern ones among them) stay as they are.
    """
    data = bytearray(btf.to_bytes())
    prefix = "<" if btf.byteorder == "little" else ">"
    symbols = _variable_symbols(elf)
    for type_id in ids_of_kind(btf, uapi.BTF_KIND_DATASEC):
        found = btf.expect(type_id, Datasec)
        section = elf.find(found.name)
        if section is not None and found.name not in EXTERN_SECTIONS:
            place = _placer(btf, symbols, section.index)
            rows = sorted((place(v) for v in found.vars), key=lambda v: v.offset)
            _store(data, prefix, btf.offset_of(type_id), found.size or section.size, rows)
    return Btf(bytes(data))


def _variable_symbols(elf: ElfFile) -> dict[tuple[int, str, bool], int]:
    """(section, name, is static) -> offset, of every variable."""
    return {(s.section, s.name, s.bind == STB_LOCAL): s.value
            for s in elf.symbols if s.type == STT_OBJECT}


def _placer(btf: Btf, symbols: dict[tuple[int, str, bool], int],
            section: int) -> Callable[[SecVar], SecVar]:
    def place(row: SecVar) -> SecVar:
        var = btf.type(row.type)
        is_static = isinstance(var, Var) and var.linkage == uapi.BTF_VAR_STATIC
        offset = symbols.get((section, var.name, is_static), row.offset)
        return row._replace(offset=offset & uapi.U32)
    return place


def _store(data: bytearray, prefix: str, at: int, size: int, rows: list[SecVar]) -> None:
    struct.pack_into(prefix + "I", data, at + 8, size & uapi.U32)
    for i, row in enumerate(rows):
        struct.pack_into(prefix + "3I", data, at + RECORD * (i + 1), *row)
