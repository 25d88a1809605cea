"""Spills around calls that keep r1 .. r5 (mark_fastcall_patterns, kernel/bpf/verifier.c).

A compiler that knows of such helpers still writes spills and fills around them, for kernels that do
not. Where nothing else uses those slots, they are not needed, and neither is their stack.
"""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.isa.insn import Insn, is_call, is_helper_call, is_kfunc_call
from anybpf.proto import kfuncs as rows
from anybpf.proto import kinds
from anybpf.proto.helpers import BY_ID, Does
from anybpf.verifier import kfuncs
from anybpf.verifier.env import Env, Subprog
from anybpf.verifier.state import FP, SLOT_BYTES, Frame

CALLER_SAVED = 0b111111
R0 = 1
SPILL = uapi.BPF_STX | uapi.BPF_MEM | uapi.BPF_DW
FILL = uapi.BPF_LDX | uapi.BPF_MEM | uapi.BPF_DW
#: below any offset: the slots are used otherwise
NEVER = -(1 << 15)


def mark(env: Env) -> None:
    """Find the patterns of each function."""
    for subprog in env.subprogs:
        body = range(subprog.start, subprog.end)
        lowest = min((env.insns[i].off for i in body
                      if env.insns[i].code == SPILL and env.insns[i].dst == FP), default=0)
        for idx in body:
            if is_call(env.insns[idx]):
                _mark_call(env, subprog, idx, min(lowest, 0))


def _mark_call(env: Env, subprog: Subprog, idx: int, lowest: int) -> None:
    kept, in_line = _summary(env, env.insns[idx])
    pairs = 0
    while pairs < 6 and _pair(env, idx, pairs + 1, lowest + SLOT_BYTES * pairs, kept):
        pairs += 1
        kept &= ~(1 << env.insns[idx - pairs].src)
        env.aux[idx - pairs].fastcall_pattern = env.aux[idx + pairs].fastcall_pattern = True
    if not pairs:
        return
    if in_line:
        env.aux[idx].fastcall_spills = pairs
    else:
        subprog.keep_fastcall_stack = True
    subprog.fastcall_off = min(subprog.fastcall_off, lowest + SLOT_BYTES * pairs)


def _summary(env: Env, insn: Insn) -> tuple[int, bool]:
    """The caller-saved registers that the callee leaves alone, and whether it becomes code in line.
    """
    if is_helper_call(insn) and insn.imm in BY_ID:
        row = env.helper(insn.imm)
        if row is not None:
            return _kept(len(row.args), row.ret != kinds.RET_VOID), bool(row.does & Does.FASTCALL)
    kfunc = kfuncs.of(env, insn) if is_kfunc_call(insn) else None
    if kfunc is None:
        return 0, False
    gives = not isinstance(kfunc.btf.type(kfunc.btf.resolve(kfunc.ret)), t.Void)
    return _kept(len(kfunc.params), gives), bool(kfunc.flags & rows.KF_FASTCALL)


def _kept(arguments: int, gives: bool) -> int:
    return CALLER_SAVED & ~((1 << arguments) - 1 << 1 | (R0 if gives else 0))


def _pair(env: Env, idx: int, distance: int, off: int, kept: int) -> bool:
    """A spill so far before the call and its fill so far behind it."""
    if idx - distance < 0 or idx + distance >= len(env.insns):
        return False
    spill, fill = env.insns[idx - distance], env.insns[idx + distance]
    return (spill.code == SPILL and fill.code == FILL and spill.dst == FP and fill.src == FP
            and spill.src == fill.dst and bool(kept >> spill.src & 1)
            and spill.off == off and fill.off == off)


def check_contract(env: Env, frame: Frame, off: int) -> None:
    """An access of the stack: one of such slots that belongs to no pattern ends all of them."""
    subprog = env.subprogs[frame.subprog]
    if subprog.fastcall_off <= off:
        return
    aux = env.aux[env.idx]
    if aux.fastcall_pattern:
        return
    subprog.fastcall_off = NEVER
    for idx in range(subprog.start, subprog.end):
        aux = env.aux[idx]
        aux.fastcall_spills = 0
        aux.fastcall_pattern = False


def shrink(env: Env) -> None:
    """The stack that is left where patterns go away (remove_fastcall_spills_fills)."""
    for subprog in env.subprogs:
        goes = any(env.aux[idx].fastcall_spills for idx in range(subprog.start, subprog.end))
        if goes and not subprog.keep_fastcall_stack:
            subprog.stack_depth = -subprog.fastcall_off
