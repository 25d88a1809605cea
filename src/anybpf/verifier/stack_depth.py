"""How much stack a chain of calls may take (check_max_stack_depth, kernel/bpf/verifier.c).

What the rewrites of loops add to it is told in the log, and no more checked.
"""

from __future__ import annotations

from errno import E2BIG, EACCES, EFAULT, EINVAL

from anybpf import uapi
from anybpf.isa.insn import is_pseudo_call, is_pseudo_func
from anybpf.isa.opcodes import MAY_GOTO
from anybpf.verifier import exceptions
from anybpf.verifier.env import Env
from anybpf.verifier.kfuncs import THROW
from anybpf.verifier.kfuncs import called as called_kfunc
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import MAX_FRAMES, MAX_STACK

#: a frame takes a multiple of this (the x86 and arm64 JIT)
ROUND = 16
MAX_BEFORE_TAIL_CALL = 256
#: a frame of at least this size gets a stack of its own where the program type allows it
PRIVATE = 64
#: a function with `may_goto` counts passes and time; bpf_loop() in line saves three registers
MAY_GOTO_STACK, LOOP_STACK = 16, 24
#: the context, for what the kernel does behind a program
EPILOGUE_STACK = 8

#: what is taken out where it goes to the next instruction
_JUMPS = (MAY_GOTO, uapi.BPF_JMP | uapi.BPF_JA)
_PRIVATE_TYPES = frozenset({
    uapi.BPF_PROG_TYPE_KPROBE, uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_PERF_EVENT,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT})


def check(env: Env) -> None:
    """Every chain of calls from the main function and from callbacks that run later."""
    private = has_private_stacks(env)
    throws: set[tuple[int, bool]] = set()
    common: set[int] = set()
    # the main function is last: what callbacks that run later call may run inside of it
    for number in reversed(range(len(env.subprogs))):
        if not number or env.subprogs[number].is_async_callback:
            stacks = _Stacks(env, private and not number, common)
            stacks.visit(number, 0, 1)
            exceptions.check_tail_calls(env, number)
            _check_throws(env, number, False, throws)


def has_private_stacks(env: Env) -> bool:
    """The JIT gives large frames a stack of their own (bpf_enable_priv_stack)."""
    if env.extends is not None or any(subprog.has_tail_call for subprog in env.subprogs):
        return False
    facts, target = env.facts, env.target
    if target is not None and target.ops is not None and target.name in target.ops.private:
        return True
    traced = (facts.type == uapi.BPF_PROG_TYPE_TRACING
              and facts.attach_type != uapi.BPF_TRACE_ITER)
    return traced or facts.type in _PRIVATE_TYPES


def _rounded(size: int) -> int:
    return (size + ROUND - 1) // ROUND * ROUND


class _Stacks:
    """The chains of calls that begin in one function.

    `common` has the functions that use the common stack in any case; those found here are added
    where nothing here has a stack of its own.
    """

    def __init__(self, env: Env, private: bool, common: set[int]) -> None:
        self.env, self.private, self.common = env, private, common
        #: function, what its callers take of the common stack, frames
        self.seen: set[tuple[int, int, int]] = set()

    def visit(self, number: int, depth: int, frames: int) -> None:
        """One function, unless it was seen under the same circumstances."""
        if (number, depth, frames) in self.seen:
            return
        self.seen.add((number, depth, frames))
        depth = self._enter(number, depth, frames)
        subprog = self.env.subprogs[number]
        for idx in range(subprog.start, subprog.end):
            called = _called(self.env, idx)
            if called < 0:
                continue
            exceptions.check_call(self.env, idx, called)
            if frames >= MAX_FRAMES:
                raise Reject(E2BIG, f"the call stack of {frames} frames is too deep !")
            self.visit(called, depth, frames + 1)

    def _enter(self, number: int, depth: int, frames: int) -> int:
        """What is taken of the common stack in the function."""
        subprog = self.env.subprogs[number]
        if number and subprog.has_tail_call and depth >= MAX_BEFORE_TAIL_CALL:
            raise Reject(EACCES, "tail_calls are not allowed when call stack of previous frames "
                                 f"is {depth} bytes. Too large")
        size = _rounded(subprog.stack_depth)
        if not self.private:
            self.common.add(number)
        elif number not in self.common and size >= PRIVATE:
            return depth
        depth += size
        if depth > MAX_STACK:
            raise Reject(EACCES, f"combined stack size of {frames} calls is {depth}. Too large")
        return depth


