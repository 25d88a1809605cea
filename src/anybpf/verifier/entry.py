"""The state that a program starts in (do_check_common, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.proto import kinds
from anybpf.verifier import subprogs
from anybpf.verifier.env import Env
from anybpf.verifier.facts import FuncArg
from anybpf.verifier.region import dynptrs
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import (
    FP,
    MAIN,
    REF_PTR,
    Frame,
    Ref,
    Reg,
    State,
    mark_known,
    mark_pointer,
    mark_unknown,
)


def main_state(env: Env) -> State:
    """r1 is the context, r10 the frame pointer; types that say something else are not believed.

    An extension takes what the function takes that it replaces.
    """
    main = env.subprogs[0]
    if env.extends is not None:
        return function_state(env, 0)
    if main.type_id:
        try:
            main.unreliable = [arg.kind for arg in subprogs.arguments(env, 0)] != ["ctx"]
        except Reject as reject:
            main.unreliable = True
            env.log.say(reject.text)
    state = State()
    state.branches = 1
    state.sleepable = env.facts.sleepable
    frame = new_frame(MAIN, 0, 0)
    mark_pointer(frame.regs[1], kinds.PTR_TO_CTX)
    state.frames.append(frame)
    _acquire_arguments(env, state)
    return state


def _acquire_arguments(env: Env, state: State) -> None:
    """Arguments that the program must give back are its from the start."""
    for number in env.target.held if env.target is not None else ():
        env.arg_refs[number] = env.new_id()
        state.refs.append(Ref(env.arg_refs[number], 0, REF_PTR))


def function_state(env: Env, number: int) -> State:
    """The state in which a global function starts: any arguments that fit its prototype."""
    state = State()
    state.branches = 1
    state.sleepable = env.facts.sleepable
    state.first_insn_idx = env.subprogs[number].start
    state.first_insn_idx = env.subprogs[number].start
    frame = new_frame(MAIN, 0, number)
    taken = subprogs.arguments(env, number)
    if number and number == env.exception_callback and [arg.kind for arg in taken] != ["scalar"]:
        raise env.reject(EINVAL, "exception cb only supports single integer argument")
    for i, arg in enumerate(taken, 1):
        _argument(env, frame.regs[i], arg)
    state.frames.append(frame)
    return state


def _argument(env: Env, reg: Reg, arg: FuncArg) -> None:
    if arg.kind == "ctx":
        mark_pointer(reg, kinds.PTR_TO_CTX)
    elif arg.kind == "mem":
        mark_pointer(reg, kinds.PTR_TO_MEM | (kinds.PTR_MAYBE_NULL if arg.nullable else 0))
        reg.mem_size = arg.size
        reg.id = env.new_id() if arg.nullable else 0
    elif arg.kind == "dynptr":
        dynptrs.mark(reg, dynptrs.LOCAL, True, env.new_id())
    elif arg.kind == "untrusted":
        mark_pointer(reg, kinds.PTR_TO_MEM | kinds.MEM_RDONLY | kinds.PTR_UNTRUSTED)
    elif arg.type_id:
        _typed(env, reg, arg)
    else:
        mark_unknown(reg)


def _typed(env: Env, reg: Reg, arg: FuncArg) -> None:
    trusted = arg.kind == "trusted_btf"
    flags = kinds.PTR_TRUSTED if trusted else kinds.PTR_UNTRUSTED
    if trusted and arg.nullable:
        flags |= kinds.PTR_MAYBE_NULL
    mark_pointer(reg, kinds.PTR_TO_BTF_ID | flags)
    reg.btf, reg.btf_id, reg.id = env.facts.kernel_btf, arg.type_id, env.new_id()


def new_frame(callsite: int, frameno: int, subprog: int) -> Frame:
    """A frame whose registers hold nothing but the frame pointer."""
    frame = Frame(callsite, frameno, subprog)
    fp = frame.regs[FP]
    mark_known(fp, 0)
    fp.kind, fp.frameno = kinds.PTR_TO_STACK, frameno
    return frame
