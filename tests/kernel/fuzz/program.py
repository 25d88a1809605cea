"""Random programs: seeded, mostly sensible, sometimes wrong.

A program is assembler text. Registers keep one meaning: r6 is the context, r7 and r8 the packet
and its end (where the type has them), r9 a number; r0 to r5 come and go. A *statement* is a
function that writes some lines; the modules `numbers`, `memory` and `control` have them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from anybpf import uapi
from anybpf.proto import contexts, kinds
from anybpf.proto.contexts import SCALAR
from kernel.fuzz.lines import Lines
from kernel.fuzz.world import FUNCS, Sample, sample
from kernel.verdicts import ATTACH, BY_BTF

ALU = ("+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "%=", "^=", "s>>=", "s/=", "s%=")
CONDITIONS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
NUMBERS = (0, 1, 2, 3, 7, 8, 14, 15, 16, 31, 32, 63, 64, 255, 256, 511, 4096, 65535, 0x7FFFFFFF,
           -1, -2, -8, -16, -128, -4096, -0x80000000)
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


FLAGS = ((uapi.BPF_F_TEST_STATE_FREQ, 0.25), (uapi.BPF_F_STRICT_ALIGNMENT, 0.03),
         (uapi.BPF_F_TEST_REG_INVARIANTS, 0.03), (uapi.BPF_F_ANY_ALIGNMENT, 0.01))


class Kind(NamedTuple):
    """A program type: where its context has the packet, and fields that may be read and written."""

    type: int
    weight: int
    data: int = -1
    end: int = -1
    meta: int = -1
    reads: tuple[tuple[str, int], ...] = ()
    writes: tuple[tuple[str, int], ...] = ()
    #: groups of statements that only some types can have
    has: frozenset[str] = frozenset()
    attach: int = 0


_SKB_READS = (("u32", 0), ("u32", 4), ("u32", 8), ("u16", 0), ("u8", 1), ("u32", 16), ("u32", 48),
              ("u32", 60), ("u64", 152), ("u32", 164), ("u32", 176), ("u64", 8), ("u16", 18))
KINDS = (
    Kind(uapi.BPF_PROG_TYPE_SCHED_CLS, 8, 76, 80, 140, _SKB_READS,
         (("u32", 8), ("u32", 48), ("u32", 56), ("u16", 48), ("u64", 152)),
         frozenset({"skb", "packet", "sock"})),
    Kind(uapi.BPF_PROG_TYPE_XDP, 6, 0, 4, 8,
         (("u32", 12), ("u32", 16), ("u32", 20), ("u16", 12), ("u64", 0)), (("u32", 0),),
         frozenset({"xdp", "packet"})),
    Kind(uapi.BPF_PROG_TYPE_SOCKET_FILTER, 3, reads=_SKB_READS, writes=(("u32", 48), ("u32", 8)),
         has=frozenset({"filter"})),
    Kind(uapi.BPF_PROG_TYPE_CGROUP_SKB, 1, 76, 80, reads=_SKB_READS, writes=(("u32", 48),),
         has=frozenset({"packet"})),
    Kind(uapi.BPF_PROG_TYPE_KPROBE, 2, reads=(("u64", 0), ("u64", 112), ("u32", 0), ("u64", 168)),
         has=frozenset({"trace"})),
    Kind(uapi.BPF_PROG_TYPE_TRACEPOINT, 1, reads=(("u64", 0), ("u64", 8), ("u32", 4), ("u8", 100)),
         has=frozenset({"trace"})),
)


_SIZES = ((1, "u8"), (2, "u16"), (4, "u32"), (8, "u64"))


def _rare(prog_type: int) -> Kind:
    """A type whose fields are those of our rows."""
    view, attach = contexts.VIEWS[prog_type], ATTACH.get(prog_type, 0)
    places = [(name, size, off) for off in range(256) for size, name in _SIZES]
    reads = {(name, off): contexts.load(view, off, size, attach) for name, size, off in places}
    numbers = tuple(at for at, field in reads.items() if field and field.kind == SCALAR)
    writes = tuple((name, off) for name, size, off in places
                   if contexts.store(view, off, size, attach))
    where = {field.kind: off for (_, off), field in reads.items() if field}
    data, end = where.get(kinds.PTR_TO_PACKET, -1), where.get(kinds.PTR_TO_PACKET_END, -1)
    has = frozenset({"packet"}) if data >= 0 and end >= 0 else frozenset[str]()
    return Kind(prog_type, 1, data if has else -1, end if has else -1, -1,
                numbers or (("u64", 0),), writes, has, attach)


#: types that are made now and then, where they are not among `KINDS`
RARE = tuple(_rare(number) for number in contexts.VIEWS
             if number not in {k.type for k in KINDS} | BY_BTF)
RARELY = 0.2


class Program(Lines):
    """One random program; `sample` after `make()`."""

    def __init__(self, seed: int, statements: int = 14) -> None:
        self.random = random.Random(seed)
        self.kind = self.random.choices(KINDS, [k.weight for k in KINDS])[0]
        if self.chance(RARELY):
            self.kind = self.random.choice(RARE)
        self.lines: list[str] = []
        self.labels = 0
        self.statements = statements
        #: registers among r0 .. r9 that surely hold numbers
        self.scalars: set[int] = set()
        #: slots of the stack that were written
        self.stored: set[int] = set()
        #: slots of the stack that hold pointers: what kind
        self.spilled: dict[int, str] = {}
        self.functions: dict[str, list[str]] = {}

    # -- the whole

    def make(self, choice: Sequence[Statement]) -> str:
        """The text: prologue, statements, end, functions."""
        self.emit("r6 = r1")
        if self.kind.data >= 0:
            self.emit(f"r7 = *(u32 *)(r6 + {self.kind.data})",
                      f"r8 = *(u32 *)(r6 + {self.kind.end})")
        self.emit("call bpf_get_prandom_u32", "r9 = r0")
        self.scalars = {0, 9}
        for _ in range(self.statements):
            self.one_of(choice)
        self.emit("r0 = 0" if self.chance(0.85) else f"r0 = r{self.number_reg()}", "exit")
        for name in list(self.functions):
            self.lines += [f"{name}:", *self.functions[name]]
        return "\n".join(self.lines)

    def one_of(self, choice: Sequence[Statement]) -> None:
        """One statement that the program's type can have."""
        while True:
            statement = self.random.choice(choice)
            needs = getattr(statement, "needs", "")
            if not needs or needs in self.kind.has:
                statement(self)
                return

    # -- what statements use

    def number_reg(self) -> int:
        """A register that holds a number."""
        return self.random.choice(sorted(self.scalars))

    def number(self) -> int:
        return self.random.choice(NUMBERS) if self.chance(0.8) else self.random.randint(-300, 300)

    def clobber(self, *registers: int) -> None:
        """These hold no numbers any more."""
        self.scalars -= set(registers)

    def called(self) -> None:
        """A helper or function was called: r0 is a number."""
        self.clobber(1, 2, 3, 4, 5)
        self.scalars.add(0)

    def wrote(self, off: int, size: int = 8) -> None:
        """The stack from `off` (below 0) was written."""
        for slot in range(off - off % 8, min(off + size, 0), 8):
            self.stored.add(slot)
            self.spilled.pop(slot, None)

    def function(self, name: str, *lines: str) -> str:
        """A function of the program, written once."""
        assert name in FUNCS
        self.functions.setdefault(name, list(lines))
        return name

    def inside(self, choice: Sequence[Statement], most: int) -> None:
        """Some statements on a way that may not be taken: what they set is forgotten."""
        before, stored, spilled = set(self.scalars), set(self.stored), dict(self.spilled)
        for _ in range(self.random.randrange(most + 1)):
            self.one_of(choice)
        self.scalars &= before
        self.stored &= stored
        self.spilled = {k: v for k, v in spilled.items() if self.spilled.get(k) == v}


Statement = Callable[[Program], None]


def needs(group: str) -> Callable[[Statement], Statement]:
    """The statement is only for types that have this group."""
    def mark(statement: Statement) -> Statement:
        statement.needs = group  # type: ignore[attr-defined]
        return statement
    return mark


def text(seed: int, statements: int = 14) -> tuple[str, Program]:
    """The program of a seed, the same every time, and what made it."""
    from kernel.fuzz import statements as all_

    program = Program(seed, statements)
    return program.make(all_.profile(seed)), program


def make(seed: int, statements: int = 14) -> Sample:
    """The sample of a seed, with flags and source lines now and then."""
    source, program = text(seed, statements)
    flags = sum(flag for flag, probability in FLAGS if program.chance(probability))
    if program.kind.type == uapi.BPF_PROG_TYPE_SYSCALL:
        flags |= uapi.BPF_F_SLEEPABLE
    return sample(source, program.kind.type, flags, program.chance(0.15))._replace(
        attach=program.kind.attach)
