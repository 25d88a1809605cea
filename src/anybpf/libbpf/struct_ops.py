"""Tables of programs for the kernel: struct_ops maps (tools/lib/bpf/libbpf.c).

A variable of section `.struct_ops` (or `.struct_ops.link`, which makes a map that a link attaches)
is a struct of the kernel as the object's author knew it. `collect` reads the variables and which
program each function pointer means; `fit` lays them out as the running kernel has the struct.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import NoReturn

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.btf.relo_spec import essential_name
from anybpf.libbpf import bpf, log
from anybpf.libbpf.elf import STB_LOCAL, ElfFile, Relocation, Section
from anybpf.libbpf.kernel_btf import KernelBtf, ModuleBtf, own
from anybpf.libbpf.spec import CallTarget, MapSpec, ObjectSpec, StructOps

SECTION, LINK_SECTION = ".struct_ops", ".struct_ops.link"
VALUE_PREFIX = "bpf_struct_ops_"
SLOT = 8


def is_struct_ops(section: Section) -> bool:
    """A section of struct_ops variables; a `?` in front leaves its maps out unless asked for."""
    return section.name.removeprefix("?") in (SECTION, LINK_SECTION)


# the object's side

def maps_of(elf: ElfFile, btf: Btf | None) -> list[MapSpec]:
    """A map for each struct_ops variable, in file order. Raises LoadError."""
    return [made for section in elf.sections if is_struct_ops(section)
            for made in _section_maps(btf, section)]


def _section_maps(btf: Btf | None, section: Section) -> list[MapSpec]:
    type_id = btf.find(section.name, uapi.BTF_KIND_DATASEC) if btf else 0
    if btf is None or not type_id:
        raise section.error(f"struct_ops init: DATASEC {section.name} not found")
    return [_map(btf, section, row) for row in btf.expect(type_id, t.Datasec).vars]


def _map(btf: Btf, section: Section, row: t.SecVar) -> MapSpec:
    var = btf.expect(row.type, t.Var)
    struct_id = btf.resolve(var.type)
    found = btf.type(struct_id)
    if not found.name:
        raise section.error("struct_ops init: anonymous type is not supported", row.offset)
    if not isinstance(found, t.Struct):
        raise section.error(f"struct_ops init: {found.name} is not a struct", row.offset)
    if row.offset + found.size > len(section.data):
        raise section.error(f"struct_ops init: var {var.name} is beyond the end of DATASEC "
                            f"{section.name}", row.offset)
    log.debug("struct_ops init: struct %s(type_id=%d) %s found at offset %d", found.name,
              struct_id, var.name, row.offset)
    content = bytearray(section.data[row.offset:row.offset + found.size])
    flags = uapi.BPF_F_LINK if section.name.endswith(".link") else 0
    return MapSpec(var.name, uapi.BPF_MAP_TYPE_STRUCT_OPS, 4, found.size, 1, flags,
                   section=section.name, offset=row.offset,
                   autocreate=not section.name.startswith("?"),
                   struct_ops=StructOps(struct_id, content))


def collect(elf: ElfFile, spec: ObjectSpec) -> None:
    """Note which program each function pointer of each variable means. Raises LoadError."""
    for section in filter(is_struct_ops, elf.sections):
        mine = [m for m in spec.maps.values() if m.section == section.name]
        for relo in elf.relocations(section):
            _pointer(elf, spec, section, mine, relo)


def _pointer(elf: ElfFile, spec: ObjectSpec, section: Section, mine: list[MapSpec],
             relo: Relocation) -> None:
    made = next((m for m in mine if m.offset <= relo.offset < m.offset + m.value_size), None)
    if made is None or made.struct_ops is None or spec.btf is None:
        raise section.error(f"struct_ops reloc: cannot find map at rel->r_offset {relo.offset}",
                            relo.offset)
    found = spec.btf.expect(made.struct_ops.type_id, t.Struct)
    at = relo.offset - made.offset
    index = next((i for i, m in enumerate(found.members)
                  if m.bit_offset == at * 8 and not m.bitfield_size), None)
    if index is None:
        raise section.error(f"struct_ops reloc {made.name}: cannot find member at moff {at}",
                            relo.offset)
    member = found.members[index]
    if not is_func_pointer(spec.btf, member.type):
        raise section.error(f"struct_ops reloc {made.name}: cannot relocate non func ptr "
                            f"{member.name}", relo.offset)
    made.struct_ops.programs[index] = _program(elf, spec, section, made, member, relo)


def _program(elf: ElfFile, spec: ObjectSpec, section: Section, made: MapSpec, member: t.Member,
             relo: Relocation) -> str:
    symbol = relo.symbol
    where = elf.sections[symbol.section] if symbol.section < len(elf.sections) else None
    stored = int.from_bytes(section.data[relo.offset:relo.offset + SLOT], elf.byteorder)
    offset = symbol.value + (stored if symbol.bind == STB_LOCAL else 0)
    function = spec.functions.get(CallTarget(where.name, offset // SLOT)) if where else None
    if offset % SLOT:
        raise section.error(f"struct_ops reloc {made.name}: invalid target program offset "
                            f"{offset}", relo.offset)
    program = spec.programs.get(function.name) if function else None
    if program is None:
        raise section.error(f"struct_ops reloc {made.name}: cannot find prog at shdr_idx "
                            f"{symbol.section} to relocate func ptr {member.name}", relo.offset)
    if program.type != uapi.BPF_PROG_TYPE_STRUCT_OPS:
        raise section.error(f"struct_ops reloc {made.name}: prog {program.name} is not struct_ops "
                            "BPF program", relo.offset)
    return program.name


def is_func_pointer(btf: Btf, type_id: int) -> bool:
    """A pointer to a function, through typedefs and qualifiers."""
    pointer = btf.type(btf.resolve(type_id))
    return isinstance(pointer, t.Ptr) and isinstance(btf.type(btf.resolve(pointer.type)),
                                                     t.FuncProto)


# the kernel's side

@dataclass
class Hook:
    """A program's place: member `index` of the kernel's struct, `offset` bytes into the value."""

    program: str
    index: int
    offset: int


@dataclass
class Fitted:
    """A struct_ops variable as the kernel has it: `value` is what the map's one element takes."""

    type_id: int
    value_type_id: int
    module: ModuleBtf | None
    value: bytearray
    hooks: list[Hook] = field(default_factory=list)

    def filled(self, fds: dict[str, int]) -> bytes:
        """The value with the descriptors of loaded programs in it; others stay null."""
        made = bytearray(self.value)
        for hook in self.hooks:
            made[hook.offset:hook.offset + SLOT] = bpf.to_bytes(fds.get(hook.program, 0), SLOT)
        return bytes(made)


