"""Dynptrs on the stack, and what becomes of their slices (kernel/bpf/verifier.c).

A dynptr takes two slots; the one with the lower address is its first.
"""

from __future__ import annotations

from errno import EINVAL
from typing import Final

from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK, PTR_MAYBE_NULL
from anybpf.verifier.state import (
    DYNPTR,
    INVALID,
    Frame,
    Reg,
    mark_not_init,
    mark_pointer,
    mark_unknown,
)
from anybpf.verifier.step import regs
from anybpf.verifier.walk import Walk

SLOTS: Final = 2

# `Reg.slot_state`: the type of a dynptr
LOCAL: Final = 1
RINGBUF: Final = 2
SKB: Final = 3
XDP: Final = 4
SKB_META: Final = 5
FLAGS = {
    LOCAL: kinds.DYNPTR_TYPE_LOCAL, RINGBUF: kinds.DYNPTR_TYPE_RINGBUF,
    SKB: kinds.DYNPTR_TYPE_SKB, XDP: kinds.DYNPTR_TYPE_XDP, SKB_META: kinds.DYNPTR_TYPE_SKB_META,
}
NAMES = {LOCAL: "local", RINGBUF: "ringbuf", SKB: "skb", XDP: "xdp", SKB_META: "skb_meta"}
#: slices of these go when the packet changes
PACKET_FLAGS = kinds.DYNPTR_TYPE_SKB | kinds.DYNPTR_TYPE_XDP | kinds.DYNPTR_TYPE_SKB_META


def of_flags(kind: int) -> int:
    """The type that an argument's flags name; 0: any."""
    return next((word for word, flag in FLAGS.items() if kind & flag), 0)


def mark(reg: Reg, word: int, first: bool, identity: int) -> None:
    """A register, or what is kept of a slot, is a dynptr (__mark_dynptr_reg)."""
    mark_pointer(reg, kinds.CONST_PTR_TO_DYNPTR)
    reg.id, reg.slot_state, reg.slot_depth = identity, word, int(first)


def is_packet_slice(reg: Reg) -> bool:
    """Memory of a packet that a dynptr gave."""
    return reg.kind & KIND_MASK == kinds.PTR_TO_MEM and bool(reg.kind & PACKET_FLAGS)


def destroy(walk: Walk, frame: Frame, number: int) -> None:
    """A store hits slot `number`: the dynptr in it is gone (destroy_if_dynptr_stack_slot)."""
    env = walk.env
    if frame.stack[number].kind(0) != DYNPTR:
        return
    if not frame.stack[number].reg.slot_depth:
        number += 1
    held = frame.stack[number].reg
    if held.slot_state == RINGBUF:
        raise env.reject(EINVAL, "cannot overwrite referenced dynptr")
    identity = held.id
    _clear(walk, frame, number)
    for reg in regs.every(env.state):
        if reg.kind & ~PTR_MAYBE_NULL == kinds.PTR_TO_MEM and reg.dynptr_id == identity:
            mark_unknown(reg)


def _clear(walk: Walk, frame: Frame, number: int) -> None:
    for index in (number, number - 1):
        slot = frame.stack[index]
        mark_not_init(slot.reg)
        slot.fill(INVALID)
        walk.env.log.scratched_stack |= 1 << index
    walk.live.write(frame.frameno, 0b11 << (number - 1))


def invalidate(walk: Walk, frame: Frame, number: int) -> None:
    """The dynptr was given back; the log does not say that its slots changed."""
    before = walk.env.log.scratched_stack
    _clear(walk, frame, number)
    walk.env.log.scratched_stack = before
