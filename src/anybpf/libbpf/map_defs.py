"""Map definitions of an object file: BTF-defined and legacy ones (tools/lib/bpf/libbpf.c).

A BTF-defined map is a variable of section .maps whose struct type *is* the definition: the macro
`__uint(max_entries, 8)` declares a member `int (*max_entries)[8]`, `__type(key, u32)` a member
`u32 *key`, `__array(values, T)` a last member `T *values[]`, `__ulong(map_extra, v)` an enum.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.libbpf import log
from anybpf.libbpf.elf import SHT_NOBITS, STT_FUNC, STT_NOTYPE, STT_OBJECT, ElfFile, Section, Symbol
from anybpf.libbpf.spec import MapSpec

MAPS = ".maps"
LEGACY_SIZE = 20                    #: five 32-bit fields; loaders of old added theirs behind
POINTER = 8
PIN_NONE, PIN_BY_NAME = 0, 1

MAPS_OF_MAPS = frozenset({uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS})


# BTF-defined

def btf_maps(elf: ElfFile, btf: Btf | None, *, relaxed: bool = False) -> dict[str, MapSpec]:
    """The maps of section .maps, by name, in file order. Raises LoadError.

    With `relaxed`, members of a definition that are not known are passed over.
    """
    section = elf.find(MAPS)
    if section is None or section.type == SHT_NOBITS:
        return {}
    type_id = btf.find(MAPS, uapi.BTF_KIND_DATASEC) if btf else 0
    if btf is None or not type_id:
        raise section.error("maps are defined by BTF, which this file lacks")
    maps: dict[str, MapSpec] = {}
    for row in btf.expect(type_id, t.Datasec).vars:
        made = _btf_map(btf, section, row, relaxed)
        if made.name in maps:
            raise section.error(f"two maps are called '{made.name}'", row.offset)
        maps[made.name] = made
    _initial_values(elf, btf, section, maps)
    return maps


def _btf_map(btf: Btf, section: Section, row: t.SecVar, relaxed: bool) -> MapSpec:
    var = btf.expect(row.type, t.Var)
    where = _Where(section, row.offset, var.name, relaxed)
    if var.linkage == uapi.BTF_VAR_GLOBAL_EXTERN:
        raise where.error("is extern")
    if row.offset + row.size > section.size:
        raise where.error(f"its {row.size} bytes lie outside the section")
    definition = btf.type(btf.resolve(var.type))
    if not isinstance(definition, t.Struct):
        raise where.error(f"is not a struct but {definition.kind_name}")
    made = MapSpec(var.name, section=section.name, offset=row.offset)
    for member in definition.members:
        _attribute(btf, where, made, definition, member)
    if made.type == uapi.BPF_MAP_TYPE_UNSPEC:
        raise where.error("has no type")
    return made


@dataclass(frozen=True)
class _Where:
    """The map that an error is about."""

    section: Section
    offset: int
    name: str
    relaxed: bool = False

    def error(self, message: str) -> LoadError:
        return self.section.error(f"map '{self.name}': {message}", self.offset)


def _attribute(btf: Btf, where: _Where, made: MapSpec, definition: t.Struct,
               member: t.Member) -> None:
    if member.name in NUMBERS:
        _set_number(where, made, NUMBERS[member.name], _number(btf, where, member))
    elif member.name in ("key", "value"):
        _set_type(btf, where, made, member)
    elif member.name == "values":
        if member is not definition.members[-1]:
            raise where.error("'values' is not the last member")
        _set_values(btf, where, made, member)
    elif where.relaxed:
        log.debug("map '%s': ignoring unknown field '%s'.", where.name, member.name)
    else:
        raise where.error(f"unknown field '{member.name}'")


NUMBERS = {"type": "type", "max_entries": "max_entries", "map_flags": "flags",
           "numa_node": "numa_node", "key_size": "key_size", "value_size": "value_size",
           "map_extra": "map_extra", "pinning": "pinning"}


def _set_number(where: _Where, made: MapSpec, field: str, value: int) -> None:
    if field in ("key_size", "value_size"):
        _set_size(where, made, field, value)
        return
    if field == "pinning" and value not in (PIN_NONE, PIN_BY_NAME):
        raise where.error(f"invalid pinning value {value}")
    setattr(made, field, value)


def _set_size(where: _Where, made: MapSpec, field: str, size: int) -> None:
    known = getattr(made, field)
    if known and known != size:
        raise where.error(f"conflicting {field.replace('_', ' ')} {known} != {size}")
    setattr(made, field, size)


def _number(btf: Btf, where: _Where, member: t.Member) -> int:
    """What `__uint` or `__ulong` said."""
    found = btf.type(btf.resolve(member.type))
    if isinstance(found, t.AnyEnum) and len(found.values) == 1:
        return found.values[0].value
    if not isinstance(found, t.Ptr):
        raise where.error(f"field '{member.name}' is not a number but {found.kind_name}")
    array = btf.type(found.type)
    if not isinstance(array, t.Array):
        raise where.error(f"field '{member.name}' points to {array.kind_name}, not to an array")
    return array.nelems


def _set_type(btf: Btf, where: _Where, made: MapSpec, member: t.Member) -> None:
    pointer = btf.type(btf.resolve(member.type))
    if not isinstance(pointer, t.Ptr):
        raise where.error(f"field '{member.name}' is not a pointer but {pointer.kind_name}")
    _set_size(where, made, f"{member.name}_size", btf.size_of(pointer.type))
    setattr(made, f"{member.name}_type_id", pointer.type)


def _set_values(btf: Btf, where: _Where, made: MapSpec, member: t.Member) -> None:
    array = btf.type(btf.resolve(member.type))
    pointer = btf.type(btf.resolve(array.type)) if isinstance(array, t.Array) else array
    if not (isinstance(array, t.Array) and isinstance(pointer, t.Ptr)):
        raise where.error("'values' is not an array of pointers")
    if made.value_size not in (0, 4):
        raise where.error(f"conflicting value size {made.value_size} != 4")
    made.value_size = 4
    inner = btf.type(btf.resolve(pointer.type))
    if made.type in MAPS_OF_MAPS:
        made.inner = _inner_map(btf, where, made, inner)
    elif made.type != uapi.BPF_MAP_TYPE_PROG_ARRAY or not isinstance(inner, t.FuncProto):
        raise where.error(f"'values' of {inner.kind_name} do not fit map type {made.type}")


def _inner_map(btf: Btf, where: _Where, outer: MapSpec, definition: t.Type) -> MapSpec:
    if not isinstance(definition, t.Struct):
        raise where.error(f"inner map is not a struct but {definition.kind_name}")
    made = MapSpec(f"{outer.name}.inner", section=outer.section, offset=outer.offset)
    for member in definition.members:
        if member.name in ("values", "pinning"):
            raise where.error(f"inner map cannot have '{member.name}'")
        _attribute(btf, where, made, definition, member)
    return made


def _initial_values(elf: ElfFile, btf: Btf, section: Section, maps: dict[str, MapSpec]) -> None:
    """The names that relocations put into `values`, whose place is the end of the variable."""
    places = {m.offset: m.name for m in maps.values()}
    layout = _values_layout(btf, maps)
    for relo in elf.relocations(section):
        for name, (start, end) in layout.items():
            if start <= relo.offset < end:
                index, rest = divmod(relo.offset - start, POINTER)
                if rest:
                    raise section.error("misaligned pointer in 'values'", relo.offset)
                maps[name].values[index] = _value_name(section, maps[name], relo.symbol,
                                                       relo.offset, places)
                break
        else:
            raise section.error("relocation is in no map's 'values'", relo.offset)


def _values_layout(btf: Btf, maps: dict[str, MapSpec]) -> dict[str, tuple[int, int]]:
    """Where each map's `values` lie in the section: (start, end)."""
    layout = {}
    for row in btf.expect(btf.find(MAPS, uapi.BTF_KIND_DATASEC), t.Datasec).vars:
        var = btf.expect(row.type, t.Var)
        definition = btf.expect(btf.resolve(var.type), t.Struct)
        member = definition.member("values")
        if member is not None:
            # the compiler's size of a variable with a flexible array may leave its elements out
            ends = [m.offset for m in maps.values() if m.offset > row.offset]
            end = min(ends, default=row.offset + max(row.size, 1 << 31))
            layout[var.name] = (row.offset + member.offset, end)
    return layout


