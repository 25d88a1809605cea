"""What an object file says, as plain data: no kernel is needed to have it (tools/lib/bpf/libbpf.c).

Specs may be changed before they are loaded (`max_entries`, `autoload`, the content of a data
section); reading the same bytes again gives equal specs everywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.isa.insn import Insn
from anybpf.libbpf.elf import ByteOrder
from anybpf.proto.sections import SectionDef

#: data sections that are this large together are refused
MAX_DATA_SIZE = 1 << 30
#: slots of all linked programs of one object together: calls to shared code multiply what the file
#: holds, and a file made to hurt could ask for any amount
MAX_LINKED = 16_000_000
#: the kernel refuses longer programs (BPF_COMPLEXITY_LIMIT_INSNS)
MAX_INSNS = 1_000_000
RING_BUFFERS = frozenset({uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_USER_RINGBUF})
PAGE = 4096


class RefKind(enum.StrEnum):
    """What an instruction waits for until the object is loaded."""

    MAP = "map"                  #: ld_imm64: a map
    MAP_VALUE = "map value"      #: ld_imm64: an address inside the value of a data section's map
    PARAMETER = "parameter"      #: ld_imm64: a variable's value (see libbpf/keymap.py)
    KSYM = "ksym"                #: ld_imm64: a variable or symbol of the kernel
    KFUNC = "kfunc"              #: call: a function of the kernel


class Reference(NamedTuple):
    """Instruction `insn` refers to `target` (the name of a map, or of a kernel symbol).

    `offset` is in bytes, into the map's value.
    """

    insn: int
    kind: RefKind
    target: str
    offset: int = 0


class Info(NamedTuple):
    """One record of .BTF.ext: the instruction it is about, and its bytes after that number."""

    insn: int
    rest: bytes


class InfoTable(NamedTuple):
    """Records of one kind, in order of their instruction; `record_size` counts whole records."""

    record_size: int
    rows: tuple[Info, ...] = ()


NO_FUNCS, NO_LINES = InfoTable(8), InfoTable(16)


class CallTarget(NamedTuple):
    """The function that a call, or the address of a callback, means."""

    section: str
    insn: int


@dataclass(eq=False)
class Code:
    """One section of instructions, with what its relocations and .BTF.ext say about them.

    Indices count instruction slots from the start of the section.
    """

    section: str
    instructions: list[Insn] = field(repr=False)
    references: dict[int, Reference] = field(default_factory=dict, repr=False)
    calls: dict[int, CallTarget] = field(default_factory=dict, repr=False)
    func_info: InfoTable = NO_FUNCS
    line_info: InfoTable = NO_LINES
    core_relos: tuple[tuple[int, CoreRelo], ...] = field(default=(), repr=False)
    core_rank: int = 0               #: the section's place among those with CO-RE records


@dataclass(eq=False)
class FunctionSpec:
    """One function symbol: `count` slots of `code`, from slot `start`."""

    name: str
    code: Code = field(repr=False)
    start: int
    count: int
    is_global: bool = True
    is_hidden: bool = False

    @property
    def instructions(self) -> list[Insn]:
        return self.code.instructions[self.start:self.start + self.count]

    def slots(self) -> range:
        """The function's slot numbers in its section."""
        return range(self.start, self.start + self.count)


class Functions(dict[CallTarget, FunctionSpec]):
    """The functions of an object by their place.

    `linked` counts the slots linked so far; `catchers` has for a program's name those of the
    functions that are to catch what it throws.
    """

    linked = 0

    def __init__(self) -> None:
        super().__init__()
        self.catchers: dict[str, list[str]] = {}


@dataclass(eq=False)
class Linked:
    """A program with every function that it calls behind it, as BPF_PROG_LOAD takes it.

    Calls and callback addresses are final; `references` are open. All indices count slots from
    the start of `instructions`. `functions` names what starts at which slot, `layout` has the
    functions themselves.
    """

    instructions: list[Insn] = field(repr=False)
    references: list[Reference] = field(default_factory=list)
    functions: dict[int, str] = field(default_factory=dict)
    func_info: InfoTable = NO_FUNCS
    line_info: InfoTable = NO_LINES
    core_relos: list[CoreRelo] = field(default_factory=list)
    layout: list[tuple[int, FunctionSpec]] = field(default_factory=list, repr=False)


@dataclass(eq=False)
class ProgramSpec:
    """One program: its section and what the section's name means, and its instructions.

    `definition` is None where libbpf knows no such section name; such a program is loaded only if
    `type` is set by hand. `attach_target` is the part of the name behind the slash.
    `core_relos` hold slot numbers in `insn_off`; their instructions hold the offsets of the
    compiler's own types, which is what `has_core_relos` warns of.
    """

    name: str
    section: str
    function: FunctionSpec = field(repr=False)
    functions: Functions = field(repr=False)
    definition: SectionDef | None = None
    type: int = uapi.BPF_PROG_TYPE_UNSPEC
    expected_attach_type: int = 0
    attach_target: str = ""
    flags: int = 0
    autoload: bool = True

    @cached_property
    def linked(self) -> Linked:
        """Linked once, on first use. Raises LoadError for a program of over a million slots."""
        from anybpf.libbpf.relocate import link

        return link(self.function, self.functions)

    @property
    def instructions(self) -> list[Insn]:
        return self.linked.instructions

    @property
    def references(self) -> list[Reference]:
        return self.linked.references

    @property
    def core_relos(self) -> list[CoreRelo]:
        return self.linked.core_relos

    @property
    def has_core_relos(self) -> bool:
        return bool(self.linked.core_relos)


