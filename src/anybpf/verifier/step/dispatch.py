"""What one instruction does to a state: checks, then effects (do_check_insn, verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.verifier import consts
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.step import alu, atomic, call, ends, helper, jump, kfunc, mem, reserved
from anybpf.verifier.walk import Walk


def step(walk: Walk, insn: Decoded) -> int:
    """Check the instruction, change the state; gives what comes next (`consts.NEXT`, ...)."""
    if not insn.checked:
        reserved.check(walk.env, insn.raw)
        insn.checked = True
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


def _jump(walk: Walk, insn: Decoded) -> int:
    env = walk.env
    env.jumps += 1
    if insn.op == uapi.BPF_CALL:
        return _call(walk, insn)
    if insn.op == uapi.BPF_EXIT:
        return ends.step(walk)
    if insn.op == uapi.BPF_JA:
        env.idx += (insn.off if insn.cls == uapi.BPF_JMP else insn.imm) + 1
        return consts.JUMPED
    jump.step(walk, insn)
    return consts.NEXT


def _call(walk: Walk, insn: Decoded) -> int:
    env = walk.env
    if insn.is_pseudo_call:
        return call.function(walk, insn.raw)
    if env.state.locks and not call.under_lock(env, insn.raw):
        raise env.reject(EINVAL, "function calls are not allowed while holding a lock")
    if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
        env.log.scratched_regs |= 1
        return kfunc.call(walk, insn.raw)
    helper.call(walk, insn.raw)
    env.log.scratched_regs |= 1
    if insn.imm == uapi.BPF_FUNC_tail_call and len(env.state.frames) > 1:
        return ends.left_by_tail_call(walk)
    return consts.NEXT
