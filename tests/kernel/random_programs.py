"""Random programs for both verifiers: seeded, mostly sensible, sometimes wrong.

Each program is assembler text. It mixes arithmetic, branches, the stack, packets, map values,
loops and functions, with registers that mostly hold what the instruction wants.
"""

from __future__ import annotations

import random
from collections.abc import Callable

ALU = ("+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "%=", "^=", "s>>=", "s/=", "s%=")
CONDITIONS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
NUMBERS = (0, 1, 2, 3, 7, 8, 14, 15, 16, 31, 32, 63, 64, 255, 256, 511, 4096, 65535, 0x7FFFFFFF,
           -1, -2, -8, -16, -128, -4096, -0x80000000)
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


class Program:
    """One random program; `text` after `make()`."""

    def __init__(self, seed: int, statements: int = 24) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.labels = 0
        self.statements = statements
        self.scalars: set[int] = set()
        self.stored: set[int] = set()

    def make(self) -> str:
        """The program: r6 the context, r7 and r8 packet and end, r9 a number."""
        self._emit("r6 = r1", "r7 = *(u32 *)(r6 + 76)", "r8 = *(u32 *)(r6 + 80)")
        self._emit("call bpf_get_prandom_u32", "r9 = r0")
        self.scalars = {0, 9}
        for _ in range(self.statements):
            self.random.choice(STATEMENTS)(self)
        self._emit("r0 = 0" if self.random.random() < 0.9 else "r0 = r9", "exit")
        if any("call f" in line for line in self.lines):
            self._emit("f:", "r0 = r1", "if r2 s> 3 goto f1", "r0 = 4", "*(u64 *)(r10 - 8) = r2",
                       "f1:", "r0 &= 15", "exit")
        return "\n".join(self.lines)

    def _emit(self, *lines: str) -> None:
        self.lines += lines

    def _label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def _reg(self) -> int:
        """A register that holds a number."""
        return self.random.choice(sorted(self.scalars))

    def _number(self) -> int:
        pick = self.random.random()
        return self.random.choice(NUMBERS) if pick < 0.8 else self.random.randint(-300, 300)

    # -- statements

    def alu(self) -> None:
        """Arithmetic of either width."""
        op, width = self.random.choice(ALU), self.random.choice("rrw")
        dst = self._reg()
        number: str | int = f"{width}{self._reg()}"
        if self.random.random() < 0.6:
            number = self._number()
            if op in ("<<=", ">>=", "s>>="):
                number = self.random.randrange(64 if width == "r" else 32)
            elif "/" in op or "%" in op:
                number = number or 3
        self._emit(f"{width}{dst} {op} {number}")

    def move(self) -> None:
        """Copies, constants, extensions, swaps."""
        dst, src = self.random.randrange(6), self._reg()
        self._emit(self.random.choice((
            f"r{dst} = r{src}", f"r{dst} = r{src}", f"w{dst} = w{src}",
            f"r{dst} = {self._number()}",
            f"r{dst} = (s8)r{src}", f"r{dst} = (s16)r{src}", f"r{dst} = (s32)r{src}",
            f"w{dst} = (s8)w{src}", f"w{dst} = (s16)w{src}")))
        self.scalars.add(dst)
        if self.random.random() < 0.2:
            self._emit(self.random.choice((f"r{dst} = be16 r{dst}", f"r{dst} = bswap32 r{dst}",
                                           f"r{dst} = -r{dst}", f"w{dst} = -w{dst}",
                                           f"r{dst} = le32 r{dst}", f"r{dst} = be64 r{dst}")))

    def branch(self) -> None:
        """A comparison over a few statements; what they set is forgotten."""
        width, label = self.random.choice("rrw"), self._label()
        other = f"{width}{self._reg()}" if self.random.random() < 0.4 else self._number()
        self._emit(f"if {width}{self._reg()} {self.random.choice(CONDITIONS)} {other} goto {label}")
        before, stored = set(self.scalars), set(self.stored)
        for _ in range(self.random.randrange(4)):
            self.random.choice(SIMPLE)(self)
        self.scalars &= before
        self.stored &= stored
        self._emit(f"{label}:")

    def store(self) -> None:
        """Spill a number, or store a constant."""
        size = self.random.choice((*SIZES, "u64", "u64"))
        off = -SIZES[size] * self.random.randint(1, 64 // SIZES[size])
        what = f"r{self._reg()}" if self.random.random() < 0.8 else str(self._number())
        self._emit(f"*({size} *)(r10 - {-off}) = {what}")
        self.stored.add(off - off % 8)

    def load(self) -> None:
        """Fill from what was stored, whole or in part."""
        if not self.stored:
            return
        size, dst = self.random.choice((*SIZES, "u64", "u64")), self.random.randrange(6)
        base = self.random.choice(sorted(self.stored))
        off = base + SIZES[size] * self.random.randrange(8 // SIZES[size])
        self._emit(f"r{dst} = *({size} *)(r10 - {-off})")
        self.scalars.add(dst)

    def stack_variable(self) -> None:
        """An access of the stack at an offset that is not known."""
        reg, mask = self._reg(), self.random.choice((7, 8, 15, 24, 56))
        self._emit(f"r5 = r{reg}", f"r5 &= {mask}", "r4 = r10", "r4 += -64", "r4 += r5")
        self._emit(self.random.choice((
            f"*(u8 *)(r4 + 0) = r{reg}", "*(u8 *)(r4 + 0) = 0", "r3 = *(u8 *)(r4 + 0)",
            "r3 = *(u64 *)(r4 + 0)")))
        self.scalars.discard(4)
        self.scalars.add(5)
        if "r3" in self.lines[-1]:
            self.scalars.add(3)

    def packet(self) -> None:
        """A bounds check and accesses behind it."""
        label, reach = self._label(), self.random.choice((1, 2, 14, 34))
        self._emit("r2 = r7")
        self.scalars.discard(2)
        if self.random.random() < 0.4:
            self._emit(f"r3 = r{self._reg()}", f"r3 &= {self.random.choice((3, 15, 255))}",
                       "r2 += r3")
            self.scalars.add(3)
        self._emit("r4 = r2", f"r4 += {reach}", self.random.choice((
            f"if r4 > r8 goto {label}", f"if r4 >= r8 goto {label}", f"if r8 < r4 goto {label}",
            f"if r8 <= r4 goto {label}")))
        self.scalars.discard(4)
        off = self.random.choice((0, 0, reach - 1, reach - 1, reach))
        self._emit(self.random.choice((f"r5 = *(u8 *)(r2 + {off})", f"*(u8 *)(r2 + {off}) = 1")))
        self.scalars.discard(5)
        self._emit(f"{label}:")

    def map_value(self) -> None:
        """A lookup and an access of the value."""
        label = self._label()
        key = f"w{self._reg()}" if self.random.random() < 0.3 else self.random.choice((0, 1, 9))
        self._emit(f"w1 = {key}", "*(u32 *)(r10 - 4) = r1", "r2 = r10", "r2 += -4",
                   f"r1 = {self.random.choice(('array', 'hash'))} ll",
                   "call bpf_map_lookup_elem", f"if r0 == 0 goto {label}")
        self.scalars -= {0, 1, 2, 3, 4, 5}
        self.stored.add(-8)
        if self.random.random() < 0.5:
            self._emit(f"r1 = r{self._reg()}", f"r1 &= {self.random.choice((3, 7, 8))}", "r0 += r1")
        self._emit(self.random.choice(("r1 = *(u8 *)(r0 + 0)", "*(u8 *)(r0 + 0) = 1",
                                       "r1 = *(u64 *)(r0 + 0)", "*(u8 *)(r0 + 7) = r9")),
                   f"{label}:")
        self._emit("r0 = r9")
        self.scalars.add(0)

    def loop(self) -> None:
        """A loop that ends."""
        label, count = self._label(), self.random.choice((2, 3, 5, 9))
        self._emit("r5 = 0", f"{label}:")
        self.scalars.add(5)
        for _ in range(self.random.randrange(3)):
            self.alu_other_than_5()
        self._emit("r5 += 1", f"if r5 < {count} goto {label}")

    def alu_other_than_5(self) -> None:
        self._emit(f"r9 {self.random.choice(ALU[:3])} {self._number()}")

    def call(self) -> None:
        """A function of the program."""
        self._emit(f"r1 = r{self._reg()}", f"r2 = r{self._reg()}", "call f")
        self.scalars -= {1, 2, 3, 4, 5}
        self.scalars.add(0)

    def wrong(self) -> None:
        """Now and then something that is refused."""
        if self.random.random() < 0.15:
            self._emit(self.random.choice((
                "r3 = *(u64 *)(r9 + 0)", "r10 += 1", "r3 = *(u8 *)(r10 + 8)", "r3 = r7",
                "*(u64 *)(r10 - 520) = r9", "r3 = *(u32 *)(r6 + 500)", "r6 += 8",
                "r3 = *(u8 *)(r7 + 0)", "r3 = r10", "r4 = r10",
                "*(u64 *)(r10 - 8) = r7", "r3 = *(u64 *)(r10 - 12)")))


SIMPLE: tuple[Callable[[Program], None], ...] = (
    Program.alu, Program.alu, Program.alu, Program.move, Program.move, Program.store, Program.load)
STATEMENTS: tuple[Callable[[Program], None], ...] = (
    *SIMPLE, Program.branch, Program.branch, Program.branch, Program.stack_variable,
    Program.packet, Program.map_value, Program.loop, Program.call, Program.wrong)


def text(seed: int, statements: int = 24) -> str:
    """The program of `seed`: the same every time."""
    return Program(seed, statements).make()