class Variable(NamedTuple):
    """A variable of a data section: byte offset, size in bytes, BTF type id (0 if unknown)."""

    name: str
    offset: int
    size: int
    type_id: int = 0
    is_static: bool = False


class DataRelocation(NamedTuple):
    """A pointer stored in a data section: offset in bytes, bytes stored, what it points to."""

    offset: int
    size: int
    target: str
    addend: int


class DataKind(enum.StrEnum):
    """How a data section is loaded: read-only and frozen, or writable."""

    RODATA = "rodata"
    DATA = "data"
    BSS = "bss"
    KCONFIG = "kconfig"
    ARENA = "arena"


@dataclass
class DataSection:
    """A section of global variables; it becomes an array map with one element.

    `content` is the initial value (changed by `write` before the object is loaded).
    """

    name: str
    kind: DataKind
    size: int
    variables: dict[str, Variable] = field(default_factory=dict)
    type_id: int = 0
    initial: bytes = field(default=b"", repr=False)
    relocations: tuple[DataRelocation, ...] = ()

    @cached_property
    def content(self) -> bytearray:
        """`size` bytes; made on first use, since a .bss may claim any size."""
        made = bytearray(self.size)            # zeroed lazily by the system, unlike a padded copy
        made[:len(self.initial)] = self.initial
        return made

    @property
    def attribute(self) -> str:
        """The name as a Python attribute: `rodata`, `data_cold`, ... (as skeletons have it)."""
        if self.kind is DataKind.ARENA:
            return "arena"
        return "".join(c if c.isalnum() else "_" for c in self.name.lstrip("."))


@dataclass
class StructOps:
    """A struct_ops variable: its type in the object's BTF, its bytes, and the names of the programs
    that its function pointers mean, by the number of the member."""

    type_id: int
    content: bytearray = field(repr=False)
    programs: dict[int, str] = field(default_factory=dict)


@dataclass
class MapSpec:
    """A map: what BPF_MAP_CREATE takes, and what to put in before programs are loaded.

    `values` maps an index to the name of a map (maps of maps) or program (prog arrays); `inner`
    is the template of a map of maps; `data` the section behind a global variable's map; `arena`
    the section of variables at the start of an arena; `struct_ops` what a struct_ops map is made
    from; `extra` what a legacy definition holds after its five known fields. `pin_path` is where
    the map is pinned and looked for (None: as `pinning` and the directory for pins say).
    """

    name: str
    type: int = uapi.BPF_MAP_TYPE_UNSPEC
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    numa_node: int = 0
    map_extra: int = 0
    pinning: int = 0
    key_type_id: int = 0
    value_type_id: int = 0
    inner: MapSpec | None = None
    values: dict[int, str] = field(default_factory=dict)
    section: str = ""
    offset: int = 0
    extra: bytes = b""
    data: DataSection | None = None
    arena: DataSection | None = None
    struct_ops: StructOps | None = None
    pin_path: str | None = None
    autocreate: bool = True
    autoattach: bool = True

    def settle(self) -> None:
        """Make `max_entries` of a ring buffer a size that it can have."""
        if self.type in RING_BUFFERS and self.max_entries:
            self.max_entries = ring_size(self.max_entries)


def ring_size(wanted: int) -> int:
    """The next size that a ring buffer can have: a power of two of whole pages."""
    pages = -(-wanted // PAGE)
    size = PAGE << (pages - 1).bit_length()
    return size if size <= uapi.U32 else wanted


class ExternSpec(NamedTuple):
    """Something the kernel must provide: `section` is .kconfig or .ksyms.

    `type_id` is the BTF type of the variable (0: `extern const void`), or of the function.
    `offset` and `size` are a .kconfig variable's place in its map.
    """

    name: str
    section: str
    is_weak: bool
    is_func: bool
    btf_id: int
    type_id: int
    offset: int = 0
    size: int = 0


@dataclass
class ObjectSpec:
    """Everything that one object file says.

    `btf` has section sizes and variable offsets filled in; `other` keeps the sections that are
    neither code nor data of a program (metadata of loaders, say) by name. `kconfig` is text of
    lines `CONFIG_X=y`, which wins over the kernel's own configuration.
    """

    name: str
    byteorder: ByteOrder
    license: str = ""
    version: int = 0
    programs: dict[str, ProgramSpec] = field(default_factory=dict)
    functions: Functions = field(default_factory=Functions)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    externs: dict[str, ExternSpec] = field(default_factory=dict)
    btf: Btf | None = None
    kconfig: str = ""
    other: dict[str, bytes] = field(default_factory=dict, repr=False)
    sections: list[tuple[str, int]] = field(default_factory=list, repr=False)

    @property
    def data_sections(self) -> Iterator[DataSection]:
        """The sections of global variables, in file order."""
        return (d for m in self.maps.values() for d in (m.data, m.arena) if d is not None)
