"""The running kernel as an oracle: what it says of a program, and what the program gives."""

from __future__ import annotations

import random
from typing import NamedTuple

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.isa import build as b
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import SIZE_BYTES, Insn, encode
from anybpf.libbpf import bpf
from anybpf.linux import Linux


class Answer(NamedTuple):
    errno: int
    log: list[str]


def ask(backend: Linux, insns: list[Insn], level: int = 2) -> Answer:
    """Load a socket filter and let it go: error number (0: accepted) and log lines."""
    attr = bpf.ProgAttr(uapi.BPF_PROG_TYPE_SOCKET_FILTER, encode(insns), "GPL")
    try:
        loaded = bpf.prog_load(backend, attr, log_level=level)
    except BpfError as error:
        return Answer(error.errno, error.log.splitlines())
    backend.close(loaded.fd)
    return Answer(0, loaded.log.splitlines())


def result(backend: Linux, insns: list[Insn], packet: bytes = bytes(64)) -> int:
    """The lower half of r0 of a socket filter on `packet`."""
    attr = bpf.ProgAttr(uapi.BPF_PROG_TYPE_SOCKET_FILTER, encode(insns), "GPL")
    fd = bpf.prog_load(backend, attr).fd
    try:
        return bpf.prog_test_run(backend, fd, data=packet).retval & uapi.U32
    finally:
        backend.close(fd)


#: initialises all registers and a stack slot, so that nearly any instruction may come next
PROLOGUE = b.program(
    b.mov64_reg(6, 1), [b.mov64_imm(r, r + 1) for r in range(6)], b.st_mem(b.DW, 10, -8, 0)
)


def texts(answer: Answer, index: int) -> list[str]:
    """What the log has for the instruction at `index`, without register states."""
    wanted = [x for x in answer.log if x.startswith((f"{index}: (", f"{index}: BUG"))]
    return [x.split("; ")[0].rstrip().partition(": ")[2] for x in wanted]


# -- random instructions that a verifier accepts

NUMBERS = (
    0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF,
    1 << 31, uapi.U32, 1 << 32, (1 << 63) - 1, 1 << 63, uapi.U64,
)  # fmt: skip
OPS = sorted(tab.OPCODES)


def number(rng: random.Random) -> int:
    return rng.choice(NUMBERS) if rng.random() < 0.6 else rng.getrandbits(64)


def imm(rng: random.Random) -> int:
    return (number(rng) & uapi.U32 ^ 1 << 31) - (1 << 31)


def computing_insn(rng: random.Random) -> Insn:
    """Arithmetic on r0..r2, a jump over one instruction, or stack access below r10 - 16."""
    while True:
        insn = _computing(rng, rng.choice(OPS))
        if insn is not None:
            return insn


def _computing(rng: random.Random, code: int) -> Insn | None:
    base = Insn(code, rng.randrange(3), rng.randrange(3))
    if base.cls in (uapi.BPF_ALU, uapi.BPF_ALU64):
        return _arithmetic(rng, base)
    if base.cls in (uapi.BPF_JMP, uapi.BPF_JMP32):
        if base.op not in tab.JMP_SYMBOLS:
            return None
        return base._replace(off=1) if base.uses_reg else base._replace(src=0, off=1, imm=imm(rng))
    return access(rng, base)


def _arithmetic(rng: random.Random, base: Insn) -> Insn:
    wide = base.cls == uapi.BPF_ALU64
    if base.op == uapi.BPF_NEG:
        return base._replace(src=0)
    if base.op == uapi.BPF_END:
        return base._replace(src=0, imm=rng.choice(tab.END_BITS))
    if base.op == uapi.BPF_MOV and base.uses_reg:
        return base._replace(off=rng.choice((0, 8, 16, 32) if wide else (0, 8, 16)))
    off = rng.randrange(2) if base.op in tab.DIVISIONS else 0
    if base.uses_reg:
        return base._replace(off=off)
    value = rng.randrange(64 if wide else 32) if base.op in tab.SHIFTS else imm(rng)
    return base._replace(src=0, off=off, imm=value or 1)


def access(rng: random.Random, base: Insn) -> Insn | None:
    """A load, store or atomic of that opcode in the upper 16 bytes of the stack, or None."""
    if base.cls not in (uapi.BPF_LDX, uapi.BPF_ST, uapi.BPF_STX):
        return None
    size = SIZE_BYTES[base.size]
    off = -size * rng.randint(1, 16 // size)
    if base.cls == uapi.BPF_LDX:
        return base._replace(src=10, off=off)
    if base.cls == uapi.BPF_ST:
        return base._replace(dst=10, src=0, off=off, imm=imm(rng))
    if base.mode == uapi.BPF_MEM:
        return base._replace(dst=10, off=off)
    op = rng.choice(sorted(tab.ATOMICS))
    if size < 4 and op in tab.ATOMIC_RMW:
        return None
    if op == uapi.BPF_LOAD_ACQ:
        return base._replace(src=10, off=off, imm=op)
    return base._replace(dst=10, off=off, imm=op)


def computing_program(rng: random.Random, length: int = 30) -> list[Insn]:
    """Random work on r0..r2 and two stack slots, folded into all of r0's lower half."""
    fold = [b.mov64_imm(3, 0), b.mov64_imm(3, 0)]
    for register in (0, 1, 2):
        fold += _mix(register)
    for off in (-8, -16):
        fold += [b.ldx_mem(b.DW, 4, 10, off), *_mix(4)]
    return b.program(
        b.st_mem(b.DW, 10, -8, 0x1234567),
        b.st_mem(b.DW, 10, -16, -2),
        *[b.ld_imm64(r, number(rng)) for r in (0, 1, 2)],
        [computing_insn(rng) for _ in range(length)],
        fold,
        b.mov64_reg(0, 3),
        b.alu64_imm(uapi.BPF_RSH, 0, 32),
        b.alu64_reg(uapi.BPF_XOR, 0, 3),
        b.exit_insn(),
    )


def _mix(register: int) -> list[Insn]:
    return [b.alu64_imm(uapi.BPF_MUL, 3, 31), b.alu64_reg(uapi.BPF_XOR, 3, register)]


