"""What one instruction does to a state: checks, then effects (do_check_insn, verifier.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL

from anybpf import uapi
from anybpf.isa.check import BadInsn, check_insn
from anybpf.isa.insn import Insn
from anybpf.isa.opcodes import OPCODES
from anybpf.verifier.env import Env
from anybpf.verifier.explore import JUMPED, NEXT, Walk
from anybpf.verifier.step import alu, call, ends, jump, mem, regs

Step = Callable[[Walk, Insn], int]


def step(walk: Walk, insn: Insn) -> int:
    """Check the instruction, change the state; gives what comes next (`explore.NEXT`, ...)."""
    env = walk.env
    try:
        check_insn(insn, env.idx)
    except BadInsn as bad:
        _read_operands(env, insn)
        raise env.reject(bad.errno or EINVAL, bad.message) from None
    return STEPS[insn.cls](walk, insn)


def _read_operands(env: Env, insn: Insn) -> None:
    """What is wrong with the operands of arithmetic comes before what is wrong with constants."""
    is_alu = insn.code in OPCODES and insn.cls in (uapi.BPF_ALU, uapi.BPF_ALU64)
    if is_alu and insn.op != uapi.BPF_MOV and not insn.uses_reg and insn.src == 0 \
            and insn.dst < uapi.MAX_BPF_REG:
        regs.read(env, insn.dst)


def _alu(walk: Walk, insn: Insn) -> int:
    alu.step(walk, insn)
    return NEXT


def _jump(walk: Walk, insn: Insn) -> int:
    env = walk.env
    env.jumps += 1
    if insn.op == uapi.BPF_CALL:
        return call.step(walk, insn)
    if insn.op == uapi.BPF_EXIT:
        return ends.step(walk)
    if insn.op == uapi.BPF_JA:
        env.idx += (insn.off if insn.cls == uapi.BPF_JMP else insn.imm) + 1
        return JUMPED
    return jump.step(walk, insn)


STEPS: dict[int, Step] = {
    uapi.BPF_ALU: _alu, uapi.BPF_ALU64: _alu, uapi.BPF_LD: mem.step_ld, uapi.BPF_LDX: mem.step_ldx,
    uapi.BPF_ST: mem.step_st, uapi.BPF_STX: mem.step_stx, uapi.BPF_JMP: _jump,
    uapi.BPF_JMP32: _jump,
}
