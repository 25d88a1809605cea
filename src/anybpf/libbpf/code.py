"""Sections of instructions: functions, relocations, source lines (tools/lib/bpf/libbpf.c).

Every relocation and every call without one is resolved here to a name, so a `Code` is complete:
linking a program (`relocate`) only moves instructions, and errors name the place in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from anybpf import bits, uapi
from anybpf.btf.ext import BtfExt, CoreRelo, FuncInfo, InfoSection, LineInfo
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import elf as e
from anybpf.libbpf.elf import ElfFile, Relocation, Section, Symbol
from anybpf.libbpf.spec import (
    CallTarget,
    Code,
    ExternSpec,
    FunctionSpec,
    Info,
    InfoTable,
    Reference,
    RefKind,
)

SLOT = isa.SLOT
CALL = uapi.BPF_JMP | uapi.BPF_CALL


@dataclass
class Places:
    """What a symbol can point to, besides code.

    `maps`: (section index, offset) -> map name; `data`: section index -> map name, or None while
    nothing refers to the section (`claim` makes the map then).
    """

    maps: dict[tuple[int, int], str]
    map_sections: frozenset[int]
    data: dict[int, str]
    claim: Callable[[Section], str]
    externs: dict[str, ExternSpec]
    kconfig: str = ""
    claimed: list[Section] = field(default_factory=list)


def read_code(elf: ElfFile, section: Section, places: Places) -> Code:
    """The instructions of one section, relocated as far as no kernel is needed."""
    try:
        insns = isa.decode(bytes(section.data), elf.byteorder)
    except isa.InsnError as error:
        raise section.error(error.message, error.offset) from None
    code = Code(section.name, insns)
    relocate = _Relocator(elf, section, code, places)
    relocated = {relocate(relo) for relo in elf.relocations(section)}
    _direct_calls(code, relocated)
    return code


def _direct_calls(code: Code, relocated: set[int]) -> None:
    """Calls inside the section that the compiler has resolved itself."""
    for slot, insn in enumerate(code.instructions):
        if insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL and slot not in relocated:
            code.calls[slot] = CallTarget(code.section, slot + insn.imm + 1)


class _Relocator:
    """Applies one relocation to one section; answers with the slot that it was for."""

    def __init__(self, elf: ElfFile, section: Section, code: Code, places: Places) -> None:
        self.elf, self.section, self.code, self.places = elf, section, code, places

    def __call__(self, relo: Relocation) -> int:
        slot, rest = divmod(relo.offset, SLOT)
        if relo.type == e.R_BPF_NONE:
            return -1
        if rest or slot >= len(self.code.instructions):
            raise self._error(relo, "is not at the start of an instruction")
        insn = self.code.instructions[slot]
        if insn.code == CALL:
            self._call(relo, slot, insn)
        elif isa.is_ld_imm64(insn) and slot + 1 < len(self.code.instructions):
            self._address(relo, slot, insn)
        else:
            raise self._error(relo, f"is for an instruction with opcode {insn.code:#04x}")
        return slot

    def _error(self, relo: Relocation, what: str) -> LoadError:
        kind = e.RELOC_NAMES[relo.type]
        return self.section.error(f"{kind} for '{relo.symbol.name}' {what}", relo.offset)

    def _set(self, slot: int, src: int, imm: int = 0, high: int = 0) -> None:
        """The two slots of a 64-bit load, as they are until the kernel's numbers are known."""
        insns = self.code.instructions
        insns[slot] = insns[slot]._replace(src=src, imm=imm)
        insns[slot + 1] = insns[slot + 1]._replace(imm=bits.s32(high))

    def _refer(self, slot: int, kind: RefKind, target: str, offset: int = 0) -> None:
        self.code.references[slot] = Reference(slot, kind, target, offset)

    # calls

    def _call(self, relo: Relocation, slot: int, insn: Insn) -> None:
        symbol = relo.symbol
        if symbol.is_extern:
            self._call_kernel(relo, slot, insn)
            return
        if insn.src != uapi.BPF_PSEUDO_CALL:
            raise self._error(relo, "is for a call of a helper")
        target = self._code_section(relo)
        self.code.calls[slot] = self._function(relo, target, symbol.value + SLOT * (insn.imm + 1))

    def _call_kernel(self, relo: Relocation, slot: int, insn: Insn) -> None:
        extern = self._extern(relo)
        if not extern.is_func:
            raise self._error(relo, "calls a variable")
        self.code.instructions[slot] = insn._replace(src=uapi.BPF_PSEUDO_KFUNC_CALL, imm=0)
        self._refer(slot, RefKind.KFUNC, extern.name)

    def _extern(self, relo: Relocation) -> ExternSpec:
        extern = self.places.externs.get(relo.symbol.name)
        if extern is None:
            raise self._error(relo, "names nothing that is declared")
        return extern

    def _code_section(self, relo: Relocation) -> Section:
        section = self._section_of(relo.symbol)
        if section is None or not section.is_code:
            raise self._error(relo, "calls what is no function")
        return section

    def _function(self, relo: Relocation, section: Section, offset: int) -> CallTarget:
        slot, rest = divmod(offset, SLOT)
        if rest or not 0 <= offset < len(section.data):
            raise self._error(relo, f"points to offset {offset:#x} of section '{section.name}'")
        return CallTarget(section.name, slot)

    # addresses

    def _address(self, relo: Relocation, slot: int, insn: Insn) -> None:
        symbol = relo.symbol
        if symbol.is_extern:
            self._extern_address(slot, self._extern(relo))
            return
        section = self._section_of(symbol)
        offset = symbol.value + insn.imm
        if section is None:
            raise self._error(relo, "has no section")
        if section.is_code:
            self._set(slot, uapi.BPF_PSEUDO_FUNC, -1)
            self.code.calls[slot] = self._function(relo, section, offset)
        elif section.index in self.places.map_sections:
            self._map(relo, slot, section, offset)
        else:
            self._variable(relo, slot, section, offset)

    def _section_of(self, symbol: Symbol) -> Section | None:
        if 0 < symbol.section < len(self.elf.sections):
            return self.elf.sections[symbol.section]
        return None

    def _map(self, relo: Relocation, slot: int, section: Section, offset: int) -> None:
        name = self.places.maps.get((section.index, offset))
        if name is None:
            raise self._error(relo, f"points to no map (offset {offset:#x} of '{section.name}')")
        self._set(slot, uapi.BPF_PSEUDO_MAP_FD)
        self._refer(slot, RefKind.MAP, name)

    def _variable(self, relo: Relocation, slot: int, section: Section, offset: int) -> None:
        if not section.flags & e.SHF_ALLOC:
            raise self._error(relo, f"points into section '{section.name}', which has no data")
        if not 0 <= offset <= uapi.U32:
            raise self._error(relo, f"points to offset {offset:#x} of '{section.name}'")
        name = self.places.data.get(section.index) or self.places.claim(section)
        self._set(slot, uapi.BPF_PSEUDO_MAP_VALUE, 0, offset)
        self._refer(slot, RefKind.MAP_VALUE, name, offset)

    def _extern_address(self, slot: int, extern: ExternSpec) -> None:
        if extern.section == ".kconfig":
            self._set(slot, uapi.BPF_PSEUDO_MAP_VALUE, 0, extern.offset)
            self._refer(slot, RefKind.MAP_VALUE, self.places.kconfig, extern.offset)
        else:
            self._refer(slot, RefKind.KSYM, extern.name)


