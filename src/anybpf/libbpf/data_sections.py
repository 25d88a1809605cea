"""Global variables: sections of data that become array maps (tools/lib/bpf/libbpf.c)."""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.libbpf.bpf import object_name
from anybpf.libbpf.elf import (
    R_BPF_64_ABS32,
    R_BPF_64_ABS64,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
    STB_LOCAL,
    STT_OBJECT,
    ElfFile,
    Section,
    Symbol,
)
from anybpf.libbpf.spec import (
    MAX_DATA_SIZE,
    DataKind,
    DataRelocation,
    DataSection,
    MapSpec,
    Variable,
)

PREFIXES = ((".rodata", DataKind.RODATA), (".data", DataKind.DATA), (".bss", DataKind.BSS))
READ_ONLY = frozenset({DataKind.RODATA, DataKind.KCONFIG})
MIN_SUFFIX = 7                       #: libbpf leaves room for ".rodata" whatever the section
RELOCATION_SIZES = {R_BPF_64_ABS64: 8, R_BPF_64_ABS32: 4}


def kind_of(section: Section) -> DataKind | None:
    """What libbpf takes a section's name for, None if it is no section of variables."""
    for name, kind in PREFIXES:
        if section.name == name or section.name.startswith(name + "."):
            wanted = SHT_NOBITS if kind is DataKind.BSS else SHT_PROGBITS
            return kind if section.type == wanted else None
    return None


def custom_kind(section: Section) -> DataKind:
    """The kind of a section of another name that code refers to."""
    if section.type == SHT_NOBITS:
        return DataKind.BSS
    return DataKind.DATA if section.flags & SHF_WRITE else DataKind.RODATA


def map_name(object_name_: str, section: str) -> str:
    """The name of a data section's map: "<object>.rodata", or a custom section's own name."""
    if "." in section[1:]:
        return section
    suffix = min(max(MIN_SUFFIX, len(section)), uapi.BPF_OBJ_NAME_LEN - 1)
    prefix = min(uapi.BPF_OBJ_NAME_LEN - suffix - 1, len(object_name_))
    return object_name(object_name_[:prefix] + section[:suffix]).decode()


def read(elf: ElfFile, section: Section, kind: DataKind, btf: Btf | None) -> DataSection:
    """One section with its variables. Raises LoadError if it claims to be over a gigabyte."""
    if section.size >= MAX_DATA_SIZE:
        raise section.error(f"{section.size} bytes of variables are too many")
    type_id = btf.find(section.name, uapi.BTF_KIND_DATASEC) if btf else 0
    data = DataSection(section.name, kind, section.size, type_id=type_id,
                       initial=bytes(section.data), relocations=_relocations(elf, section))
    data.variables = _symbol_variables(elf, section)
    if btf is not None and type_id:
        data.variables |= btf_variables(btf, type_id)
    return data


def _symbol_variables(elf: ElfFile, section: Section) -> dict[str, Variable]:
    found = sorted((s for s in elf.symbols
                    if s.section == section.index and s.type == STT_OBJECT and s.name),
                   key=lambda s: s.value)
    return {s.name: Variable(s.name, s.value, s.size, 0, s.bind == STB_LOCAL)
            for s in found if s.value + s.size <= section.size}


def btf_variables(btf: Btf, type_id: int) -> dict[str, Variable]:
    """The variables of a DATASEC that lie inside it."""
    section = btf.expect(type_id, t.Datasec)
    found = {}
    for row in section.vars:
        var = btf.type(row.type)
        if isinstance(var, t.Var) and row.offset + row.size <= section.size:
            found[var.name] = Variable(var.name, row.offset, row.size, var.type,
                                       var.linkage == uapi.BTF_VAR_STATIC)
    return found


def _relocations(elf: ElfFile, section: Section) -> tuple[DataRelocation, ...]:
    found = []
    for relo in elf.relocations(section):
        size = RELOCATION_SIZES.get(relo.type)
        if size is None:
            continue
        if relo.offset + size > section.size:
            raise section.error("relocation crosses the end of the section", relo.offset)
        stored = int.from_bytes(section.data[relo.offset:relo.offset + size], elf.byteorder)
        found.append(DataRelocation(relo.offset, size, _target(relo.symbol), stored))
    return tuple(found)


def _target(symbol: Symbol) -> str:
    return symbol.name or f"#{symbol.number}"


def as_map(data: DataSection, object_name_: str, btf: Btf | None) -> MapSpec:
    """The array map that holds the section. Maps that user space may see can be mapped."""
    flags = uapi.BPF_F_RDONLY_PROG if data.kind in READ_ONLY else 0
    if btf is not None and _mappable(btf, data):
        flags |= uapi.BPF_F_MMAPABLE
    return MapSpec(map_name(object_name_, data.name), uapi.BPF_MAP_TYPE_ARRAY, 4, data.size, 1,
                   flags, value_type_id=data.type_id, section=data.name, data=data)


def _mappable(btf: Btf, data: DataSection) -> bool:
    """BTF names a variable of the section that is not static."""
    if not data.type_id:
        return False
    rows = btf.expect(data.type_id, t.Datasec).vars
    variables = (btf.type(row.type) for row in rows)
    return any(isinstance(v, t.Var) and v.linkage != uapi.BTF_VAR_STATIC for v in variables)
