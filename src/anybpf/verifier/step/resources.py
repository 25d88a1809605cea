"""What is acquired and must be given back (acquire_reference, kernel/bpf/verifier.c)."""

from __future__ import annotations

from anybpf.verifier.env import Env
from anybpf.verifier.state import REF_PTR, Ref, State, mark_unknown
from anybpf.verifier.step import regs


def acquire(env: Env, kind: int = REF_PTR) -> int:
    """A new reference of the current instruction; gives its id."""
    identity = env.new_id()
    env.state.refs.append(Ref(identity, env.idx, kind))
    return identity


def is_held(state: State, identity: int) -> bool:
    """Something of this id was acquired and not given back."""
    return any(ref.id == identity for ref in state.refs)


def drop(state: State, identity: int) -> None:
    """It need not be given back any more; what registers hold stays as it is."""
    state.refs = [ref for ref in state.refs if ref.id != identity]


def release(env: Env, identity: int) -> None:
    """It was given back: nothing may use it any more."""
    drop(env.state, identity)
    for reg in regs.every(env.state):
        if reg.ref == identity:
            mark_unknown(reg)