# functions

def functions_of(elf: ElfFile, section: Section, code: Code) -> list[FunctionSpec]:
    """The functions of a section in order of their start. Raises LoadError."""
    found = [_function_of(section, code, s, s.size) for s in elf.symbols
             if s.section == section.index and s.type == e.STT_FUNC]
    return sorted(found or _untyped_functions(elf, section, code), key=lambda f: f.start)


def _function_of(section: Section, code: Code, symbol: Symbol, size: int) -> FunctionSpec:
    if symbol.value % SLOT or size % SLOT or not size:
        raise section.error(f"function '{symbol.name}' is not made of whole instructions",
                            symbol.value)
    if symbol.value + size > len(section.data):
        raise section.error(f"function '{symbol.name}' crosses the section's end", symbol.value)
    return FunctionSpec(symbol.name, code, symbol.value // SLOT, size // SLOT,
                        symbol.bind != e.STB_LOCAL,
                        symbol.visibility in (e.STV_INTERNAL, e.STV_HIDDEN))


def _untyped_functions(elf: ElfFile, section: Section, code: Code) -> list[FunctionSpec]:
    """Compilers of old gave functions neither type nor size: global symbols begin them."""
    starts = sorted((s for s in elf.symbols if s.section == section.index and s.name
                     and s.type == e.STT_NOTYPE and s.bind != e.STB_LOCAL),
                    key=lambda s: s.value)
    ends = [*(s.value for s in starts[1:]), len(section.data)][:len(starts)]
    return [_function_of(section, code, s, s.size or end - s.value)
            for s, end in zip(starts, ends, strict=True)]


