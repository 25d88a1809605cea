"""What one instruction does to a state: checks, then effects (do_check_insn, verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.isa.check import BadInsn, check_insn
from anybpf.verifier import consts
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.step import alu, atomic, call, ends, jump, mem, regs
from anybpf.verifier.walk import Walk


def step(walk: Walk, insn: Decoded) -> int:
    """Check the instruction, change the state; gives what comes next (`consts.NEXT`, ...)."""
    if not insn.checked:
        _check(walk.env, insn)
    # not a table: compiled, this is one jump
    cls = insn.cls
    if cls == uapi.BPF_ALU64 or cls == uapi.BPF_ALU:
        alu.step(walk, insn)
    elif cls == uapi.BPF_LDX:
        mem.step_ldx(walk, insn)
    elif cls == uapi.BPF_JMP or cls == uapi.BPF_JMP32:
        return _jump(walk, insn)
    elif cls == uapi.BPF_STX:
        if insn.mode == uapi.BPF_ATOMIC:
            return atomic.step(walk, insn)
        mem.step_stx(walk, insn)
    elif cls == uapi.BPF_ST:
        mem.step_st(walk, insn)
    else:
        return mem.step_ld(walk, insn)
    return consts.NEXT


#: what is wrong with constants, which is looked at after the register
OF_CONSTANTS = ("div by zero", "invalid shift")


def _check(env: Env, insn: Decoded) -> None:
    """Fields that must be 0, registers that there are not: once is enough."""
    try:
        check_insn(insn.raw, env.idx)
    except BadInsn as bad:
        if bad.message.startswith(OF_CONSTANTS):
            regs.read(env, insn.dst)
        raise env.reject(bad.errno or EINVAL, bad.message) from None
    insn.checked = True


def _jump(walk: Walk, insn: Decoded) -> int:
    env = walk.env
    env.jumps += 1
    if insn.op == uapi.BPF_CALL:
        return call.step(walk, insn.raw)
    if insn.op == uapi.BPF_EXIT:
        return ends.step(walk)
    if insn.op == uapi.BPF_JA:
        env.idx += (insn.off if insn.cls == uapi.BPF_JMP else insn.imm) + 1
        return consts.JUMPED
    jump.step(walk, insn)
    return consts.NEXT
