"""Locks and timers in map values as arguments (process_spin_lock, check_map_field_pointer).

Both are from kernel/bpf/verifier.c.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf.proto import kinds
from anybpf.verifier.env import Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.region.map_value import map_of
from anybpf.verifier.state import REF_LOCK, Ref, Reg, State

LOCK = "bpf_spin_lock"


def check_at(env: Env, reg: Reg, regno: int, name: str) -> MapFacts:
    """The register points to the `struct NAME` of its map's values."""
    found = map_of(reg)
    if reg.vm:
        raise env.reject(EINVAL, f"R{regno} doesn't have constant offset. {name} has to be at the "
                                 "constant offset")
    if not found.has_btf:
        raise env.reject(EINVAL, f"map '{found.name}' has to have BTF in order to use {name}")
    offset = found.offset_of(name)
    if offset < 0:
        raise env.reject(EINVAL, f"map '{found.name}' has no valid {name}")
    at = reg.off + reg.vv
    if at != offset:
        raise env.reject(EINVAL, f"off {at} doesn't point to 'struct {name}' that is at {offset}")
    return found


def lock(env: Env, reg: Reg, regno: int) -> None:
    """bpf_spin_lock(): no other may be held."""
    owner = check_at(env, reg, regno, LOCK)
    state = env.state
    if any(r.type == REF_LOCK for r in state.refs):
        raise env.reject(EINVAL, "Locking two bpf_spin_locks are not allowed")
    state.refs.append(Ref(reg.id, env.idx, REF_LOCK, owner))
    state.locks += 1
    state.lock_id, state.lock_owner = reg.id, owner


def unlock(env: Env, reg: Reg, regno: int) -> None:
    """bpf_spin_unlock(): of the lock that was taken last."""
    owner = check_at(env, reg, regno, LOCK)
    state = env.state
    if not state.locks:
        raise env.reject(EINVAL, "bpf_spin_unlock without taking a lock")
    if not any(_is(r, reg.id, owner) for r in state.refs):
        raise env.reject(EINVAL, "bpf_spin_unlock of different lock")
    if reg.id != state.lock_id or owner is not state.lock_owner:
        raise env.reject(EINVAL, "bpf_spin_unlock cannot be out of order")
    _forget(state, reg.id, owner)


def _is(ref: Ref, identity: int, owner: object) -> bool:
    return ref.type == REF_LOCK and ref.id == identity and ref.owner is owner


def _forget(state: State, identity: int, owner: object) -> None:
    state.refs = [r for r in state.refs if not _is(r, identity, owner)]
    state.locks -= 1
    before = next((r for r in reversed(state.refs) if r.type >= REF_LOCK), None)
    state.lock_id = before.id if before else 0
    state.lock_owner = before.owner if before else None


def may_hold_lock(reg: Reg) -> bool:
    """A value whose lock may be taken: its id must stay after the null check."""
    return reg.kind == kinds.PTR_TO_MAP_VALUE and reg.map is not None and reg.map.has_lock
