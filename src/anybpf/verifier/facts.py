"""What the verifier is told about a program and its maps: plain data (struct bpf_prog_aux)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from anybpf import uapi
from anybpf.btf.fields import LOCKS, Field
from anybpf.proto import maps
from anybpf.proto.access import ALL_CAPS
from anybpf.proto.struct_ops import BY_NAME as STRUCT_OPS
from anybpf.proto.struct_ops import StructOps

if TYPE_CHECKING:
    from anybpf.btf.parse import Btf
    from anybpf.btf.relo_cands import Target
    from anybpf.btf.types import FuncProto
    from anybpf.isa.insn import Insn
    from anybpf.proto.kfuncs import Kfunc


FD_SIZE = 4


def map_address(number: int) -> int:
    """Where the map of this number is said to be in the kernel's memory."""
    return 0xFFFF_8880_0000_0000 + 0x1000 * number


@dataclass(eq=False)
class MapFacts:
    """A map as the verifier sees it. `address` is only printed (`r1 = 0xffff...`)."""

    type: int
    key_size: int = 4
    value_size: int = 8
    max_entries: int = 1
    flags: int = 0
    name: str = ""
    address: int = map_address(0)
    #: what a frozen, read-only array holds, so that loads from it are constants; or None
    content: bytes | None = None
    frozen: bool = False
    inner: MapFacts | None = None
    #: locks, timers, kernel pointers, ... in the value (`btf.fields.value_fields()`)
    fields: tuple[Field, ...] = ()
    #: whether the map was made with types
    has_btf: bool = False
    #: the digest of the only program that may use the map, or empty
    exclusive: bytes = b""
    #: where an arena's memory lies in user space; empty: nobody has said yet
    user_memory: range = range(0)
    #: the types that it was made with, which pointers to a program's own objects need
    btf: Btf | None = None

    def __post_init__(self) -> None:
        if self.btf is None and any(one.value_type for one in self.fields):
            raise ValueError("members that name types go with the types that they name (btf)")
        row = maps.BY_TYPE.get(self.type)
        self.flags |= row.adds if row is not None else 0
        if self.inner is not None:
            # what inner maps have in common is known, not which one there will be
            self.inner = replace(self.inner, name="", content=None, frozen=False)

    def offset_of(self, name: str) -> int:
        """Where the value has its `struct NAME` (or pointer with tag NAME); -1: it has none."""
        return next((f.offset for f in self.fields if f.special.name == name), -1)

    @property
    def has_lock(self) -> bool:
        return any(f.special.name in LOCKS for f in self.fields)


class TypesFacts(NamedTuple):
    """Types behind a descriptor: whose they are, if a module's of the kernel."""

    btf: Btf
    module: str = ""


class FuncArg(NamedTuple):
    """An argument of a function by its prototype: `"scalar"`, `"ctx"`, `"mem"` of `size` bytes, or
    `"dynptr"`, `"arena"`, `"untrusted"` memory, or a pointer to a struct of the kernel:
    `"trusted_btf"`, `"untrusted_btf"`, with its number in the kernel's types."""

    kind: str
    size: int = 0
    nullable: bool = True
    type_id: int = 0


class FuncInfo(NamedTuple):
    """A function's first slot, its name, whether it is global, and the FUNC in `Facts.btf`."""

    insn: int
    name: str
    is_global: bool = False
    type_id: int = 0


class LineInfo(NamedTuple):
    """The source line of the instructions from slot `insn` on."""

    insn: int
    file: str
    line: int
    text: str
    #: struct bpf_line_info
    record: tuple[int, ...] = ()


def line_at(lines: Sequence[LineInfo], insn: int) -> LineInfo | None:
    """The source line that slot `insn` belongs to; None where no record is about it."""
    at = bisect_right(lines, insn, key=lambda line: line.insn) - 1
    return lines[at] if at >= 0 else None


