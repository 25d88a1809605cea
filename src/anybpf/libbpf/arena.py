"""Memory that programs and user space share: arenas and their variables (kernel/bpf/arena.c).

Variables declared in address space 1 lie in section `.addr_space.1`, at the start of the object's
one arena map. The arena must be mapped before programs that name its variables are loaded.
"""

from __future__ import annotations

import mmap

from anybpf import uapi
from anybpf.errors import LoadError
from anybpf.libbpf import data_sections
from anybpf.libbpf.elf import ElfFile, Section
from anybpf.libbpf.spec import DataKind, MapSpec, ObjectSpec

SECTION = ".addr_space.1"


def is_arena(section: Section) -> bool:
    return section.name == SECTION


def holds(made: MapSpec, section: Section) -> bool:
    """The map that a section's variables lie in."""
    return made.arena is not None and is_arena(section)


def map_size(made: MapSpec) -> int:
    """Bytes of an arena: `max_entries` counts pages."""
    return made.max_entries * mmap.PAGESIZE


def claim(elf: ElfFile, spec: ObjectSpec) -> None:
    """Give the arena map its variables. Raises LoadError if there is no room, or no arena."""
    arenas = [m for m in spec.maps.values() if m.type == uapi.BPF_MAP_TYPE_ARENA]
    if len(arenas) > 1:
        raise LoadError(f"map '{arenas[1].name}': only single ARENA map is supported "
                        f"(map '{arenas[0].name}' is also ARENA)", arenas[1].section,
                        arenas[1].offset)
    section = elf.find(SECTION)
    if section is None or not section.size:
        return
    if not arenas:
        raise section.error("to use global __arena variables the ARENA map should be explicitly "
                            'declared in SEC(".maps")')
    if section.size > map_size(arenas[0]):
        raise section.error(f"declared ARENA map size ({map_size(arenas[0])}) is too small to hold "
                            f"global __arena variables of size {section.size}")
    arenas[0].arena = data_sections.read(elf, section, DataKind.ARENA, spec.btf)
