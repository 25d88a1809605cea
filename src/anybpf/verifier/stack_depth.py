"""How much stack a chain of calls may take (check_max_stack_depth, kernel/bpf/verifier.c).

What the rewrites of loops add to it is told in the log, and no more checked.
"""

from __future__ import annotations

from errno import E2BIG, EACCES

from anybpf.isa.insn import is_pseudo_call, is_pseudo_func
from anybpf.isa.opcodes import MAY_GOTO
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import MAX_FRAMES, MAX_STACK

#: a frame takes a multiple of this (the x86 and arm64 JIT)
ROUND = 16
MAX_BEFORE_TAIL_CALL = 256
#: a function with `may_goto` counts passes and time; bpf_loop() in line saves three registers
MAY_GOTO_STACK, LOOP_STACK = 16, 24


def check(env: Env) -> None:
    """Every chain of calls from the main function."""
    _visit(env, 0, 0, 1)


def _rounded(size: int) -> int:
    return (max(size, 1) + ROUND - 1) // ROUND * ROUND


def _visit(env: Env, number: int, depth: int, frames: int) -> None:
    subprog = env.subprogs[number]
    if number and subprog.has_tail_call and depth >= MAX_BEFORE_TAIL_CALL:
        raise Reject(EACCES, "tail_calls are not allowed when call stack of previous frames is "
                             f"{depth} bytes. Too large")
    depth += _rounded(subprog.stack_depth)
    if depth > MAX_STACK:
        raise Reject(EACCES, f"combined stack size of {frames} calls is {depth}. Too large")
    for idx in range(subprog.start, subprog.end):
        insn = env.insns[idx]
        if not (is_pseudo_call(insn) or is_pseudo_func(insn)):
            continue
        if frames >= MAX_FRAMES:
            raise Reject(E2BIG, f"the call stack of {frames + 1} frames is too deep !")
        _visit(env, env.subprog_at(idx + insn.imm + 1), depth, frames + 1)


def extra(env: Env) -> None:
    """Add what the rewritten program takes (do_misc_fixups, optimize_bpf_loop)."""
    for subprog in env.subprogs:
        body = range(subprog.start, subprog.end)
        if any(_inlined_loop(env, idx) for idx in body):
            subprog.stack_depth += LOOP_STACK
        if any(_kept_may_goto(env, idx) for idx in body):
            subprog.stack_depth += MAY_GOTO_STACK


def _inlined_loop(env: Env, idx: int) -> bool:
    return env.aux[idx].loop_inline >= 0


def _kept_may_goto(env: Env, idx: int) -> bool:
    """A `may_goto` that is reached and goes two ways."""
    insn = env.insns[idx]
    return (insn.code == MAY_GOTO and env.aux[idx].seen and insn.off != 0
            and env.aux[idx + 1].seen and env.aux[idx + 1 + insn.off].seen)
