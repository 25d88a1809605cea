"""The end of functions and of the program (process_bpf_exit_full, check_return_code).

Both are from kernel/bpf/verifier.c.
"""

from __future__ import annotations

from errno import EACCES, EINVAL

from anybpf import bits, uapi
from anybpf.proto import kinds
from anybpf.proto.progs import Returns
from anybpf.verifier import backtrack, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region import packet
from anybpf.verifier.state import REF_PTR, Reg, copy_reg, mark_known_scalar, mark_unknown
from anybpf.verifier.step import regs
from anybpf.verifier.step.widen import widen_loop
from anybpf.verifier.walk import DONE, JUMPED, Walk


def step(walk: Walk) -> int:
    """`exit`"""
    env = walk.env
    outermost = len(env.state.frames) == 1
    check_resources(env, "BPF_EXIT instruction in main prog", locks_count=outermost)
    if not outermost:
        _return_to_caller(walk)
        env.print_state = True
        return JUMPED
    check_return(env)
    return DONE


def check_resources(env: Env, where: str, locks_count: bool = True, thrown: bool = False) -> None:
    """Nothing is held that must be given back (check_resource_leak)."""
    state = env.state
    if not (state.refs or state.locks or state.irq_id or state.rcu_locks or state.preempt_locks):
        return
    if locks_count and state.locks:
        raise _inside(env, where, "bpf_spin_lock")
    outermost = thrown or len(state.frames) == 1
    held = [r for r in state.refs if r.type == REF_PTR] if outermost else []
    if held:
        lines = [f"Unreleased reference id={r.id} alloc_insn={r.insn}" for r in held]
        raise env.reject(EINVAL, "\n".join((*lines, f"{where} would lead to reference leak")))
    sections = ((state.irq_id, "bpf_local_irq_save"), (state.rcu_locks, "bpf_rcu_read_lock"),
                (state.preempt_locks, "bpf_preempt_disable"))
    for entered, name in sections if locks_count else ():
        if entered:
            raise _inside(env, where, name)


def _inside(env: Env, where: str, section: str) -> Exception:
    return env.reject(EINVAL, f"{where} cannot be used inside {section}-ed region")


def check_return(env: Env, regno: int = 0) -> None:
    """What is given back is a number in the range of the program type (check_return_code)."""
    reg = regs.read(env, regno)
    frame = env.state.frames[0]
    if frame.in_async_callback:
        low, high = frame.callback_returns
        _check_result(env, regno, low, high, "async callback return")
        return
    if frame.subprog and frame.subprog != env.exception_callback:
        if reg.kind != kinds.SCALAR_VALUE:
            raise env.reject(EINVAL, f"At subprogram exit the register R{regno} is not a scalar "
                                     f"value ({regtype.text(reg.kind)})")
        return
    wanted = _wanted(env)
    if wanted is not None:
        _check_result(env, regno, wanted.low, wanted.high, "program exit")


def _wanted(env: Env) -> Returns | None:
    """What the program may give back; None: any number."""
    if env.extends is not None and env.prog_type == uapi.BPF_PROG_TYPE_RAW_TRACEPOINT:
        # one that attaches by BTF, which otherwise only tracing programs do
        return Returns(0, 0)
    return env.prog.returned(env.facts.attach_type)


def _check_result(env: Env, regno: int, low: int, high: int, where: str) -> None:
    reg = env.regs[regno]
    if reg.kind != kinds.SCALAR_VALUE:
        raise env.reject(EINVAL, f"At {where} the register R{regno} is not a known value "
                                 f"({regtype.text(reg.kind)})")
    backtrack.mark(env, regno)
    check_range(env, reg, bits.s32(low & uapi.U32), bits.s32(high & uapi.U32), where, f"R{regno}")


def check_range(env: Env, reg: Reg, low: int, high: int, where: str, name: str) -> None:
    """The number is one that a program or callback may give (retval_range_within)."""
    if reg.smin < low or reg.smax > high:
        raise env.reject(EINVAL, _bad_return(where, name, reg, low, high))


def _bad_return(where: str, name: str, reg: Reg, low: int, high: int) -> str:
    """What is said of a number outside of its range (verbose_invalid_scalar)."""
    parts = [f"At {where} the register {name} has"]
    if reg.smin > -(1 << 63):
        parts.append(f"smin={reg.smin}")
    if reg.smax < (1 << 63) - 1:
        parts.append(f"smax={reg.smax}")
    if len(parts) == 1:
        parts.append("unknown scalar value")
    return " ".join(parts) + f" should have been in [{low}, {high}]"


def left_by_tail_call(walk: Walk) -> int:
    """A called function ends with what another program gives back; put aside that it goes on."""
    env = walk.env
    walk.fork(env.idx + 1, env.idx)
    packet.forget(env)
    mark_unknown(env.regs[0])
    _return_to_caller(walk)
    return JUMPED


def left_by_load(walk: Walk) -> int:
    """A load from the packet ends a called function with 0; put aside that it goes on."""
    env = walk.env
    walk.fork(env.idx + 1, env.idx)
    mark_known_scalar(env.regs[0], 0)
    _return_to_caller(walk)
    return JUMPED


def _return_to_caller(walk: Walk) -> None:
    """Back to behind the call (prepare_func_exit)."""
    env = walk.env
    walk.live.update()
    state = env.state
    callee, caller = state.frames[-1], state.frames[-2]
    returned = callee.regs[0]
    if returned.kind == kinds.PTR_TO_STACK:
        raise env.reject(EINVAL, "cannot return stack pointer to the caller")
    if callee.in_callback:
        _leave_callback(env)
    else:
        copy_reg(caller.regs[0], returned)
    env.idx = callee.callsite if callee.in_callback else callee.callsite + 1
    if env.log.on:
        _tell(env)
    state.frames.pop()
    walk.live.forget_current()
    if callee.in_callback:
        _repeat_callback(walk)


def _leave_callback(env: Env) -> None:
    """A callback gives 0 or 1, precisely."""
    callee = env.state.frames[-1]
    returned = callee.regs[0]
    if returned.kind != kinds.SCALAR_VALUE:
        raise env.reject(EACCES, "R0 not a scalar value")
    backtrack.mark(env, 0)
    low, high = callee.callback_returns
    check_range(env, returned, low, high, "callback return", "R0")


def _repeat_callback(walk: Walk) -> None:
    widen_loop(walk.env, walk.env.state, walk.env.state)


def _tell(env: Env) -> None:
    state = env.state
    last = len(state.frames) - 1
    env.log.write("returning from callee:\n")
    env.log.print_state(state, last, everything=True)
    env.log.write(f"to caller at {env.idx}:\n")
    env.log.print_state(state, last - 1, everything=True)


def forget_callers_registers(regs_: list[Reg]) -> None:
    """r0 .. r5 hold nothing after a call."""
    for i in range(6):
        mark_unknown(regs_[i])
        regs_[i].kind = kinds.NOT_INIT
