"""Linking one program: its functions behind it, calls fixed up (tools/lib/bpf/libbpf.c).

As in libbpf, a function is appended when the walk over the code first meets a call to it, and its
own calls are followed at once; so the order of functions is that of `bpftool prog dump`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from anybpf.errors import LoadError
from anybpf.isa.insn import Insn
from anybpf.libbpf import catchers
from anybpf.libbpf.spec import (
    MAX_INSNS,
    MAX_LINKED,
    CallTarget,
    Functions,
    FunctionSpec,
    Info,
    InfoTable,
    Linked,
    Reference,
)


def link(main: FunctionSpec, functions: Functions) -> Linked:
    """`main` and all functions that it reaches. Raises LoadError if they are too long together."""
    linker = _Linker(functions)
    linker.append(main)
    linker.follow(linker.calls(main))
    catcher = catchers.of(main, functions)
    if catcher is not None:
        linker.follow(iter([catcher]))
    return linker.finish()


@dataclass
class _Linker:
    functions: Functions
    instructions: list[Insn] = field(default_factory=list)
    order: list[tuple[int, FunctionSpec]] = field(default_factory=list)
    starts: dict[CallTarget, int] = field(default_factory=dict)

    def append(self, function: FunctionSpec) -> None:
        start = len(self.instructions)
        if start + function.count > MAX_INSNS:
            raise LoadError(f"program has more than {MAX_INSNS} instructions",
                            function.code.section, 8 * function.start)
        self.functions.linked += function.count
        if self.functions.linked > MAX_LINKED:
            raise LoadError(f"programs have more than {MAX_LINKED} instructions together",
                            function.code.section)
        self.instructions += function.instructions
        self.order.append((start, function))
        self.starts[CallTarget(function.code.section, function.start)] = start

    def follow(self, targets: Iterator[CallTarget]) -> None:
        """Append these functions and all that they reach, where they are not there yet."""
        walk = [targets]
        while walk:                             # a stack of our own: call chains may be long
            target = next(walk[-1], None)
            if target is None:
                walk.pop()
            elif target not in self.starts:
                self.append(self.functions[target])
                walk.append(self.calls(self.functions[target]))

    def calls(self, function: FunctionSpec) -> Iterator[CallTarget]:
        """The functions that this one calls or takes the address of, in code order."""
        calls = function.code.calls
        return (calls[i] for i in function.slots() if i in calls)

    def finish(self) -> Linked:
        for start, function in self.order:
            self._fix_calls(start, function)
        return Linked(
            self.instructions, list(self._references()),
            {start: f.name for start, f in self.order},
            self._infos([(f.code.func_info, s, f) for s, f in self.order], strict=True),
            self._infos([(f.code.line_info, s, f) for s, f in self.order], strict=False),
            [relo._replace(insn_off=start + i - f.start)
             for start, f in self.order for i, relo in f.code.core_relos if i in f.slots()],
            self.order)

    def _fix_calls(self, start: int, function: FunctionSpec) -> None:
        for slot in function.slots():
            target = function.code.calls.get(slot)
            if target is not None:
                here = start + slot - function.start
                there = self.starts[target]
                self.instructions[here] = self.instructions[here]._replace(imm=there - here - 1)

    def _references(self) -> Iterator[Reference]:
        for start, function in self.order:
            known = function.code.references
            for slot in function.slots():
                if slot in known:
                    yield known[slot]._replace(insn=start + slot - function.start)

    def _infos(self, parts: list[tuple[InfoTable, int, FunctionSpec]],
               *, strict: bool) -> InfoTable:
        """One table for the whole program; with `strict` a function without a record empties it
        (the kernel wants a func_info for each function or none at all)."""
        rows: list[Info] = []
        for table, start, function in parts:
            found = _inside(table.rows, function)
            if strict and not found:
                return InfoTable(table.record_size)
            rows += [Info(start + r.insn - function.start, r.rest) for r in found]
        return InfoTable(parts[0][0].record_size, tuple(rows))


def _inside(rows: tuple[Info, ...], function: FunctionSpec) -> tuple[Info, ...]:
    """The records about this function's slots; `rows` are sorted by slot."""
    low = bisect_left(rows, (function.start,))
    high = bisect_left(rows, (function.start + function.count,))
    return rows[low:high]
