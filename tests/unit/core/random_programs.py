"""Strategies for small programs that end, and whose whole outcome can be compared."""

from __future__ import annotations

from hypothesis import strategies as st

from anybpf import uapi
from anybpf.isa.insn import Insn

from .rig import U64

#: bytes of the memory that a `whole` program works on: nine registers, four stack slots
OUTPUT = 13 * 8
EDGES = (0, 1, 2, 31, 63, 64, 0x80, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32,
         (1 << 63) - 1, 1 << 63, U64)
REG = st.integers(0, 8)
IMM = st.one_of(st.sampled_from([0, 1, -1, 31, 63, 0x7FFF_FFFF, -0x8000_0000]),
                st.integers(-0x8000_0000, 0x7FFF_FFFF))
ALU_CLASS = st.sampled_from([uapi.BPF_ALU, uapi.BPF_ALU64])
JMP_CLASS = st.sampled_from([uapi.BPF_JMP, uapi.BPF_JMP32])
BINARY = [uapi.BPF_ADD, uapi.BPF_SUB, uapi.BPF_MUL, uapi.BPF_OR, uapi.BPF_AND, uapi.BPF_XOR,
          uapi.BPF_MOV]
SHIFTS = [uapi.BPF_LSH, uapi.BPF_RSH, uapi.BPF_ARSH]
DIVISIONS = [uapi.BPF_DIV, uapi.BPF_MOD]
COMPARES = [uapi.BPF_JEQ, uapi.BPF_JGT, uapi.BPF_JGE, uapi.BPF_JSET, uapi.BPF_JNE, uapi.BPF_JSGT,
            uapi.BPF_JSGE, uapi.BPF_JLT, uapi.BPF_JLE, uapi.BPF_JSLT, uapi.BPF_JSLE]
SIZES = {uapi.BPF_B: 1, uapi.BPF_H: 2, uapi.BPF_W: 4, uapi.BPF_DW: 8}
SIZE = st.sampled_from(sorted(SIZES))
RMW = [op | fetch for op in (uapi.BPF_ADD, uapi.BPF_OR, uapi.BPF_AND, uapi.BPF_XOR)
       for fetch in (0, uapi.BPF_FETCH)] + [uapi.BPF_XCHG, uapi.BPF_CMPXCHG]
SLOT = st.sampled_from([-8, -16, -24, -32])


def code(*parts: int) -> int:
    return sum(parts)


def with_imm(ops: list[int], imm: st.SearchStrategy[int],
             off: st.SearchStrategy[int]) -> st.SearchStrategy[Insn]:
    return st.builds(lambda c, op, d, o, i: Insn(code(c, op, uapi.BPF_K), d, 0, o, i),
                     ALU_CLASS, st.sampled_from(ops), REG, off, imm)


def with_reg(ops: list[int], off: st.SearchStrategy[int]) -> st.SearchStrategy[Insn]:
    return st.builds(lambda c, op, d, s, o: Insn(code(c, op, uapi.BPF_X), d, s, o, 0),
                     ALU_CLASS, st.sampled_from(ops), REG, REG, off)


