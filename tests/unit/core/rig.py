"""A small workbench: one kernel, one run, programs from assembler text."""

from __future__ import annotations

import ctypes
from typing import Any

from anybpf import uapi
from anybpf.core import interpreter
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx
from anybpf.isa import insn
from anybpf.isa.asm import Pseudo, assemble
from anybpf.maps import Map, MapAttr, create

U64 = (1 << 64) - 1
Maps = dict[str, tuple[Map, int | None]]


class Rig:
    """Runs programs on its own kernel; maps are known by the names that programs use."""

    def __init__(self) -> None:
        self.kernel = Kernel(ncpus=4, seed=1)
        self.run_ctx = RunCtx(self.kernel)
        self.kept: list[Any] = []

    def map(self, map_type: int, key: int = 4, value: int = 8, entries: int = 4,
            **more: Any) -> Map:
        """A new map that programs of this kernel may use."""
        made = create(MapAttr(map_type, key, value, entries, **more), self.kernel.ncpus)
        self.kernel.add_map(made)
        return made

    def memory(self, data: bytes, flags: int = 3, name: str = "") -> int:
        """The address of a new region with this content."""
        buffer = ctypes.create_string_buffer(data, len(data))
        self.kept.append(buffer)
        address = ctypes.addressof(buffer)
        self.kernel.add_region(address, len(data), flags=flags, name=name)
        return address

    def peek(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)

    def prog(self, text: str, maps: Maps | None = None, name: str = "test", **more: Any) -> Prog:
        """A program; `r1 = NAME ll` loads the map (or with an offset its value) of that name."""
        order = list((maps or {}).items())
        symbols = {k: Pseudo(uapi.BPF_PSEUDO_MAP_FD if v[1] is None else uapi.BPF_PSEUDO_MAP_VALUE,
                             i) for i, (k, v) in enumerate(order)}
        insns = assemble(text, symbols)
        where = {i: order[x.imm][1] for i, x in enumerate(insns)
                 if x.code == 0x18 and x.src in (1, 2)}
        return Prog(insn.encode(insns), kernel=self.kernel, name=name, maps=where, **more)

    def run(self, text: str | Prog, ctx: int = 0, *, checked: bool = True, r2: int = 0,
            budget: int = 100_000, **more: Any) -> int:
        """r0 of the program, in the mode asked for."""
        prog = self.prog(text, **more) if isinstance(text, str) else text
        self.run_ctx.reset()
        return interpreter.run(prog, self.run_ctx, ctx, checked=checked, r2=r2, budget=budget)

    def both(self, text: str, **more: Any) -> int:
        """r0, which must be the same in both modes."""
        checked = self.run(text, checked=True, **more)
        assert self.run(text, checked=False, **more) == checked
        return checked
