"""Calls of the program's own functions, and callbacks (check_func_call, kernel/bpf/verifier.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG, EINVAL

from anybpf import uapi
from anybpf.isa.insn import Insn, is_kfunc_call
from anybpf.proto import kinds
from anybpf.verifier import kfuncs
from anybpf.verifier.entry import new_frame
from anybpf.verifier.env import Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.numbers import S32_MAX, S32_MIN
from anybpf.verifier.region import btf_ptr, dynptrs, packet
from anybpf.verifier.region.map_value import map_of
from anybpf.verifier.reject import ENOTSUPP, Reject
from anybpf.verifier.state import (
    MAIN,
    MAX_FRAMES,
    Frame,
    State,
    copy_reg,
    mark_pointer,
    mark_unknown,
)
from anybpf.verifier.step import ends, globals_
from anybpf.verifier.walk import JUMPED, NEXT, Walk

#: kernel functions that may be called with a lock held
_KFUNCS_UNDER_LOCK = frozenset({
    "bpf_list_push_front_impl", "bpf_list_push_back_impl", "bpf_list_pop_front",
    "bpf_list_pop_back", "bpf_list_front", "bpf_list_back", "bpf_rbtree_add_impl",
    "bpf_rbtree_remove", "bpf_rbtree_first", "bpf_rbtree_root", "bpf_rbtree_left",
    "bpf_rbtree_right", "bpf_refcount_acquire_impl", "bpf_iter_num_new", "bpf_iter_num_next",
    "bpf_iter_num_destroy", "bpf_res_spin_lock", "bpf_res_spin_unlock",
    "bpf_res_spin_lock_irqsave", "bpf_res_spin_unlock_irqrestore"})


def under_lock(env: Env, insn: Insn) -> bool:
    """Whether the helper or kernel function may be called with a lock held."""
    if is_kfunc_call(insn):
        kfunc = kfuncs.of(env, insn)
        return kfunc is not None and insn.off == 0 and kfunc.name in _KFUNCS_UNDER_LOCK
    return insn.imm == uapi.BPF_FUNC_spin_unlock


#: fills the registers of a callee from those of its caller
Entry = Callable[[Frame, Frame], None]


def function(walk: Walk, insn: Insn) -> int:
    """A function of the program; gives what comes next."""
    env = walk.env
    state = env.state
    subprog = env.subprog_at(env.idx + insn.imm + 1)
    caller = state.frames[-1]
    if env.subprogs[subprog].is_global:
        _global_function(walk, subprog)
        return NEXT
    globals_.tell(walk, subprog)
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
    env = walk.env
    subprog = env.subprogs[number]
    misfit = globals_.check(walk, number)
    if env.state.locks:
        env.log.say(misfit.text if misfit is not None else "")
        raise env.reject(EINVAL, "global function calls are not allowed while holding a lock,\n"
                                 "use static function instead")
    _check_sleep(env, number, misfit)
    if misfit is not None:
        text = f"Caller passes invalid args into func#{number} ('{subprog.name}')"
        raise env.reject(misfit.errno, "\n".join(filter(None, (misfit.text, text))))
    env.log.write(f"Func#{number} ('{subprog.name}') is global and assumed valid.\n")
    if subprog.changes_packet:
        packet.forget(env)
    subprog.called = True
    ends.forget_callers_registers(env.regs)
    mark_unknown(env.regs[0])
    env.log.scratched_regs |= 1


def _check_sleep(env: Env, number: int, misfit: Reject | None) -> None:
    """A function that may sleep is not called where nothing must."""
    state = env.state
    if env.subprogs[number].might_sleep and (
            state.rcu_locks or state.preempt_locks or state.irq_id or not state.sleepable):
        env.log.say(misfit.text if misfit is not None else "")
        raise env.reject(EINVAL, "global functions that may sleep are not allowed in "
                                 "non-sleepable context,\ni.e., in a RCU/IRQ/preempt-disabled "
                                 "section, or in\na non-sleepable BPF program context")


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
    env = walk.env
    globals_.tell(walk, subprog)
    env.subprogs[subprog].is_callback = True
    made = walk.fork(env.subprogs[subprog].start, env.idx)
    enter(env, made, subprog, env.idx, fill)
    made.callback_unroll_depth += 1
    made.frames[-2].callback_depth += 1
    env.frame.callback_depth = 0


def _called_back(callee: Frame) -> None:
    """The function is called at once, and gives 0 (go on) or 1."""
    callee.in_callback = True
    callee.callback_returns = (0, 1)


def _element(callee: Frame, of: MapFacts | None, uid: int = 0) -> None:
    """The first three arguments are a map, and key and value of one of its elements."""
    for number, kind in ((1, kinds.CONST_PTR_TO_MAP), (2, kinds.PTR_TO_MAP_KEY),
                         (3, kinds.PTR_TO_MAP_VALUE)):
        reg = callee.regs[number]
        mark_pointer(reg, kind)
        reg.map, reg.map_uid = of, uid


def loop_callback(callee: Frame, caller: Frame) -> None:
    """callback(u64 index, void *ctx) of bpf_loop()"""
    callee.regs[1].kind = kinds.SCALAR_VALUE
    copy_reg(callee.regs[2], caller.regs[3])
    _called_back(callee)


#: maps whose elements a callback may be called for
_ITERABLE = frozenset({uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_LRU_HASH,
                       uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH,
                       uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY})


def map_element_callback(callee: Frame, caller: Frame) -> None:
    """callback(map, key, value, ctx) of bpf_for_each_map_elem()"""
    found = map_of(caller.regs[1])
    if found.type not in _ITERABLE:
        raise Reject(ENOTSUPP, "callback function not allowed for map", callee.callsite)
    _element(callee, found)
    # an inner map is known as the one that was looked up, but its elements are of no one
    copy_reg(callee.regs[1], caller.regs[1])
    copy_reg(callee.regs[4], caller.regs[3])
    _called_back(callee)


def user_ringbuf_callback(env: Env, callee: Frame, caller: Frame) -> None:
    """callback(dynptr, ctx) of bpf_user_ringbuf_drain()"""
    dynptrs.mark(callee.regs[1], dynptrs.LOCAL, True, env.new_id())
    copy_reg(callee.regs[2], caller.regs[3])
    _called_back(callee)


def vma_callback(env: Env, callee: Frame, caller: Frame) -> None:
    """callback(task, vma, ctx) of bpf_find_vma()"""
    copy_reg(callee.regs[1], caller.regs[1])
    btf_ptr.point(env, callee.regs[2], btf_ptr.kernel(env),
                  btf_ptr.struct_id(env, "vm_area_struct"), 0)
    copy_reg(callee.regs[3], caller.regs[4])
    _called_back(callee)


# -- callbacks that run later


def push_async_callback(walk: Walk, subprog: int, fill: Entry, sleepable: bool = False) -> None:
    """The function will be called some time: a path in a state of its own (push_async_cb)."""
    globals_.tell(walk, subprog)
    env = walk.env
    env.subprogs[subprog].is_async_callback = env.subprogs[subprog].is_callback = True
    state = State()
    state.branches = 1
    state.sleepable = sleepable
    frame = new_frame(MAIN, 0, subprog)
    frame.async_entries = env.frame.async_entries + 1
    fill(frame, env.frame)
    state.frames.append(frame)
    env.log.scratch_all()
    walk.put_aside(state, env.subprogs[subprog].start, env.idx, " for async cb")


def task_work_callback(callee: Frame, caller: Frame) -> None:
    """callback(map, key, value) of bpf_task_work_schedule_signal() and _resume()"""
    _element(callee, map_of(caller.regs[3]))
    callee.in_async_callback = True
    callee.callback_returns = (S32_MIN, S32_MAX)


def timer_callback(callee: Frame, caller: Frame) -> None:
    """callback(map, key, value) of bpf_timer_set_callback()"""
    _element(callee, caller.regs[1].map, caller.regs[1].map_uid)
    callee.in_async_callback = True
    callee.callback_returns = (0, 0)
