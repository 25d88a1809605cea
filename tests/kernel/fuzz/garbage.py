"""Programs of instructions that mean nothing: each opcode, any registers, odd fields."""

from __future__ import annotations

import random

from anybpf import uapi
from anybpf.isa.insn import LD_IMM64, Insn
from anybpf.isa.opcodes import ATOMICS, OPCODES
from anybpf.proto import progs
from kernel.fuzz.world import SYMBOLS, Sample, sample, with_types

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 63, 64, -1, -8, -16, 0x7FFFFFFF, -0x80000000)
OFFSETS = (0, 0, 1, 2, 3, 4, 8, -8, -16, -4, -512, 76, 80, -1, -2)
#: every register holds something, of a kind of its own
START = """
    r6 = r1
    r9 = array ll
    r8 = one.value ll
    r7 = r10
    r7 += -32
    call bpf_get_prandom_u32
    r5 = r0
    r4 = 8
    r3 = r6
    r2 = r8
    r1 = r9
"""
END = "r0 = 0\nexit"
TYPES = tuple(p.type for p in progs.PROGS)
USUAL = (uapi.BPF_PROG_TYPE_SOCKET_FILTER, uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_XDP,
         uapi.BPF_PROG_TYPE_KPROBE)


def make(seed: int) -> Sample:
    """The program of a seed."""
    r = random.Random(seed)
    first = sample(START, 0).insns
    body = [insn for _ in range(r.randint(1, 8)) for insn in _any(r)]
    prog_type = r.choice(USUAL) if r.random() < 0.7 else r.choice(TYPES)
    end = sample(END, 0).insns
    return with_types(Sample((*first, *body, *end), prog_type))


def _any(r: random.Random) -> list[Insn]:
    code = r.choice(CODES)
    dst, src = r.randrange(11), r.randrange(11)
    if code == LD_IMM64:
        symbol = r.choice(list(SYMBOLS.values()))
        if r.random() < 0.3:
            number, high = r.choice(NUMBERS), r.choice((0, 1))
            return [Insn(code, dst % 10, 0, 0, number), Insn(0, 0, 0, 0, high)]
        return [Insn(code, dst % 10, symbol.src, 0, symbol.lo), Insn(0, 0, 0, 0, symbol.hi)]
    insn = Insn(code, dst, src, r.choice(OFFSETS), r.choice(NUMBERS))
    return [insn if r.random() < 0.08 else _tidy(r, insn)]


def _tidy(r: random.Random, insn: Insn) -> Insn:
    """Mostly what must be 0 is 0."""
    if insn.cls in (uapi.BPF_ALU, uapi.BPF_ALU64):
        insn = insn._replace(off=0, **({"imm": 0} if insn.uses_reg else {"src": 0}))
        if insn.op == uapi.BPF_END:
            return insn._replace(src=0, imm=r.choice((16, 32, 64)))
        return insn._replace(imm=0, src=0) if insn.op == uapi.BPF_NEG else insn
    if insn.cls in (uapi.BPF_LDX, uapi.BPF_STX):
        atomic = insn.cls == uapi.BPF_STX and insn.mode == uapi.BPF_ATOMIC
        return insn._replace(imm=r.choice(sorted(ATOMICS)) if atomic else 0)
    if insn.cls == uapi.BPF_ST:
        return insn._replace(src=0)
    return _tidy_jump(r, insn) if insn.cls != uapi.BPF_LD else insn._replace(off=0, dst=0)


def _tidy_jump(r: random.Random, insn: Insn) -> Insn:
    if insn.op == uapi.BPF_CALL:
        return Insn(insn.code, imm=r.choice((r.randrange(212), 1, 2, 3, 5, 6, 7, 8, 12, 25, 26)))
    if insn.op in (uapi.BPF_EXIT, uapi.BPF_JA):
        return insn._replace(dst=0, src=0, imm=0, off=r.choice((0, 1)) if insn.op else 0)
    insn = insn._replace(off=r.choice((0, 1, 1, 2)))
    return insn._replace(**({"imm": 0} if insn.uses_reg else {"src": 0}))


CODES = tuple(sorted(code for code in OPCODES if code))
