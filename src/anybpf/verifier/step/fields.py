"""Locks and timers in map values as arguments (process_spin_lock, check_map_field_pointer).

Both are from kernel/bpf/verifier.c.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf.btf.fields import LOCKS
from anybpf.btf.parse import Btf
from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK
from anybpf.verifier import records
from anybpf.verifier.env import Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.region import btf_ptr
from anybpf.verifier.region.map_value import map_of
from anybpf.verifier.state import (
    REF_LOCK,
    REF_RES_LOCK,
    REF_RES_LOCK_IRQ,
    Ref,
    Reg,
    State,
    mark_unknown,
)
from anybpf.verifier.step import regs

LOCK = "bpf_spin_lock"
RESILIENT = "bpf_res_spin_lock"


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


def _owner(env: Env, reg: Reg, regno: int, name: str) -> MapFacts | Btf:
    """What a lock belongs to: a map, or the types of an object of the program."""
    if reg.kind & KIND_MASK != kinds.PTR_TO_BTF_ID:
        return check_at(env, reg, regno, name)
    if reg.vm:
        raise env.reject(EINVAL, f"R{regno} doesn't have constant offset. {name} has to be at the "
                                 "constant offset")
    btf = btf_ptr.types_of(reg)
    found = records.find(btf, reg.btf_id, name, env.facts.kernel_btf)
    if found is None:
        raise env.reject(EINVAL, f"local 'kptr' has no valid {name}")
    at = reg.off + reg.vv
    if at != found.offset:
        raise env.reject(EINVAL, f"off {at} doesn't point to 'struct {name}' that is at "
                                 f"{found.offset}")
    return btf


def forget_not_owned(env: Env) -> None:
    """The lock was given back: what it guarded may go (invalidate_non_owning_refs)."""
    for reg in regs.every(env.state):
        if reg.kind & kinds.NON_OWN_REF:
            mark_unknown(reg)


def lock(env: Env, reg: Reg, regno: int) -> None:
    """bpf_spin_lock(): no other may be held."""
    owner = _owner(env, reg, regno, LOCK)
    if any(r.type == REF_LOCK for r in env.state.refs):
        raise env.reject(EINVAL, "Locking two bpf_spin_locks are not allowed")
    _take(env, reg, REF_LOCK, owner)


def lock_resilient(env: Env, reg: Reg, regno: int, kind: int) -> None:
    """bpf_res_spin_lock() and its kin: not the same one again."""
    owner = _owner(env, reg, regno, RESILIENT)
    if any(r.type in (REF_RES_LOCK, REF_RES_LOCK_IRQ) and r.id == reg.id and r.owner is owner
           for r in env.state.refs):
        raise env.reject(EINVAL, "Acquiring the same lock again, AA deadlock detected")
    _take(env, reg, kind, owner)


def _take(env: Env, reg: Reg, kind: int, owner: MapFacts | Btf) -> None:
    state = env.state
    state.refs.append(Ref(reg.id, env.idx, kind, owner))
    state.locks += 1
    state.lock_id, state.lock_owner = reg.id, owner


def unlock(env: Env, reg: Reg, regno: int) -> None:
    """bpf_spin_unlock(): of the lock that was taken last."""
    give_back(env, reg, regno, LOCK, REF_LOCK)


def give_back(env: Env, reg: Reg, regno: int, name: str, kind: int) -> None:
    """A lock of this kind is given back; it must be the one that was taken last."""
    owner, word = _owner(env, reg, regno, name), name.removesuffix("_lock")
    state = env.state
    if not state.locks:
        raise env.reject(EINVAL, f"{word}_unlock without taking a lock")
    if not any(_is(r, kind, reg.id, owner) for r in state.refs):
        raise env.reject(EINVAL, f"{word}_unlock of different lock")
    if reg.id != state.lock_id or owner is not state.lock_owner:
        raise env.reject(EINVAL, f"{word}_unlock cannot be out of order")
    _forget(state, kind, reg.id, owner)
    forget_not_owned(env)


def _is(ref: Ref, kind: int, identity: int, owner: object) -> bool:
    return ref.type == kind and ref.id == identity and ref.owner is owner


def _forget(state: State, kind: int, identity: int, owner: object) -> None:
    at = next(i for i, r in enumerate(state.refs) if _is(r, kind, identity, owner))
    state.refs = state.refs[:at] + state.refs[at + 1:]
    state.locks -= 1
    before = next((r for r in reversed(state.refs) if r.type >= REF_LOCK), None)
    state.lock_id = before.id if before else 0
    state.lock_owner = before.owner if before else None


def may_hold_lock(reg: Reg) -> bool:
    """A value whose lock may be taken: its id must stay after the null check."""
    if reg.kind & KIND_MASK == kinds.PTR_TO_BTF_ID and reg.kind & kinds.MEM_ALLOC:
        special = records.fields_of(btf_ptr.types_of(reg), reg.btf_id)
        return any(one.special.name in LOCKS for one in special)
    return reg.kind == kinds.PTR_TO_MAP_VALUE and reg.map is not None and reg.map.has_lock
