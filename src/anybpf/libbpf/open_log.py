"""What libbpf says while it opens an object (tools/lib/bpf/libbpf.c, bpf_object__open).

Reading is silent; this tells the whole story afterwards, in libbpf's order and words, and only if
someone listens at DEBUG.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.libbpf import elf as e
from anybpf.libbpf import log
from anybpf.libbpf.elf import ElfFile, Section
from anybpf.libbpf.externs import KCONFIG
from anybpf.libbpf.map_defs import MAPS
from anybpf.libbpf.spec import Code, FunctionSpec, MapSpec, ObjectSpec, Reference, RefKind

SLOT = 8
LLVM_ADDRSIG = 0x6FFF4C03
UNTOLD_RELOCATIONS = (".rel.BTF", ".rel.BTF.ext")
FOUND_MAP, FOUND_DATA = "found map %d (%s, sec %d, off %d) for insn #%d", \
    "found data map %d (%s, sec %d, off %d) for insn %d"
#: how each part of a map definition is told, in this order: (members, text, fields)
PARTS = (
    ("type", "found type = %d.", ("type",)),
    ("key", "found key [%d], sz = %d.", ("key_type_id", "key_size")),
    ("key_size", "found key_size = %d.", ("key_size",)),
    ("value", "found value [%d], sz = %d.", ("value_type_id", "value_size")),
    ("value_size", "found value_size = %d.", ("value_size",)),
    ("max_entries", "found max_entries = %d.", ("max_entries",)),
    ("map_flags", "found map_flags = 0x%x.", ("flags",)),
    ("map_extra", "found map_extra = 0x%x.", ("map_extra",)),
    ("pinning", "found pinning = %d.", ("pinning",)),
    ("numa_node", "found numa_node = %d.", ("numa_node",)),
)


def tell(elf: ElfFile, spec: ObjectSpec, path: str) -> None:
    """Log what was found in the file, as libbpf does while it reads."""
    if not log.logger.isEnabledFor(logging.DEBUG):
        return
    functions = _by_section(elf, spec)
    for section in elf.sections[1:]:
        if not is_ignored(section):
            _section(elf, spec, section, functions, path)
    _externs(elf, spec)
    for made in spec.maps.values():
        _map(elf, spec, made)
    for section in elf.sections:
        _relocations(elf, spec, section, functions.get(section.name, []))


def _by_section(elf: ElfFile, spec: ObjectSpec) -> dict[str, list[FunctionSpec]]:
    """The functions of each section in the order of their symbols."""
    found: dict[str, list[FunctionSpec]] = {}
    numbers = {s.name: s.number for s in elf.symbols}
    for function in sorted(spec.functions.values(), key=lambda f: numbers.get(f.name, 0)):
        found.setdefault(function.code.section, []).append(function)
    return found


def is_ignored(section: Section) -> bool:
    """Sections that libbpf does not even mention: debugging information, tables of strings."""
    name = section.name.removeprefix(".rel")
    return (section.type in (e.SHT_STRTAB, LLVM_ADDRSIG) or name.startswith(".debug_")
            or section.name in UNTOLD_RELOCATIONS or (section.name == ".text" and not section.size))


def _section(elf: ElfFile, spec: ObjectSpec, section: Section,
             functions: dict[str, list[FunctionSpec]], path: str) -> None:
    log.debug("elf: section(%d) %s, size %d, link %d, flags %x, type=%d", section.index,
              section.name, section.size, section.link, section.flags, section.type)
    if section.is_code:
        for function in functions.get(section.name, []):
            log.debug("sec '%s': found program '%s' at insn offset %d (%d bytes), code size %d "
                      "insns (%d bytes)", section.name, function.name, function.start,
                      SLOT * function.start, function.count, SLOT * function.count)
    elif section.name == "license":
        log.debug("license of %s is %s", path, spec.license)
    elif section.name == "version":
        log.debug("kernel version of %s is %x", path, spec.version)
    elif section.name in spec.other:
        log.info("elf: skipping unrecognized data section(%d) %s", section.index, section.name)
    elif section.type == e.SHT_REL and 0 < section.info < len(elf.sections):
        _relocation_section(elf.sections[section.info], section)


def _relocation_section(target: Section, section: Section) -> None:
    """Pointers stored in variables are not filled in by loaders; libbpf says so."""
    told = target.is_code or target.name == MAPS or "struct_ops" in target.name
    if not told:
        log.info("elf: skipping relo section(%d) %s for section(%d) %s", section.index,
                 section.name, target.index, target.name)


# externs and maps

def _externs(elf: ElfFile, spec: ObjectSpec) -> None:
    log.debug("looking for externs among %d symbols...", len(elf.symbols))
    log.debug("collected %d externs total", len(spec.externs))
    numbers = {s.name: s.number for s in elf.symbols if s.is_extern}
    for index, extern in enumerate(spec.externs.values()):
        if extern.section == KCONFIG:
            log.debug("extern (kcfg) #%d: symbol %d, off %d, name %s", index,
                      numbers.get(extern.name, 0), extern.offset, extern.name)
        else:
            log.debug("extern (ksym) #%d: symbol %d, name %s", index, numbers.get(extern.name, 0),
                      extern.name)


def _section_number(elf: ElfFile, made: MapSpec) -> int:
    section = elf.find(made.section)
    return section.index if section else 0


def _map(elf: ElfFile, spec: ObjectSpec, made: MapSpec) -> None:
    number = _section_number(elf, made)
    if made.data is not None:
        log.debug("map '%s' (global data): at sec_idx %d, offset %d, flags %x.", made.name, number,
                  made.offset, made.flags)
        log.debug('map %d is "%s"', list(spec.maps).index(made.name), made.name)
    elif made.section == MAPS and spec.btf is not None:
        log.debug("map '%s': at sec_idx %d, offset %d.", made.name, number, made.offset)
        for type_id in spec.btf.find_all(made.name, uapi.BTF_KIND_VAR):
            _definition(spec.btf, made, spec.btf.resolve(spec.btf.target(type_id)))


def _definition(btf: Btf, made: MapSpec, type_id: int) -> None:
    """The parts of a definition that are there; a size is not told where a type is."""
    found = btf.type(type_id)
    members = {m.name: m for m in found.members} if isinstance(found, t.Struct) else {}
    for part, text, fields in PARTS:
        if part in members and part.removesuffix("_size") not in members.keys() - {part}:
            log.debug("map '%s': " + text, made.name, *(getattr(made, f) for f in fields))
    if "values" in members and made.inner is not None:
        log.debug("map '%s': found inner map definition.", made.name)
        array = btf.expect(btf.resolve(members["values"].type), t.Array)
        pointer = btf.expect(btf.resolve(array.type), t.Ptr)
        _definition(btf, made.inner, btf.resolve(pointer.type))


# relocations

def _relocations(elf: ElfFile, spec: ObjectSpec, section: Section,
                 functions: list[FunctionSpec]) -> None:
    if not section.is_code or not functions:
        return
    name = f".rel{section.name}"
    if elf.find(name) is None:
        return
    code = functions[0].code
    log.debug("sec '%s': collecting relocation for section(%d) '%s'", name, section.index,
              section.name)
    for number, relo in enumerate(elf.relocations(section)):
        slot = relo.offset // SLOT
        log.debug("sec '%s': relo #%d: insn #%d against '%s'", name, number, slot,
                  relo.symbol.name)
        for text in _found(elf, spec, code, functions, slot):
            log.debug("%s", text)


def _found(elf: ElfFile, spec: ObjectSpec, code: Code, functions: list[FunctionSpec],
           slot: int) -> Iterator[str]:
    """What the reference of an instruction has turned out to be; calls are not told of."""
    reference: Reference | None = code.references.get(slot)
    function = next((f for f in functions if slot in f.slots()), None)
    if reference is None or function is None:
        return
    here = slot - function.start
    if reference.kind in (RefKind.MAP, RefKind.MAP_VALUE) and reference.target in spec.maps:
        made = spec.maps[reference.target]
        text = FOUND_DATA if reference.kind is RefKind.MAP_VALUE else FOUND_MAP
        yield f"prog '{function.name}': " + text % (
            list(spec.maps).index(made.name), made.name, _section_number(elf, made), made.offset,
            here)
    elif reference.kind in (RefKind.KSYM, RefKind.KFUNC):
        index = list(spec.externs).index(reference.target)
        yield (f"prog '{function.name}': found extern #{index} '{reference.target}' for insn "
               f"#{here}")
