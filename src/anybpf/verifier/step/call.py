"""Calls: into functions of the program, and of helpers (check_func_call, check_helper_call).

Both are from kernel/bpf/verifier.c.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG

from anybpf import uapi
from anybpf.isa.insn import Insn, is_kfunc_call, is_pseudo_call
from anybpf.proto import kinds
from anybpf.verifier.entry import new_frame
from anybpf.verifier.env import Env
from anybpf.verifier.region.map_value import map_of
from anybpf.verifier.reject import ENOTSUPP, Reject
from anybpf.verifier.state import MAX_FRAMES, Frame, State, copy_reg, mark_pointer, mark_unknown
from anybpf.verifier.step import ends
from anybpf.verifier.walk import JUMPED, NEXT, Walk

#: fills the registers of a callee from those of its caller
Entry = Callable[[Frame, Frame], None]


def step(walk: Walk, insn: Insn) -> int:
    """Any call."""
    from anybpf.verifier.step import helper, kfunc

    env = walk.env
    if is_pseudo_call(insn):
        return _function(walk, insn)
    if is_kfunc_call(insn):
        env.log.scratched_regs |= 1
        return kfunc.call(walk, insn)
    helper.call(walk, insn)
    env.log.scratched_regs |= 1
    return NEXT


def _function(walk: Walk, insn: Insn) -> int:
    from anybpf.verifier.step import globals_

    env = walk.env
    state = env.state
    subprog = env.subprog_at(env.idx + insn.imm + 1)
    caller = state.frames[-1]
    if env.subprogs[subprog].is_global:
        _global_function(walk, subprog)
        return NEXT
    globals_.check_static(walk, subprog)
    enter(env, state, subprog, env.idx, _arguments)
    ends.forget_callers_registers(caller.regs)
    env.idx = env.subprogs[subprog].start
    walk.live.forget_current()
    if env.log.on:
        env.log.write("caller:\n")
        env.log.print_state(state, caller.frameno, everything=True)
        env.log.write("callee:\n")
        env.log.print_state(state, len(state.frames) - 1, everything=True)
    return JUMPED


def _global_function(walk: Walk, number: int) -> None:
    """A global function is walked by itself: here only its arguments are checked."""
    from anybpf.verifier.step import globals_, helper

    env = walk.env
    subprog = env.subprogs[number]
    globals_.check(walk, number)
    if env.log.on:
        env.log.write(f"Func#{number} ('{subprog.name}') is global and assumed valid.\n")
    if subprog.changes_packet:
        helper.forget_packets(env)
    subprog.called = True
    ends.forget_callers_registers(env.regs)
    mark_unknown(env.regs[0])
    env.log.scratched_regs |= 1


def enter(env: Env, state: State, subprog: int, callsite: int, fill: Entry) -> None:
    """Add a frame to the state (setup_func_entry)."""
    if len(state.frames) >= MAX_FRAMES:
        raise env.reject(E2BIG, f"the call stack of {len(state.frames) + 1} frames is too deep")
    frame = new_frame(callsite, len(state.frames), subprog)
    fill(frame, state.frames[-1])
    state.frames.append(frame)
    env.log.scratch_all()


def _arguments(callee: Frame, caller: Frame) -> None:
    for i in range(1, 6):
        copy_reg(callee.regs[i], caller.regs[i])


# -- callbacks


def push_callback(walk: Walk, subprog: int, fill: Entry) -> None:
    """The helper may call the function now: put that aside as a path (push_callback_call)."""
    from anybpf.verifier.step import globals_

    env = walk.env
    globals_.check_static(walk, subprog)
    made = walk.fork(env.subprogs[subprog].start, env.idx)
    enter(env, made, subprog, env.idx, fill)
    made.callback_unroll_depth += 1
    made.frames[-2].callback_depth += 1
    env.frame.callback_depth = 0


def loop_callback(callee: Frame, caller: Frame) -> None:
    """callback(u64 index, void *ctx) of bpf_loop()"""
    callee.regs[1].kind = kinds.SCALAR_VALUE
    copy_reg(callee.regs[2], caller.regs[3])
    callee.in_callback = True
    callee.callback_returns = (0, 1)


#: maps whose elements a callback may be called for
_ITERABLE = frozenset({uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_LRU_HASH,
                       uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH,
                       uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY})


def map_element_callback(callee: Frame, caller: Frame) -> None:
    """callback(map, key, value, ctx) of bpf_for_each_map_elem()"""
    found = map_of(caller.regs[1])
    if found.type not in _ITERABLE:
        raise Reject(ENOTSUPP, "callback function not allowed for map", callee.callsite)
    for number, kind in ((1, kinds.CONST_PTR_TO_MAP), (2, kinds.PTR_TO_MAP_KEY),
                         (3, kinds.PTR_TO_MAP_VALUE)):
        mark_pointer(callee.regs[number], kind)
        callee.regs[number].map = found
    copy_reg(callee.regs[4], caller.regs[3])
    callee.in_callback = True
    callee.callback_returns = (0, 1)
