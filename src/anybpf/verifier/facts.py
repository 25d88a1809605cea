"""What the verifier is told about a program and its maps: plain data (struct bpf_prog_aux)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from anybpf import uapi
from anybpf.btf.fields import LOCKS, Field
from anybpf.proto.access import ALL_CAPS

if TYPE_CHECKING:
    from anybpf.btf.parse import Btf


@dataclass(eq=False)
class MapFacts:
    """A map as the verifier sees it. `address` is only printed (`r1 = 0xffff...`)."""

    type: int
    key_size: int = 4
    value_size: int = 8
    max_entries: int = 1
    flags: int = 0
    name: str = ""
    address: int = 0xFFFF_8880_0000_0000
    #: what a frozen, read-only array holds, so that loads from it are constants; or None
    content: bytes | None = None
    frozen: bool = False
    inner: MapFacts | None = None
    #: locks, timers, kernel pointers, ... in the value (`btf.fields.value_fields()`)
    fields: tuple[Field, ...] = ()
    #: whether the map was made with types
    has_btf: bool = False

    def offset_of(self, name: str) -> int:
        """Where the value has its `struct NAME` (or pointer with tag NAME); -1: it has none."""
        return next((f.offset for f in self.fields if f.special.name == name), -1)

    @property
    def has_lock(self) -> bool:
        return any(f.special.name in LOCKS for f in self.fields)


class FuncArg(NamedTuple):
    """An argument of a global function: `"scalar"`, `"ctx"`, or `"mem"` of `size` bytes."""

    kind: str
    size: int = 0
    nullable: bool = True


class FuncInfo(NamedTuple):
    """A function's first slot, its name, and whether it is global; then what it takes.

    `args` is None where the prototype is not one that a global function may have, or needs
    what is not modelled (`verifier.prototypes` makes it from BTF).
    """

    insn: int
    name: str
    is_global: bool = False
    args: tuple[FuncArg, ...] | None = None


class LineInfo(NamedTuple):
    """The source line of the instructions from slot `insn` on."""

    insn: int
    file: str
    line: int
    text: str


@dataclass
class Facts:
    """A program: its type and what surrounds it. `maps` is keyed by the descriptor (or, for
    `BPF_PSEUDO_MAP_IDX`, the index) that the instructions hold."""

    type: int
    attach_type: int = 0
    gpl: bool = True
    sleepable: bool = False
    flags: int = 0
    caps: int = ALL_CAPS
    maps: Mapping[int, MapFacts] = field(default_factory=dict)
    funcs: tuple[FuncInfo, ...] = ()
    lines: tuple[LineInfo, ...] = ()
    #: whether there is an array that `BPF_PSEUDO_MAP_IDX` loads index
    fd_array: bool = True
    #: how many CPUs the kernel may have, which bounds bpf_get_smp_processor_id()
    cpus: int = 1
    #: the kernel's types, which kernel functions and typed pointers need; or None
    kernel_btf: Btf | None = None
    #: the program's own types, or None
    btf: Btf | None = None

    @property
    def strict_alignment(self) -> bool:
        return bool(self.flags & uapi.BPF_F_STRICT_ALIGNMENT)


@dataclass(frozen=True)
class Options:
    """How to verify: `log_level` bits are `uapi.BPF_LOG_*`."""

    log_level: int = 0
    insn_limit: int = uapi.BPF_COMPLEXITY_LIMIT_INSNS


@dataclass(frozen=True)
class Verdict:
    """The answer. `errno` is 0 for an accepted program; `message` is the line that rejects."""

    errno: int
    message: str
    insn: int | None
    log: str
    insns: int
    max_states_per_insn: int
    total_states: int
    peak_states: int
    stack: tuple[int, ...]

    @property
    def accepted(self) -> bool:
        return self.errno == 0
