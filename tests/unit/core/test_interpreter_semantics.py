"""The interpreter against isa.semantics: random programs end with the same registers and stack."""

from __future__ import annotations

import ctypes
import struct

from hypothesis import given, settings

from anybpf.core.prog import Prog
from anybpf.isa import reference
from anybpf.isa.insn import Insn, encode

from .random_programs import BODY, OUTPUT, START, whole
from .rig import Rig

RIG = Rig()
BUFFER = RIG.memory(bytes(OUTPUT))


@settings(max_examples=250, deadline=None)
@given(BODY, START)
def test_random_programs_mean_the_same(body: list[Insn], start: list[int]) -> None:
    insns = whole(body)
    data = struct.pack("<9Q", *start) + bytes(OUTPUT - 72)
    memory = reference.Memory()
    wanted = bytearray(data)
    reference.run(insns, memory=memory, args=[memory.add("data", wanted)])
    prog = Prog(encode(insns), kernel=RIG.kernel)
    for checked in (True, False):
        ctypes.memmove(BUFFER, data, OUTPUT)
        RIG.run(prog, BUFFER, checked=checked)
        assert RIG.peek(BUFFER, OUTPUT) == wanted, checked
