"""Numbers that change in a loop and decide nothing (widen_imprecise_scalars, verifier.c).

When a loop comes round, such numbers are taken to be anything, so that the next round looks like
this one and the walk ends.
"""

from __future__ import annotations

from anybpf.proto import kinds
from anybpf.verifier import consts
from anybpf.verifier.env import Env
from anybpf.verifier.equal import Ids, reg_safe
from anybpf.verifier.state import FP, Reg, State, mark_unknown
from anybpf.verifier.states import same_calls


def previous_entry(state: State, idx: int) -> State | None:
    """The last remembered state of this path at `idx`, in the same function."""
    at = state.parent
    while at is not None:
        if at.insn_idx == idx and same_calls(at, state):
            return at
        at = at.parent
    return None


def widen_loop(env: Env, state: State, since: State) -> None:
    """Widen what differs from the last round's state before `since`."""
    before = previous_entry(since, env.idx)
    if before is None:
        return
    ids = Ids(env.ids)
    for old, cur in zip(before.frames, state.frames, strict=True):
        for i in range(FP):
            _widen(old.regs[i], cur.regs[i], ids)
        for a, b in zip(old.stack, cur.stack, strict=False):
            if a.spilled() and b.spilled():
                _widen(a.reg, b.reg, ids)


def _widen(old: Reg, cur: Reg, ids: Ids) -> None:
    if kinds.SCALAR_VALUE not in (old.kind, cur.kind) or old.kind != cur.kind:
        return
    if old.precise or cur.precise:
        return
    if not reg_safe(old, cur, ids, consts.EXACT):
        mark_unknown(cur)