def _called(env: Env, idx: int) -> int:
    """The function that runs on the same stack, if the instruction calls one, or names it; -1."""
    insn = env.insns[idx]
    if not (is_pseudo_call(insn) or is_pseudo_func(insn)):
        return -1
    called = env.subprog_at(idx + insn.imm + 1)
    subprog = env.subprogs[called]
    if not subprog.is_async_callback:
        return called
    if subprog.has_tail_call:
        raise Reject(EFAULT, "verifier bug: subprog has tail_call and async cb", idx)
    # a callback that runs later does so on a stack of its own
    return -1 if is_pseudo_func(insn) else called


def _check_throws(env: Env, number: int, called_back: bool, seen: set[tuple[int, bool]]) -> None:
    """Nothing that a callback calls throws."""
    subprog = env.subprogs[number]
    called_back |= subprog.is_callback
    if (number, called_back) in seen:
        return
    seen.add((number, called_back))
    for idx in range(subprog.start, subprog.end):
        insn = env.insns[idx]
        kfunc = called_kfunc(env, insn)
        if called_back and kfunc is not None and kfunc.name == THROW:
            raise Reject(EINVAL, f"bpf_throw kfunc (insn {idx}) cannot be called from callback "
                                 f"subprog {number}")
        called = _called(env, idx)
        if called >= 0:
            _check_throws(env, called, called_back, seen)


def extra(env: Env) -> None:
    """Add what the rewritten program takes (do_misc_fixups, optimize_bpf_loop)."""
    kept = _kept_may_gotos(env)
    for subprog in env.subprogs:
        body = range(subprog.start, subprog.end)
        if any(_inlined_loop(env, idx) for idx in body):
            subprog.stack_depth += LOOP_STACK
        if any(idx in kept for idx in body):
            subprog.stack_depth += MAY_GOTO_STACK
    if _has_epilogue(env):
        env.subprogs[0].stack_depth += EPILOGUE_STACK


def _has_epilogue(env: Env) -> bool:
    """The kernel's own code runs behind the program, and needs the context."""
    target = env.target
    return target is not None and target.ops is not None and target.name in target.ops.epilogues


def _inlined_loop(env: Env, idx: int) -> bool:
    return env.aux[idx].loop_inline >= 0


def _kept_may_gotos(env: Env) -> frozenset[int]:
    """Each `may_goto` that is reached and goes two ways, once jumps to the next instruction are
    taken out (opt_remove_nops); with one that goes, the one before may go, too."""
    if not any(insn.code == MAY_GOTO for insn in env.insns):
        return frozenset()
    left = [idx for idx in range(len(env.insns)) if env.aux[idx].seen]
    at = 0
    while at < len(left):
        insn = env.insns[left[at]]
        after = left[at + 1] if at + 1 < len(left) else len(env.insns)
        if insn.code not in _JUMPS or not left[at] < left[at] + 1 + insn.off <= after:
            at += 1
            continue
        del left[at]
        if insn.code == MAY_GOTO:
            at = max(at - 1, 0)
    return frozenset(idx for idx in left if _goes_two_ways(env, idx))


def _goes_two_ways(env: Env, idx: int) -> bool:
    insn = env.insns[idx]
    return (insn.code == MAY_GOTO and insn.off != 0
            and env.aux[idx + 1].seen and env.aux[idx + 1 + insn.off].seen)


def told(env: Env, accepted: bool) -> tuple[int, ...]:
    """The functions' depths; those that no path reaches are taken out of an accepted program."""
    depths = tuple(s.stack_depth for s in env.subprogs if not accepted or any(
        env.aux[idx].seen for idx in range(s.start, s.end)))
    # the rewrites add a function that catches what is thrown
    return (*depths, 0) if env.throws and accepted and not env.exception_callback \
        else depths
