"""Extern variables and functions that the kernel provides (tools/lib/bpf/libbpf.c).

Only recorded here, with the place that each .kconfig variable gets in the section's map: sorted by
alignment and size, largest first, then by name.
"""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.libbpf.elf import ElfFile, Symbol
from anybpf.libbpf.spec import MAX_DATA_SIZE, DataKind, DataSection, ExternSpec, Variable

KCONFIG, KSYMS = ".kconfig", ".ksyms"
ALIGNMENTS = (8, 4, 2)


def collect(elf: ElfFile, btf: Btf | None) -> dict[str, ExternSpec]:
    """All extern symbols by name, in symbol order. Raises LoadError for one that BTF lacks."""
    symbols = [s for s in elf.symbols if s.is_extern and s.name]
    if not symbols:
        return {}
    known = _declarations(btf) if btf else {}
    made = [_extern(btf, s, known) for s in symbols]
    return {e.name: e for e in _place(btf, made)}


def _declarations(btf: Btf) -> dict[str, tuple[str, int]]:
    """Name -> (section, id of VAR or FUNC) of what the extern sections declare."""
    found = {}
    for section in (KCONFIG, KSYMS):
        type_id = btf.find(section, uapi.BTF_KIND_DATASEC)
        for row in btf.expect(type_id, t.Datasec).vars if type_id else ():
            found[btf.type(row.type).name] = (section, row.type)
    return found


def _extern(btf: Btf | None, symbol: Symbol, known: dict[str, tuple[str, int]]) -> ExternSpec:
    if btf is None or symbol.name not in known:
        raise LoadError(f"extern '{symbol.name}' has no BTF in .ksyms or .kconfig", ".symtab",
                        24 * symbol.number)
    section, btf_id = known[symbol.name]
    declared = btf.type(btf_id)
    is_func = isinstance(declared, t.Func)
    type_id = btf_id if is_func else btf.target(btf_id)
    if not btf.resolve(type_id):                   # extern const void: only an address
        type_id = 0
    size = btf.size_of(type_id) if section == KCONFIG else 0
    return ExternSpec(symbol.name, section, symbol.is_weak, is_func, btf_id, type_id, size=size)


def alignment(btf: Btf, type_id: int, depth: int = 0) -> int:
    """The natural alignment in bytes of a type, as a C compiler has it."""
    found = btf.type(btf.resolve(type_id))
    if depth > 32:
        raise LoadError("types are nested too deeply", ".BTF")
    if isinstance(found, t.Array):
        return alignment(btf, found.type, depth + 1)
    if isinstance(found, t.Composite):
        return max((alignment(btf, m.type, depth + 1) for m in found.members), default=1)
    size = btf.size_of(type_id)
    return next((a for a in ALIGNMENTS if size % a == 0 and size), 1) if size < 16 else 8


def _place(btf: Btf | None, externs: list[ExternSpec]) -> list[ExternSpec]:
    """The same externs with offsets for those of .kconfig."""
    if btf is None:
        return externs
    config = [(alignment(btf, e.type_id), e) for e in externs if e.section == KCONFIG]
    config.sort(key=lambda pair: (-pair[0], -pair[1].size, pair[1].name))
    offsets, end = {}, 0
    for align, extern in config:
        offsets[extern.name] = end = -(-end // align) * align
        end += extern.size
    return [e._replace(offset=offsets.get(e.name, 0)) for e in externs]


def kconfig_section(externs: dict[str, ExternSpec], btf: Btf | None) -> DataSection | None:
    """The data section that .kconfig variables live in, all zero; None if there are none."""
    config = [e for e in externs.values() if e.section == KCONFIG]
    if not config or btf is None:
        return None
    size = max(e.offset + e.size for e in config)
    if size >= MAX_DATA_SIZE:
        raise LoadError(f"{size} bytes of variables are too many", KCONFIG)
    variables = {e.name: Variable(e.name, e.offset, e.size, e.type_id)
                 for e in sorted(config, key=lambda e: e.offset)}
    return DataSection(KCONFIG, DataKind.KCONFIG, size, variables,
                       btf.find(KCONFIG, uapi.BTF_KIND_DATASEC))
