"""Made-up programs of many functions: who calls whom, with how much stack, holding what.

Static and global functions, callbacks that run at once and later, tail calls, exceptions, sections
and references across calls. Each program is a `Case` (`verifier.cases`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from verifier.cases import Case

TYPES = ("struct value { u64 n; struct bpf_spin_lock lock; };",
         "struct timed { u64 n; struct bpf_timer timer; };",
         "struct worked { u64 n; struct bpf_wq work; };")
MAPS = ("locked ARRAY 4 16 1 value=struct_value", "timed ARRAY 4 24 1 value=struct_timed",
        "worked ARRAY 4 24 1 value=struct_worked")
TRACING = "tracing attach=trace_raw_tp target=btf_trace_sys_enter"
KINDS = ("tc", "tc", "kprobe", "kprobe", "tracepoint", "raw_tracepoint", "perf_event", "xdp", "xdp",
         "syscall sleepable", "kprobe sleepable", TRACING, TRACING)
#: programs that may use locks, timers and work
LOCKING = ("tc", "xdp", "syscall sleepable", TRACING)
#: how much stack a function touches, in bytes
STACKS = (0, 0, 0, 8, 16, 32, 48, 56, 64, 72, 120, 200, 248, 256, 264, 320, 400, 448, 496, 512)
PLAIN, CONTEXT, CALLBACK, ASYNC = "plain", "context", "callback", "async"


class Graph:
    """One program that is being made."""

    def __init__(self, rng: random.Random, kind: str) -> None:
        self.rng = rng
        self.kind = kind
        self.roles: dict[str, str] = {}
        self.static: dict[str, bool] = {}
        self.labels = 0
        #: tail calls and loads from packets go with few other things
        self.tails = rng.random() < 0.25
        self.throws = rng.random() < 0.2
        for number in range(rng.choice((1, 2, 3, 3, 4, 5, 6, 9))):
            role = rng.choices((PLAIN, CONTEXT, CALLBACK, ASYNC), (5, 3, 2, 2))[0]
            self.roles[f"f{number}"] = role
            self.static[f"f{number}"] = role in (CALLBACK, ASYNC) or rng.random() < 0.6

    def pick(self, *roles: str, after: str = "") -> str:
        """A function of these roles, mostly one behind `after`, or nothing."""
        names = [n for n, role in self.roles.items() if role in roles]
        if after and self.rng.random() < 0.97:
            names = [n for n in names if n > after]
        return self.rng.choice(names) if names else ""

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def case(self, seed: int) -> Case:
        bodies = {"main": self._function("main", CONTEXT)}
        bodies |= {name: self._function(name, role) for name, role in self.roles.items()}
        used = _used(bodies)
        lines = [line for name in used for line in (f"{name}:", *bodies[name])]
        types = [*TYPES, "int main(void *ctx __arg_ctx);", *map(self._declared, used[1:])]
        parts = {"case": (f"seed {seed}", ()), "types": ("", tuple(types)), "maps": ("", MAPS),
                 "prog": (self.kind, tuple(lines))}
        return Case(Path(), f"seed {seed}", parts, "", ())

    def _declared(self, name: str) -> str:
        context = "void *ctx" if self.static[name] else "void *ctx __arg_ctx"
        takes = {PLAIN: "int n", CONTEXT: context, CALLBACK: "int n, void *data",
                 ASYNC: "void *map, int *key, void *value"}[self.roles[name]]
        return f"{'static ' if self.static[name] else ''}int {name}({takes});"

    def _function(self, name: str, role: str) -> list[str]:
        stack = self.rng.choice(STACKS)
        lines = ["r6 = r1"]
        lines += [f"*(u64 *)(r10 - {stack}) = 0"] if stack else []
        for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3, 4))):
            lines += self.statement(name, role)
        return [*lines, "r0 = 0", "exit"]

    def statement(self, name: str, role: str) -> list[str]:
        """Something, perhaps inside a section."""
        roll = self.rng.random()
        if roll < 0.2:
            opened, closed = self.rng.choice(SECTIONS)
            if "call bpf_spin_lock" in opened and self.kind not in LOCKING:
                return []
            inside = self._simple(name, role)
            return [*opened, *inside, *(closed if self.rng.random() < 0.95 else ())]
        if roll < 0.3:
            out = self.label()
            return ["call bpf_get_prandom_u32", f"if r0 == 0 goto {out}",
                    *self._simple(name, role), f"{out}:"]
        return self._simple(name, role)

    def _simple(self, name: str, role: str) -> list[str]:
        make = self.rng.choices([m for m, _ in SIMPLE], [w for _, w in SIMPLE])[0]
        return make(self, name, role)


def _used(bodies: dict[str, list[str]]) -> list[str]:
    """The functions that are named somewhere, in order."""
    found = ["main"]
    for name in found:
        text = " ".join(bodies[name])
        found += [n for n in bodies if re.search(rf"\b{n}\b", text) and n not in found]
    return sorted(found, key=list(bodies).index)


def _call(g: Graph, name: str, role: str) -> list[str]:
    roles = (PLAIN, CONTEXT) if role == CONTEXT else (PLAIN,)
    called = g.pick(*roles, after=name if name != "main" else "")
    if g.rng.random() < 0.05:
        called = g.pick(*roles, CALLBACK, ASYNC)
    if not called:
        return []
    given = "r1 = r6" if g.roles[called] == CONTEXT else "r1 = 1"
    return [given, "r2 = 0", "r3 = 0", f"call {called}"]


def _loop(g: Graph, name: str, role: str) -> list[str]:
    called = g.pick(CALLBACK, after=name if name != "main" else "")
    return ["r1 = 2", f"r2 = {called} ll", "r3 = 0", "r4 = 0", "call bpf_loop"] if called else []


def _timer(g: Graph, name: str, role: str) -> list[str]:
    if g.kind not in LOCKING and g.rng.random() < 0.9:
        return []
    called = g.pick(ASYNC, after=name if name != "main" else "")
    return ["r1 = timed.value ll", "r1 += 8", f"r2 = {called} ll",
            "call bpf_timer_set_callback"] if called else []


def _work(g: Graph, name: str, role: str) -> list[str]:
    if g.kind not in LOCKING and g.rng.random() < 0.9:
        return []
    called = g.pick(ASYNC, after=name if name != "main" else "")
    return ["r1 = worked.value ll", "r1 += 8", f"r2 = {called} ll", "r3 = 0", "r4 = 0",
            "call bpf_wq_set_callback_impl"] if called else []


def _tail(g: Graph, name: str, role: str) -> list[str]:
    if not g.tails or role != CONTEXT:
        return []
    return ["r1 = r6", "r2 = progs ll", "r3 = 0", "call bpf_tail_call"]


def _throw(g: Graph, name: str, role: str) -> list[str]:
    if not g.throws:
        return []
    out = g.label()
    return ["call bpf_get_prandom_u32", f"if r0 != 7 goto {out}", "r1 = 3", "call bpf_throw",
            f"{out}:"]


def _sleep(g: Graph, name: str, role: str) -> list[str]:
    if "sleepable" not in g.kind and g.rng.random() < 0.9 and role != ASYNC:
        return []
    return ["r1 = r10", "r1 += -8", "r2 = 8", "r3 = 0", "call bpf_copy_from_user"]


def _packet(g: Graph, name: str, role: str) -> list[str]:
    """The packet changes, or a pointer to it is kept over a call."""
    if g.kind != "tc" or role != CONTEXT:
        return []
    if g.rng.random() < 0.4:
        return ["r1 = r6", "r2 = 0", "call bpf_skb_pull_data"]
    out = g.label()
    return ["r7 = *(u32 *)(r6 + 76)", "r8 = *(u32 *)(r6 + 80)", "r1 = r7", "r1 += 4",
            f"if r1 > r8 goto {out}", *_call(g, name, role), "r0 = *(u8 *)(r7 + 0)", f"{out}:"]


def _load(g: Graph, name: str, role: str) -> list[str]:
    if g.kind != "tc" or role != CONTEXT or g.rng.random() < 0.7:
        return []
    return ["r0 = *(u8 *)skb[0]"]


SIMPLE: tuple[tuple[Callable[[Graph, str, str], list[str]], float], ...] = (
    (_call, 10), (_loop, 2.5), (_timer, 2), (_work, 1.5), (_tail, 3), (_throw, 2), (_sleep, 2),
    (_packet, 3), (_load, 1))
_LOCK = ("r1 = locked.value ll", "r1 += 8")
_IRQ = ("r1 = r10", "r1 += -8")
#: what opens a section, and what closes it
SECTIONS: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("call bpf_rcu_read_lock",), ("call bpf_rcu_read_unlock",)),
    (("call bpf_preempt_disable",), ("call bpf_preempt_enable",)),
    ((*_IRQ, "call bpf_local_irq_save"), (*_IRQ, "call bpf_local_irq_restore")),
    ((*_LOCK, "call bpf_spin_lock"), (*_LOCK, "call bpf_spin_unlock")),
    (("r1 = ring ll", "r2 = 8", "r3 = 0", "call bpf_ringbuf_reserve", "r9 = r0"),
     ("if r9 == 0 goto +3", "r1 = r9", "r2 = 0", "call bpf_ringbuf_discard")),
)


def program(seed: int, kinds: Sequence[str] = KINDS) -> Case:
    """One program."""
    rng = random.Random(seed)
    return Graph(rng, rng.choice(kinds)).case(seed)