def fit(made: MapSpec, btf: Btf, kernel: KernelBtf) -> Fitted:
    """Lay a variable out for this kernel. Raises BpfError (ENOTSUP, EINVAL), NotSupported."""
    return _Fitting(made, btf, kernel).run()


class _Fitting:
    def __init__(self, made: MapSpec, btf: Btf, kernel: KernelBtf) -> None:
        assert made.struct_ops is not None
        self.map, self.ops, self.local, self.kernel = made, made.struct_ops, btf, kernel
        self.struct = btf.expect(made.struct_ops.type_id, t.Struct)

    def fail(self, message: str, number: int = errno.ENOTSUP) -> NoReturn:
        log.fail(number, f"struct_ops init_kern {self.map.name}: {message}")

    def run(self) -> Fitted:
        types, made, data_at = self._kernel_types()
        there = types.expect(made.type_id, t.Struct)
        log.debug("struct_ops init_kern %s: type_id:%d kern_type_id:%d kern_vtype_id:%d",
                  self.map.name, self.ops.type_id, made.type_id, made.value_type_id)
        for index, member in enumerate(self.struct.members):
            self._member(types, there, made, data_at, index, member)
        return made

    def _kernel_types(self) -> tuple[Btf, Fitted, int]:
        """The kernel's struct, and the struct around it, with the place of the one in the other."""
        name = essential_name(self.struct.name)
        types, found, module = self.kernel.find(name, uapi.BTF_KIND_STRUCT,
                                                f"struct_ops map '{self.map.name}'")
        if not found:
            log.fail(errno.ENOTSUP, f"struct_ops init_kern: struct {name} is not found in kernel "
                                    "BTF")
        value_id = (own(types, VALUE_PREFIX + name, uapi.BTF_KIND_STRUCT) if module
                    else types.find(VALUE_PREFIX + name, uapi.BTF_KIND_STRUCT))
        if not value_id:
            log.fail(errno.ENOTSUP, f"struct_ops init_kern: struct {VALUE_PREFIX}{name} is not "
                                    "found in kernel BTF")
        value = types.expect(value_id, t.Struct)
        data = next((m for m in value.members if m.type == found), None)
        if data is None:
            log.fail(errno.EINVAL, f"struct_ops init_kern: struct {name} data is not found in "
                                   f"struct {VALUE_PREFIX}{name}")
        return types, Fitted(found, value_id, module, bytearray(value.size)), data.offset

    def _member(self, types: Btf, there: t.Struct, made: Fitted, data_at: int, index: int,
                member: t.Member) -> None:
        name = member.name
        size = self.local.size_of(member.type)
        raw = self.ops.content[member.offset:member.offset + size]
        target = there.member(essential_name(name))
        if target is None:
            self._unknown(name, index, raw)
            return
        if member.bitfield_size or target.bitfield_size:
            self.fail(f"bitfield {name} is not supported")
        mine, its = (b.type(b.resolve(m.type)) for b, m in ((self.local, member), (types, target)))
        if mine.kind != its.kind:
            self.fail(f"Unmatched member type {name} {mine.kind} != {its.kind}(kernel)")
        at = data_at + target.offset
        if isinstance(mine, t.Ptr):
            self._hook(types, there, made, index, name, target, at)
            return
        its_size = types.size_of(target.type)
        if size != its_size:
            self.fail(f"Error in size of member {name}: {size} != {its_size}(kernel)")
        log.debug("struct_ops init_kern %s: copy %s %d bytes from data(+%d) to kern_data(+%d)",
                  self.map.name, name, size, member.offset, target.offset)
        made.value[at:at + size] = raw

    def _unknown(self, name: str, index: int, raw: bytearray) -> None:
        """Members that the kernel lacks may be there as long as nothing is asked of them."""
        if any(raw) or self.ops.programs.get(index):
            self.fail(f"Cannot find member {name} in kernel BTF")
        log.info("struct_ops %s: member %s not found in kernel, skipping it as it's set to zero",
                 self.map.name, name)

    def _hook(self, types: Btf, there: t.Struct, made: Fitted, index: int, name: str,
              target: t.Member, at: int) -> None:
        program = self.ops.programs.get(index)
        if not program:
            return
        if not is_func_pointer(types, target.type):
            self.fail(f"kernel member {name} is not a func ptr")
        log.debug("struct_ops init_kern %s: func ptr %s is set to prog %s from data(+%d) to "
                  "kern_data(+%d)", self.map.name, name, program,
                  self.struct.members[index].offset, target.offset)
        made.hooks.append(Hook(program, there.members.index(target), at))
