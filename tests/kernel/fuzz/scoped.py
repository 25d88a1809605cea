"""Random programs of the typed world: values with kinds, and scopes at whose end they are given up.

r6 is the context; r7 to r9 and slots of the stack keep values as long as their scope lasts. A
statement that gets something to give back makes a scope of it: more statements, then the end. So
programs are accepted unless something is forgotten, which happens now and then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kernel.fuzz.lines import Lines
from kernel.fuzz.program import CONDITIONS, NUMBERS
from kernel.fuzz.scenes import FUNCTIONS, Scene

#: how often something is forgotten, for half of the programs
CARELESS = 0.04
REGISTERS = ("r7", "r8", "r9")
#: below these bytes of the stack are places for values; the ones above are for scratch
SCRATCH, LOWEST = -96, -440
DEEPEST, LONGEST = 4, 260


@dataclass(eq=False)
class Value:
    """Something a program holds: its kind, and a register or a place on the stack."""

    kind: str
    home: str
    size: int = 8
    #: what a `btf` value points to, or how long memory is
    of: str = ""
    #: the map that it is a value of
    map: str = ""


@dataclass(eq=False)
class Scoped(Lines):
    """One random program of the typed world."""

    random: random.Random
    scene: Scene
    choice: Sequence[Statement]
    lines: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    functions: dict[str, list[str]] = field(default_factory=dict)
    free: list[str] = field(default_factory=lambda: list(REGISTERS))
    floor: int = SCRATCH
    depth: int = 0
    labels: int = 0
    careless: float = 0
    #: what holds around here: "locked", "rcu", "preempt", "irq", "callback"
    around: list[str] = field(default_factory=list)
    #: what must be given back before the program may end
    owed: int = 0

    # -- lines

    def slip(self) -> bool:
        """Whether something is forgotten here."""
        return self.chance(self.careless)

    def number(self) -> int:
        return self.random.choice(NUMBERS) if self.chance(0.7) else self.random.randrange(64)

    def condition(self, taken: str) -> None:
        """A branch nobody knows."""
        self.emit("call bpf_get_prandom_u32", f"if {self.pick('r0', 'w0')} "
                  f"{self.random.choice(CONDITIONS)} {self.number()} goto {taken}")

    def arg(self, reg: int, what: str | int | Value) -> None:
        """The register gets a number, an address on the stack (`fp-8`), a map, a value."""
        text = what.home if isinstance(what, Value) else str(what)
        if text.startswith("fp"):
            memory = isinstance(what, Value) and what.kind not in PLACES
            self.emit(*([f"r{reg} = *(u64 *)(r10 - {text[3:]})"] if memory
                        else [f"r{reg} = r10", f"r{reg} += {text[2:]}"]))
        else:
            self.emit(f"r{reg} = {text}")

    def call(self, name: str, *args: str | int | Value) -> None:
        """A call with these arguments."""
        for reg, what in enumerate(args, 1):
            if self.careless and self.chance(self.careless / 4):
                what = self._other(what)
            self.arg(reg, what)
        self.emit(f"call {name}")

    def _other(self, what: str | int | Value) -> str | int | Value:
        """Something else instead of an argument."""
        return self.random.choice([*self.values, 0, 1, "fp-16", "r6", "r10", self.number(), what])

    # -- values

    def home(self, size: int = 8, stack: bool = False) -> str:
        """A place that is free; `give_back()` it."""
        if size == 8 and not stack and self.free and self.chance(0.7):
            return self.free.pop(self.random.randrange(len(self.free)))
        self.floor -= size
        return f"fp{self.floor}"

    def keep(self, kind: str, of: str = "", source: str = "r0") -> Value:
        """A value in `source` goes to a place of its own."""
        made = Value(kind, self.home(), 8, of)
        self.emit(f"*(u64 *)(r10 - {made.home[3:]}) = {source}" if made.home.startswith("fp")
                  else f"{made.home} = {source}")
        self.values.append(made)
        return made

    def place(self, kind: str, size: int, of: str = "") -> Value:
        """A place on the stack for something that a function makes there."""
        made = Value(kind, self.home(size, True), size, of)
        self.values.append(made)
        return made

    def drop(self, value: Value) -> None:
        """The value is no more, and its place is free."""
        if value in self.values:
            self.values.remove(value)
        if value.home.startswith("fp"):
            self.floor = max(self.floor, int(value.home[2:]) + value.size
                             ) if int(value.home[2:]) == self.floor else self.floor
        else:
            self.free.append(value.home)

    def find(self, *kinds: str, of: str = "") -> Value | None:
        """A value of one of these kinds (and struct)."""
        found = [v for v in self.values if v.kind in kinds and (not of or v.of == of)]
        return self.random.choice(found) if found else None

    # -- scopes

    def block(self, most: int = 3, choice: Sequence[Statement] | None = None) -> None:
        """Some statements."""
        if self.depth >= DEEPEST or len(self.lines) > LONGEST:
            return
        self.depth += 1
        for _ in range(self.random.randrange(most + 1)):
            self.one_of(choice or self.choice)
        self.depth -= 1

    def one_of(self, choice: Sequence[Statement]) -> None:
        """One statement that may stand here."""
        for _ in range(20):
            statement = self.random.choice(choice)
            wants: frozenset[str] = getattr(statement, "wants", frozenset())
            bars: frozenset[str] = getattr(statement, "bars", frozenset())
            if self.slip() or (wants <= self.scene.has | set(self.around)
                               and not bars & set(self.around)):
                statement(self)
                return

    @contextmanager
    def inside(self, what: str) -> Iterator[None]:
        """What holds until the end."""
        self.around.append(what)
        self.owed += 1
        yield
        self.owed -= 1
        self.around.remove(what)

    def unless_null(self, kind: str, give_back: Callable[[Scoped, Value], None] | None = None,
                    of: str = "", most: int = 3) -> None:
        """r0 may be NULL; where it is not, it is a value until the end of some statements."""
        label = self.label()
        early = self.chance(0.5)
        if early and not self.slip():
            self.emit(f"if r0 == 0 goto {label}")
        value = self.keep(kind, of)
        if not early and not self.slip():
            self.emit(f"if {'r0' if value.home.startswith('fp') else value.home} == 0 goto {label}")
        self.owed += give_back is not None
        self.block(most)
        self.owed -= give_back is not None
        if give_back and not self.slip():
            give_back(self, value)
        self.drop(value)
        self.emit(f"{label}:")

    def function(self, name: str, body: Callable[[Scoped], None]) -> str:
        """A function of the program, written once: it gets a frame of its own."""
        assert name in FUNCTIONS
        if name not in self.functions:
            self.functions[name] = []
            inner = Scoped(self.random, self.scene, self.choice, careless=self.careless,
                           functions=self.functions, depth=min(self.depth + 1, DEEPEST - 1),
                           labels=1000 * (len(self.functions) + 1))
            body(inner)
            self.functions[name] = inner.lines
        return name

    def text(self, statements: int) -> list[str]:
        """The whole program."""
        self.emit("r6 = r1")
        for _ in range(statements):
            if len(self.lines) < LONGEST:
                self.one_of(self.choice)
        self.emit("r0 = 0", "exit")
        for name, lines in self.functions.items():
            self.emit(f"{name}:", *lines)
        return [line.replace("+ -", "- ") for line in self.lines]


#: kinds of values that are places on the stack, not what is kept there
PLACES = frozenset({"dynptr", "iter", "irqflag", "memory", "slot"})
Statement = Callable[[Scoped], None]


def only(wants: str = "", bars: str = "") -> Callable[[Statement], Statement]:
    """What the program type must have for a statement, and what must not hold around it."""
    def mark(statement: Statement) -> Statement:
        statement.wants = frozenset(wants.split())  # type: ignore[attr-defined]
        statement.bars = frozenset(bars.split())  # type: ignore[attr-defined]
        return statement
    return mark
