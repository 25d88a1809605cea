"""Nothing that a checked program does hurts the process: every helper, odd arguments."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import helpers, uapi
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.errors import BpfError, Fault, NotSupported
from anybpf.isa.insn import LD_IMM64, Insn, encode
from anybpf.maps import Map, MapAttr, create
from anybpf.net.context import context_table
from anybpf.net.test_run import Input, TestRun, test_run
from anybpf.proto import access, kinds, maps
from anybpf.proto.helpers import BY_ID

#: map type -> key size, value size, entries
SHAPES = {
    uapi.BPF_MAP_TYPE_HASH: (4, 8, 8), uapi.BPF_MAP_TYPE_ARRAY: (4, 16, 4),
    uapi.BPF_MAP_TYPE_PERCPU_ARRAY: (4, 8, 4), uapi.BPF_MAP_TYPE_LRU_HASH: (8, 8, 8),
    uapi.BPF_MAP_TYPE_PROG_ARRAY: (4, 4, 4), uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY: (4, 4, 4),
    uapi.BPF_MAP_TYPE_RINGBUF: (0, 0, 4096), uapi.BPF_MAP_TYPE_QUEUE: (0, 8, 4),
}
#: offset of the field `data` in the context
DATA = {uapi.BPF_PROG_TYPE_XDP: 0, uapi.BPF_PROG_TYPE_SCHED_CLS: 76}
MOV, MOV_REG, ADD, LOAD = 0xB7, 0xBF, 0x07, 0x61
NUMBERS = (0, 1, 2, 4, 8, 14, 16, 64, 255, 4096, -1, -14)
MEMORY = (kinds.ARG_PTR_TO_MAP_KEY, kinds.ARG_PTR_TO_MAP_VALUE, kinds.ARG_PTR_TO_MEM,
          kinds.ARG_PTR_TO_DYNPTR, kinds.ARG_PTR_TO_STACK, kinds.ARG_PTR_TO_CONST_STR)


class Bench:
    """A kernel with all helpers and some maps, shared by all examples."""

    def __init__(self) -> None:
        self.kernel = Kernel(seed=3)
        for number, address in helpers.addresses().items():
            self.kernel.set_helper(number, address)
        self.maps = [create(MapAttr(t, *shape), 4) for t, shape in SHAPES.items()]
        for m in self.maps:
            self.kernel.add_map(m)
        self.callable = {t: [n for n in (*helpers.addresses(), uapi.BPF_FUNC_tail_call)
                             if t in access.callers(n)] for t in DATA}


BENCH = Bench()


class Writer:
    """Writes one random program: r6 is the context, r7 the packet, r8 and r9 what helpers gave."""

    def __init__(self, prog_type: int, rng: random.Random) -> None:
        self.prog_type, self.rng = prog_type, rng
        self.insns: list[Insn] = []
        self.maps: dict[int, tuple[Map, int | None]] = {}
        self.functions: list[int] = []

    def put(self, *fields: int) -> None:
        self.insns.append(Insn(*(*fields, 0, 0, 0, 0)[:5]))

    def map(self, dst: int, choice: list[Map]) -> None:
        self.maps[len(self.insns)] = (self.rng.choice(choice), None)
        self.put(LD_IMM64, dst, uapi.BPF_PSEUDO_MAP_FD)
        self.put(0)

    def function(self, dst: int) -> None:
        self.functions.append(len(self.insns))
        self.put(LD_IMM64, dst, uapi.BPF_PSEUDO_FUNC)
        self.put(0)

    def stack(self, dst: int) -> None:
        self.put(MOV_REG, dst, 10)
        self.put(ADD, dst, 0, 0, self.rng.choice((-4, -8, -16, -64, -256, -512, -520)))

    def any(self, dst: int) -> None:
        self.rng.choice((
            lambda: self.map(dst, BENCH.maps), lambda: self.function(dst), lambda: self.stack(dst),
            lambda: self.put(MOV_REG, dst, self.rng.choice((6, 7, 8, 9))),
            lambda: self.put(MOV, dst, 0, 0, self.rng.choice(NUMBERS))))()

    def argument(self, dst: int, kind: int, helper: str) -> None:
        """Mostly what the row asks for, sometimes anything."""
        if self.rng.random() < 0.1:
            self.any(dst)
        elif kind == kinds.ARG_CONST_MAP_PTR:
            fitting = [m for m in BENCH.maps if maps.compatible(m.type, helper)]
            self.map(dst, fitting or BENCH.maps)
        elif kind in MEMORY:
            self.stack(dst)
        elif kind == kinds.ARG_PTR_TO_CTX:
            self.put(MOV_REG, dst, 6)
        elif kind == kinds.ARG_PTR_TO_FUNC:
            self.function(dst)
        elif kind == kinds.ARG_PTR_TO_RINGBUF_MEM:
            self.put(MOV_REG, dst, 8)
        else:
            self.put(MOV, dst, 0, 0, self.rng.choice(NUMBERS))

    def call(self) -> None:
        row = BY_ID[self.rng.choice(BENCH.callable[self.prog_type])]
        for i in range(5):
            if i < len(row.args):
                self.argument(i + 1, kinds.base(row.args[i].kind), row.name)
            else:
                self.any(i + 1)
        self.put(0x85, 0, 0, 0, row.id)
        self.put(MOV_REG, self.rng.choice((8, 9)), 0)
        if self.rng.random() < 0.3:
            self.put(LOAD, 7, 6, DATA[self.prog_type])

    def program(self) -> Prog:
        self.put(MOV_REG, 6, 1)
        self.put(LOAD, 7, 1, DATA[self.prog_type])
        for _ in range(self.rng.randrange(1, 12)):
            self.call()
        self.put(MOV, 0)
        self.put(0x95)
        callback = len(self.insns)
        self.put(0x7B, 10, 1, -8)
        self.call()
        self.put(MOV, 0, 0, 0, self.rng.randrange(2))
        self.put(0x95)
        for at in self.functions:
            self.insns[at] = self.insns[at]._replace(imm=callback - at - 1)
        return Prog(encode(self.insns), kernel=BENCH.kernel, prog_type=self.prog_type, gpl=True,
                    maps=self.maps, context=context_table(self.prog_type))


@pytest.mark.parametrize("prog_type", sorted(DATA))
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_odd_arguments_end_in_typed_errors(prog_type: int, seed: int) -> None:
    rng = random.Random(seed)
    prog = Writer(prog_type, rng).program()
    request: Any = TestRun(data_in=Input(struct.pack("<8Q", *range(8))), budget=20_000)
    try:
        result = test_run(BENCH.kernel, prog, request)
    except (Fault, NotSupported, BpfError):
        return
    assert result.retval is not None