class Descriptors(dict[int, int]):
    """The caller's array of descriptors in memory; each is read once, when it is asked for."""

    def __init__(self, address: int, read: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._address = address
        self._read = read

    @classmethod
    def of(cls, address: int, read: Callable[[int, int], bytes]) -> Descriptors | None:
        """The array at `address`, which `read(address, size)` reads; at 0 there is none."""
        return cls(address, read) if address else None

    def __missing__(self, index: int) -> int:
        data = self._read(self._address + index * FD_SIZE, FD_SIZE)
        self[index] = int.from_bytes(data, "little", signed=True)
        return self[index]


@dataclass(frozen=True)
class Table:
    """Records in the caller's memory: how many, each of how many bytes, and how they are read.

    `read(offset, size)` and `tell(size)`, which answers with the size that is known, may raise
    BpfError.
    """

    count: int
    size: int
    read: Callable[[int, int], bytes]
    tell: Callable[[int], None]


@dataclass
class Records:
    """What a caller gives beside a program; each is read, and checked, when its turn comes.

    `btf` is the program's own types, `target` what CO-RE relocates against. Both may raise
    BpfError.
    """

    btf: Callable[[], Btf]
    funcs: Table
    lines: Table
    relos: Table
    target: Callable[[], Target | None]


class FunctionFacts(NamedTuple):
    """A function of a program that was verified (struct bpf_func_info_aux, struct bpf_prog_aux)."""

    #: the FUNC in the program's types; 0: it has none
    type_id: int = 0
    name: str = ""
    #: its types say something else than its code
    unreliable: bool = False
    changes_packet: bool = False
    might_sleep: bool = False
    is_exception_callback: bool = False


@dataclass(frozen=True)
class ProgramFacts:
    """A loaded program that another one attaches to (struct bpf_prog)."""

    type: int
    attach_type: int = 0
    btf: Btf | None = None
    #: in their order; a program without types has none here
    functions: tuple[FunctionFacts, ...] = ()
    #: of an extension: the type of the program that it extends
    extends: int = 0
    #: it is a tracing program that is attached to a program itself
    traces_program: bool = False

    @classmethod
    def of(cls, facts: Facts, verdict: Verdict) -> ProgramFacts:
        """The same of a program that was accepted."""
        to = facts.attach_prog
        extends = to is not None and facts.type == uapi.BPF_PROG_TYPE_EXT
        traces = to is not None and to.type == facts.type == uapi.BPF_PROG_TYPE_TRACING
        return cls(facts.type, facts.attach_type, facts.btf, verdict.functions,
                   to.type if to is not None and extends else 0, traces)

    @property
    def context(self) -> int:
        """The type of the program whose context functions of this one take."""
        return self.extends or self.type


@dataclass
class Facts:
    """A program: its type and what surrounds it.

    `maps` is keyed by descriptor; it may raise BpfError for what is no map. `funcs`, `lines` and
    `btf` are filled in from `records` where those are given.
    """

    type: int
    attach_type: int = 0
    gpl: bool = True
    sleepable: bool = False
    flags: int = 0
    caps: int = ALL_CAPS
    maps: Mapping[int, MapFacts] = field(default_factory=dict)
    funcs: tuple[FuncInfo, ...] = ()
    lines: tuple[LineInfo, ...] = ()
    #: the descriptors that `BPF_PSEUDO_MAP_IDX` loads index; the first `bound` of them are the
    #: program's whether it uses them or not
    fd_array: Sequence[int] | Mapping[int, int] | None = None
    bound: int = 0
    #: the descriptors that are types; it may raise BpfError for what is none
    btfs: Mapping[int, TypesFacts] = field(default_factory=dict)
    #: rows of kernel functions by name that `proto.kfuncs` does not have: those of other modules
    kfuncs: Mapping[str, Kfunc] = field(default_factory=dict)
    #: the function, hook or tracepoint that is attached to: its number in the types of the program
    #: or module below, or in the kernel's
    attach_btf_id: int = 0
    attach_prog: ProgramFacts | None = None
    attach_module: Btf | None = None
    #: structs of functions that the kernel has registered, by name
    struct_ops: Mapping[str, StructOps] = field(default_factory=lambda: STRUCT_OPS)
    #: addresses of the kernel's variables and functions; None: whatever has a type has one
    symbols: Mapping[str, int] | None = None
    #: helpers that the kernel was built without, by name (`probe_write_user`), and stores that its
    #: policy keeps away (`View.store_feature`)
    lacks: frozenset[str] = frozenset()
    #: how many CPUs the kernel may have, which bounds bpf_get_smp_processor_id()
    cpus: int = 1
    #: the kernel's types, which kernel functions and typed pointers need; or None
    kernel_btf: Btf | None = None
    #: the program's own types, or None
    btf: Btf | None = None
    records: Records | None = None
    #: what names a program to maps that are for one program alone
    digest: Callable[[Sequence[Insn]], bytes] | None = None

    @property
    def attach_btf(self) -> Btf | None:
        """The types that `attach_btf_id` is a number of."""
        if self.attach_prog is not None:
            return self.attach_prog.btf
        return self.attach_module or self.kernel_btf

    @property
    def strict_alignment(self) -> bool:
        asked = self.flags & (uapi.BPF_F_STRICT_ALIGNMENT | uapi.BPF_F_ANY_ALIGNMENT)
        return asked == uapi.BPF_F_STRICT_ALIGNMENT


class Attachment(NamedTuple):
    """What a tracing program attaches to: its name, and its prototype if that is to be believed."""

    name: str
    btf: Btf
    proto: FuncProto | None
    #: first arguments that programs do not see
    skipped: int = 0
    #: numbers of arguments that may be NULL
    nullable: tuple[int, ...] = ()
    #: numbers of pointers that may be an error number instead
    errors: tuple[int, ...] = ()
    #: numbers of arguments that are of another kind than their type says
    kinds: Mapping[int, int] = MappingProxyType({})
    #: arguments are valid and cannot go away
    trusted: bool = False
    #: the numbers that a hook of security modules gives; None: it gives nothing
    results: tuple[int, int] | None = None
    #: it is in a program, whose functions take pointers to the context of this type of program
    context: int = 0
    #: the struct that a function is a member of
    ops: StructOps | None = None
    #: numbers of arguments that must be given back
    held: tuple[int, ...] = ()

    @property
    def hook(self) -> tuple[str, str] | None:
        """The struct and its member."""
        return (self.ops.name, self.name) if self.ops is not None else None

    @property
    def helpers(self) -> str:
        """What `access.Grant.targets` calls it."""
        return self.name if self.ops is None else self.ops.target(self.name)


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
    #: how many bytes the log had when it was longest (with log level 1 it is cut back)
    longest: int = 0
    time_us: int = 0
    #: the instructions behind CO-RE, map references as they were given
    program: tuple[Insn, ...] = ()
    #: the first slot of every function
    starts: tuple[int, ...] = ()
    maps: tuple[MapFacts, ...] = ()
    #: how many bytes of context the program needs
    max_ctx_offset: int = 0
    #: for who attaches to it
    functions: tuple[FunctionFacts, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.errno == 0
