"""The state that a program starts in (do_check_common, kernel/bpf/verifier.c)."""

from __future__ import annotations

from anybpf.proto import kinds
from anybpf.verifier.env import Env
from anybpf.verifier.state import FP, MAIN, Frame, State, mark_known, mark_pointer


def main_state(env: Env) -> State:
    """r1 is the context, r10 the frame pointer."""
    state = State()
    state.branches = 1
    state.sleepable = env.facts.sleepable
    frame = new_frame(MAIN, 0, 0)
    mark_pointer(frame.regs[1], kinds.PTR_TO_CTX)
    state.frames.append(frame)
    return state


def new_frame(callsite: int, frameno: int, subprog: int) -> Frame:
    """A frame whose registers hold nothing but the frame pointer."""
    frame = Frame(callsite, frameno, subprog)
    fp = frame.regs[FP]
    mark_known(fp, 0)
    fp.kind, fp.frameno = kinds.PTR_TO_STACK, frameno
    return frame