NONE = st.just(0)
SIGN = st.sampled_from([0, 1])
ALU = st.one_of(
    with_imm(BINARY, IMM, NONE), with_reg(BINARY, NONE),
    with_imm(SHIFTS, st.integers(0, 31), NONE), with_reg(SHIFTS, NONE),
    with_imm(DIVISIONS, IMM.filter(bool), SIGN), with_reg(DIVISIONS, SIGN),
    st.builds(lambda c, d: Insn(code(c, uapi.BPF_NEG), d, 0, 0, 0), ALU_CLASS, REG),
    st.builds(lambda d, s, o: Insn(code(uapi.BPF_ALU64, uapi.BPF_MOV, uapi.BPF_X), d, s, o, 0),
              REG, REG, st.sampled_from([8, 16, 32])),
    st.builds(lambda d, s, o: Insn(code(uapi.BPF_ALU, uapi.BPF_MOV, uapi.BPF_X), d, s, o, 0),
              REG, REG, st.sampled_from([8, 16])),
    st.builds(lambda c, d, i: Insn(c, d, 0, 0, i), st.sampled_from([0xD4, 0xDC, 0xD7]), REG,
              st.sampled_from([16, 32, 64])),
)
MEMORY = st.one_of(
    st.builds(lambda z, d, o: Insn(code(uapi.BPF_LDX, uapi.BPF_MEM, z), d, 10, o, 0),
              SIZE, REG, SLOT),
    st.builds(lambda z, d, o: Insn(code(uapi.BPF_LDX, uapi.BPF_MEMSX, z), d, 10, o, 0),
              SIZE.filter(lambda z: z != uapi.BPF_DW), REG, SLOT),
    st.builds(lambda z, s, o: Insn(code(uapi.BPF_STX, uapi.BPF_MEM, z), 10, s, o, 0),
              SIZE, REG, SLOT),
    st.builds(lambda z, o, i: Insn(code(uapi.BPF_ST, uapi.BPF_MEM, z), 10, 0, o, i),
              SIZE, SLOT, IMM),
    st.builds(lambda z, s, o, i: Insn(code(uapi.BPF_STX, uapi.BPF_ATOMIC, z), 10, s, o, i),
              st.sampled_from([uapi.BPF_W, uapi.BPF_DW]), REG, SLOT, st.sampled_from(RMW)),
    st.builds(lambda z, d, o: Insn(code(uapi.BPF_STX, uapi.BPF_ATOMIC, z), d, 10, o,
                                   uapi.BPF_LOAD_ACQ), SIZE, REG, SLOT),
    st.builds(lambda z, s, o: Insn(code(uapi.BPF_STX, uapi.BPF_ATOMIC, z), 10, s, o,
                                   uapi.BPF_STORE_REL), SIZE, REG, SLOT),
)
JUMP = st.one_of(
    st.builds(lambda c, op, d, s, o: Insn(code(c, op, uapi.BPF_X), d, s, o, 0),
              JMP_CLASS, st.sampled_from(COMPARES), REG, REG, st.integers(0, 3)),
    st.builds(lambda c, op, d, o, i: Insn(code(c, op, uapi.BPF_K), d, 0, o, i),
              JMP_CLASS, st.sampled_from(COMPARES), REG, st.integers(0, 3), IMM),
    st.builds(lambda o: Insn(code(uapi.BPF_JMP, uapi.BPF_JA), 0, 0, o, 0), st.integers(0, 2)),
    st.builds(lambda i: Insn(code(uapi.BPF_JMP32, uapi.BPF_JA), 0, 0, 0, i), st.integers(0, 2)),
)
BODY = st.lists(st.one_of(ALU, MEMORY, JUMP), min_size=1, max_size=12)
START = st.lists(st.one_of(st.sampled_from(EDGES), st.integers(0, U64)), min_size=9, max_size=9)


def load(register: int, base: int, off: int) -> Insn:
    return Insn(code(uapi.BPF_LDX, uapi.BPF_MEM, uapi.BPF_DW), register, base, off, 0)


def store(register: int, base: int, off: int) -> Insn:
    return Insn(code(uapi.BPF_STX, uapi.BPF_MEM, uapi.BPF_DW), base, register, off, 0)


def whole(body: list[Insn]) -> list[Insn]:
    """Take r0 .. r8 from memory at r1, run the body, put them and four stack slots back."""
    clear = code(uapi.BPF_ST, uapi.BPF_MEM, uapi.BPF_DW)
    nothing = Insn(code(uapi.BPF_JMP, uapi.BPF_JA), 0, 0, 0, 0)
    return [
        Insn(code(uapi.BPF_ALU64, uapi.BPF_MOV, uapi.BPF_X), 9, 1, 0, 0),
        *(Insn(clear, 10, 0, -8 - 8 * i, 0) for i in range(4)),
        *(load(r, 9, 8 * r) for r in range(9)),
        *body, *[nothing] * 3,
        *(store(r, 9, 8 * r) for r in range(9)),
        *(x for i in range(4) for x in (load(0, 10, -8 - 8 * i), store(0, 9, 72 + 8 * i))),
        Insn(code(uapi.BPF_JMP, uapi.BPF_EXIT), 0, 0, 0, 0),
    ]
