"""The end of functions and of the program (process_bpf_exit_full, check_return_code).

Both are from kernel/bpf/verifier.c.
"""

from __future__ import annotations

from errno import EACCES, EINVAL
from typing import NamedTuple

from anybpf import bits, uapi
from anybpf.btf import types as t
from anybpf.errors import ENOTSUPP
from anybpf.proto import kinds
from anybpf.verifier import backtrack, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region import ctx, packet
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import (
    REF_PTR,
    Frame,
    Reg,
    copy_reg,
    mark_known_scalar,
    mark_unknown,
)
from anybpf.verifier.step import regs
from anybpf.verifier.step.widen import widen_loop
from anybpf.verifier.walk import DONE, JUMPED, Walk


class Wanted(NamedTuple):
    """What a number must lie in, both ends included; with `half` its low 32 bits, as signed."""

    low: int
    high: int
    half: bool = False
    #: what is said besides where it does not
    note: str = ""


_FOR_LSM = (uapi.BPF_LSM_MAC, uapi.BPF_LSM_CGROUP)
#: of programs in cgroups, at hooks that give nothing
NO_RESULT = Wanted(1, 1, note="\nNote, BPF_LSM_CGROUP that attach to void LSM hooks can't modify "
                              "return value!")


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
    held = [r for r in state.refs if r.type == REF_PTR and not (
        r.id == env.regs[0].ref and not thrown and _may_return(env))] if outermost else []
    if held:
        lines = [f"Unreleased reference id={r.id} alloc_insn={r.insn}" for r in held]
        raise env.reject(EINVAL, "\n".join((*lines, f"{where} would lead to reference leak")))
    sections = ((state.irq_id, "bpf_local_irq_save"), (state.rcu_locks, "bpf_rcu_read_lock"),
                (state.preempt_locks, "bpf_preempt_disable"))
    for entered, name in sections if locks_count else ():
        if entered:
            raise _inside(env, where, name)


def _may_return(env: Env) -> bool:
    """Programs in the place of kernel functions may give back what they hold."""
    return env.facts.type == uapi.BPF_PROG_TYPE_STRUCT_OPS


def _inside(env: Env, where: str, section: str) -> Exception:
    return env.reject(EINVAL, f"{where} cannot be used inside {section}-ed region")


def check_return(env: Env, regno: int = 0) -> None:
    """What is given back is a number in the range of the program type (check_return_code)."""
    frame = env.state.frames[0]
    if _gives_nothing(env, frame) or _gives_object(env, frame, regno):
        return
    reg = regs.read(env, regno)
    if frame.in_async_callback:
        _check_result(env, regno, Wanted(*frame.callback_returns), "async callback return")
        return
    if frame.subprog and frame.subprog != env.exception_callback:
        if reg.kind != kinds.SCALAR_VALUE:
            raise env.reject(EINVAL, f"At subprogram exit the register R{regno} is not a scalar "
                                     f"value ({regtype.text(reg.kind)})")
        return
    wanted = _wanted(env)
    if wanted is not None:
        _check_result(env, regno, wanted, "program exit")


def _gives_nothing(env: Env, frame: Frame) -> bool:
    """The program's result goes to a hook without one, so that r0 need not be set."""
    main, target = frame.subprog in (0, env.exception_callback), env.target
    by_hook = env.prog_type == uapi.BPF_PROG_TYPE_STRUCT_OPS or (
        env.prog_type == uapi.BPF_PROG_TYPE_LSM and env.facts.attach_type != uapi.BPF_LSM_CGROUP)
    return (main and by_hook and target is not None and target.proto is not None
            and target.proto.type == 0)


def _gives_object(env: Env, frame: Frame, regno: int) -> bool:
    """An object of the kernel's that the program holds, to which its function returns a pointer."""
    reg, struct = env.regs[regno], _returned_struct(env, frame)
    if not struct or not reg.ref or env.target is None:
        return False
    if reg.btf is not env.target.btf or reg.btf_id != struct:
        return False
    ctx.check_unmoved(env, reg, regno)
    return True


def _returned_struct(env: Env, frame: Frame) -> int:
    """The struct to which what the kernel's function returns points, in its types; or 0."""
    target = env.target
    if frame.subprog or not _may_return(env) or target is None or target.proto is None:
        return 0
    found = target.btf.type(target.btf.resolve(target.proto.type))
    return target.btf.resolve(found.type) if isinstance(found, t.Ptr) else 0


def _wanted(env: Env) -> Wanted | None:
    """What the program may give; None: anything."""
    kind, where, target = env.prog_type, env.facts.attach_type, env.target
    if _returned_struct(env, env.state.frames[0]):
        return Wanted(0, 0)
    if env.extends is not None and kind == uapi.BPF_PROG_TYPE_RAW_TRACEPOINT:
        # one that attaches by BTF, which otherwise only tracing programs do
        return Wanted(0, 0)
    if kind == uapi.BPF_PROG_TYPE_TRACING and where in _FOR_LSM:
        raise Reject(ENOTSUPP, "", end="")
    if kind != uapi.BPF_PROG_TYPE_LSM or target is None:
        row = env.prog.returned(where)
        return None if row is None else Wanted(row.low, row.high)
    if where == uapi.BPF_LSM_CGROUP:
        return Wanted(0, 1) if target.results is not None else NO_RESULT
    if where != uapi.BPF_LSM_MAC or target.results is None:
        return None
    return Wanted(*target.results, half=True)


def _check_result(env: Env, regno: int, wanted: Wanted, where: str) -> None:
    reg = env.regs[regno]
    if reg.kind != kinds.SCALAR_VALUE:
        raise env.reject(EINVAL, f"At {where} the register R{regno} is not a known value "
                                 f"({regtype.text(reg.kind)})")
    backtrack.mark(env, regno)
    _check_range(env, reg, wanted, where, f"R{regno}")


def _check_range(env: Env, reg: Reg, wanted: Wanted, where: str, name: str) -> None:
    """The number is one that a program or callback may give (retval_range_within)."""
    low, high = bits.s32(wanted.low & uapi.U32), bits.s32(wanted.high & uapi.U32)
    least, most = (reg.s32min, reg.s32max) if wanted.half else (reg.smin, reg.smax)
    if least < low or most > high:
        raise env.reject(EINVAL, _bad_return(where, name, reg, low, high) + wanted.note)


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
    _check_range(env, returned, Wanted(*callee.callback_returns), "callback return", "R0")


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
