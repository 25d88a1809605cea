"""Dynptrs as arguments of helpers and kernel functions (process_dynptr_func, verifier.c)."""

from __future__ import annotations

from errno import EINVAL, ERANGE

from anybpf.proto import kinds
from anybpf.verifier.env import Env
from anybpf.verifier.region import dynptrs, slots
from anybpf.verifier.region.dynptrs import SLOTS
from anybpf.verifier.state import DYNPTR, SLOT_BYTES, Reg
from anybpf.verifier.step import resources
from anybpf.verifier.walk import Walk


def find(env: Env, reg: Reg) -> slots.Place:
    """Where the dynptr is that `reg` points to."""
    return slots.find(env, reg, "dynptr", SLOTS)


def check_pointer(env: Env, reg: Reg, number: int) -> None:
    """`reg` may point to a dynptr at all."""
    if reg.kind not in (kinds.PTR_TO_STACK, kinds.CONST_PTR_TO_DYNPTR):
        raise env.reject(EINVAL, f"arg#{number} expected pointer to stack or const struct "
                                 "bpf_dynptr")


def make(walk: Walk, reg: Reg, regno: int, word: int, clone: int = 0) -> None:
    """A new dynptr where `reg` points to; `clone` is the reference that it shares."""
    env = walk.env
    place = find(env, reg) if reg.kind == kinds.PTR_TO_STACK else None
    if place is None or place.errno not in (0, ERANGE):
        text = place.text if place is not None else ""
        raise env.reject(EINVAL, f"{text}Dynptr has to be an uninitialized dynptr")
    slots.reserve(walk, reg, regno, SLOTS)
    place = find(env, reg)
    dynptrs.destroy(walk, place.frame, place.number)
    dynptrs.destroy(walk, place.frame, place.number - 1)
    identity = env.new_id()
    for index in range(SLOTS):
        slot = place.slot(index)
        slot.fill(DYNPTR)
        dynptrs.mark(slot.reg, word, index == 0, identity)
    if word == dynptrs.RINGBUF:
        ref = clone or resources.acquire(env)
        place.slot(0).reg.ref = place.slot(1).reg.ref = ref
    walk.live.write(place.frame.frameno, 0b11 << (place.number - 1))


def use(walk: Walk, reg: Reg, number: int, word: int, constant: bool) -> Reg:
    """A dynptr that is there, of type `word` (0: any); gives what is kept of it."""
    env = walk.env
    if reg.kind == kinds.CONST_PTR_TO_DYNPTR:
        if not constant:
            raise env.reject(EINVAL,
                             "cannot pass pointer to const bpf_dynptr, the helper mutates it")
        held = reg
    else:
        held = _held(env, reg, number)
    if word and held.slot_state != word:
        raise env.reject(EINVAL, f"Expected a dynptr of type {dynptrs.NAMES[word]} as arg "
                                 f"#{number}")
    if reg.kind == kinds.PTR_TO_STACK:
        slots.note_read(walk, find(env, reg), SLOTS)
    return held


def _held(env: Env, reg: Reg, number: int) -> Reg:
    place = find(env, reg)
    good = (not place.errno and place.slot().reg.slot_depth
            and all(place.slot(i).all_are(0, SLOT_BYTES, DYNPTR) for i in range(SLOTS)))
    if not good:
        raise env.reject(EINVAL, f"{place.text}Expected an initialized dynptr as arg #{number}")
    return place.slot().reg


def check_owned(env: Env, reg: Reg, regno: int) -> None:
    """Only a dynptr that holds a reference can be given back."""
    if reg.kind != kinds.PTR_TO_STACK:
        raise env.reject(EINVAL, "cannot release unowned const bpf_dynptr")
    place = find(env, reg)
    if place.errno or not place.slot().reg.ref:
        raise env.reject(EINVAL, f"{place.text}arg {regno} is an unacquired reference")


def release(walk: Walk, reg: Reg) -> None:
    """The dynptr and all its clones and slices are gone (unmark_stack_slots_dynptr)."""
    env = walk.env
    place = find(env, reg)
    held = place.slot().reg
    if held.slot_state != dynptrs.RINGBUF:
        dynptrs.invalidate(walk, place.frame, place.number)
        return
    ref = held.ref
    resources.release(env, ref)
    for number, slot in enumerate(place.frame.stack):
        if slot.all_are(0, SLOT_BYTES, DYNPTR) and slot.reg.ref == ref and slot.reg.slot_depth:
            dynptrs.invalidate(walk, place.frame, number)