def _value_name(section: Section, made: MapSpec, symbol: Symbol, at: int,
                places: dict[int, str]) -> str:
    if made.inner is None:
        if symbol.type != STT_FUNC:
            raise section.error(f"'{symbol.name}' in a program array is no program", at)
        return symbol.name
    name = places.get(symbol.value) if symbol.section == section.index else None
    if name is None:
        raise section.error(f"'{symbol.name}' in a map of maps is no map", at)
    return name


# legacy

def is_legacy(section: Section) -> bool:
    """Section `maps`, or the same with a prefix as loaders before libbpf had it."""
    return section.name == "maps" or (section.name.endswith("/maps") and not section.is_code)


def legacy_maps(elf: ElfFile, btf: Btf | None) -> dict[str, MapSpec]:
    """The maps of the sections of `struct bpf_map_def`, by name, in file order."""
    maps: dict[str, MapSpec] = {}
    for section in filter(is_legacy, elf.sections):
        for made in _legacy_section(elf, section):
            if made.name in maps:
                raise section.error(f"two maps are called '{made.name}'", made.offset)
            maps[made.name] = made
            _annotation(btf, made)
    return maps


def _legacy_section(elf: ElfFile, section: Section) -> list[MapSpec]:
    symbols = sorted((s for s in elf.symbols
                      if s.section == section.index and s.type in (STT_OBJECT, STT_NOTYPE)),
                     key=lambda s: s.value)
    if not symbols:
        return []
    size = len(section.data) // len(symbols)
    if size < LEGACY_SIZE or len(section.data) % len(symbols):
        raise section.error(f"{len(symbols)} map definitions do not fill "
                            f"{len(section.data)} bytes")
    parse = _legacy_parser(elf, section, size)
    return [parse(s) for s in symbols]


def _legacy_parser(elf: ElfFile, section: Section, size: int) -> Callable[[Symbol], MapSpec]:
    layout = struct.Struct(("<" if elf.byteorder == "little" else ">") + "5I")

    def parse(symbol: Symbol) -> MapSpec:
        at = symbol.value
        if at + size > len(section.data):
            raise section.error(f"map '{symbol.name}' lies outside the section", at)
        kind, key, value, entries, flags = layout.unpack_from(section.data, at)
        return MapSpec(symbol.name, kind, key, value, entries, flags, section=section.name,
                       offset=at, extra=bytes(section.data[at + LEGACY_SIZE:at + size]))
    return parse


def _annotation(btf: Btf | None, made: MapSpec) -> None:
    """Key and value type from `struct ____btf_map_<name>`, if there is one that fits."""
    type_id = btf.find(f"____btf_map_{made.name}", uapi.BTF_KIND_STRUCT) if btf else 0
    if btf is None or not type_id:
        return
    members = btf.expect(type_id, t.Struct).members
    if [m.name for m in members] == ["key", "value"]:
        key, value = (m.type for m in members)
        if (btf.size_of(key), btf.size_of(value)) == (made.key_size, made.value_size):
            made.key_type_id, made.value_type_id = key, value