def check_calls(codes: Iterable[Code], functions: dict[CallTarget, FunctionSpec]) -> None:
    """Every call goes to the start of a function."""
    for code in codes:
        for slot, target in code.calls.items():
            if target not in functions:
                raise LoadError(f"call of slot {target.insn} of section '{target.section}', "
                                "where no function begins", code.section, SLOT * slot)


# .BTF.ext

def add_infos(code: Code, ext: BtfExt, btf: Btf) -> None:
    """What .BTF.ext says about this section, by slot."""
    size = len(code.instructions)
    code.func_info = _table(ext, btf, code.section, ext.func_infos, 8, size)
    code.line_info = _table(ext, btf, code.section, ext.line_infos, 16, size)
    names = [btf.string(i.name_off) for i in ext.core_relos]
    code.core_rank = names.index(code.section) if code.section in names else len(names)
    relos = ((_slot(r.insn_off, size, code.section), r) for r in ext.relos(btf, code.section))
    code.core_relos = tuple(_checked_relo(slot, r, code, btf) for slot, r in relos)


def _slot(offset: int, size: int, section: str) -> int:
    slot, rest = divmod(offset, SLOT)
    if rest or slot >= size:
        raise LoadError(f"record for offset {offset:#x} of section '{section}'", ".BTF.ext")
    return slot


def _checked_relo(slot: int, relo: CoreRelo, code: Code, btf: Btf) -> tuple[int, CoreRelo]:
    btf.string(relo.access_str_off)
    if relo.type_id >= len(btf):
        raise LoadError(f"CO-RE record for type {relo.type_id} which does not exist", ".BTF.ext")
    return slot, relo


def _table(ext: BtfExt, btf: Btf, section: str,
           infos: tuple[InfoSection[FuncInfo], ...] | tuple[InfoSection[LineInfo], ...],
           least: int, slots: int) -> InfoTable:
    rows: list[Info] = []
    size = least
    for info in infos:
        if btf.string(info.name_off) == section:
            size = info.record_size
            rows += (Info(_slot(int.from_bytes(raw[:4], ext.byteorder), slots, section),
                          _host_order(raw[4:], ext.byteorder))
                     for raw in _split(info.raw, size))
    ordered = sorted(rows, key=lambda r: r.insn)
    return InfoTable(size, tuple(ordered))


def _split(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[i:i + size] for i in range(0, len(raw), size))


def _host_order(raw: bytes, byteorder: e.ByteOrder) -> bytes:
    """Words of a big-endian file as little-endian ones (both are all 32-bit words)."""
    if byteorder == "little":
        return raw
    return b"".join(raw[i:i + 4][::-1] for i in range(0, len(raw), 4))
