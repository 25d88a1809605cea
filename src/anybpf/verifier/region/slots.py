"""Objects of the kernel on the stack: iterators, dynptrs, interrupt flags (kernel/bpf/verifier.c).

Such an object takes whole slots. Its first slot is the one with the lowest address, so the highest
number; `find` gives that number (stack_slot_obj_get_spi).
"""

from __future__ import annotations

from errno import EACCES, EINVAL, EPROTO, ERANGE
from typing import Final, NamedTuple

from anybpf.btf.parse import Btf
from anybpf.proto import kinds
from anybpf.verifier.env import Env
from anybpf.verifier.region import stack
from anybpf.verifier.state import (
    ACTIVE,
    INVALID,
    IRQ_FLAG,
    ITER,
    REF_IRQ,
    SLOT_BYTES,
    Frame,
    Reg,
    Slot,
    mark_not_init,
    mark_pointer,
)
from anybpf.verifier.step import mem, resources
from anybpf.verifier.walk import Walk

# `Reg.slot_state` of interrupt flags
NATIVE: Final = 0
LOCK: Final = 1
_FAMILY = {NATIVE: "native", LOCK: "lock"}


class Place(NamedTuple):
    """Where an object is: slot number in a frame; or why it is nowhere."""

    frame: Frame
    number: int
    errno: int = 0
    text: str = ""

    def slot(self, index: int = 0) -> Slot:
        """The object's slot `index`, from its lowest address."""
        found: Slot = self.frame.stack[self.number - index]
        return found


def find(env: Env, reg: Reg, what: str, count: int) -> Place:
    """The slots of an object of `count` slots that `reg` points to."""
    frame = stack.frame_of(env, reg)
    if reg.vm:
        return Place(frame, -1, EINVAL, f"{what} has to be at a constant offset\n")
    off = reg.off + reg.smin
    # as C divides: the byte at the frame pointer counts to the first slot
    number = (-off - 1) // SLOT_BYTES if off < 0 else -((off + 1) // SLOT_BYTES)
    if off % SLOT_BYTES or number + 1 < count:
        return Place(frame, -1, EINVAL, f"cannot pass in {what} at an offset={off}\n")
    if number >= len(frame.stack):
        return Place(frame, -1, ERANGE)
    return Place(frame, number)


def reserve(walk: Walk, reg: Reg, regno: int, count: int) -> None:
    """The object's slots are written to, as by stores of 8 bytes."""
    env = walk.env
    for off in range(0, SLOT_BYTES * count, SLOT_BYTES):
        mem.check_alignment(env, reg, off, SLOT_BYTES, False)
        stack.check_bounds(env, reg, regno, reg.off + off, SLOT_BYTES, True)
        stack.overwrite(walk, reg, reg.off + off + reg.smin, SLOT_BYTES)


def _take(walk: Walk, place: Place, index: int, kind: int) -> Reg:
    """Slot `index` now belongs to an object."""
    slot = place.slot(index)
    slot.fill(kind)
    mark_pointer(slot.reg, kinds.PTR_TO_STACK)
    _touch(walk, place, index)
    return slot.reg


def _free(walk: Walk, place: Place, index: int) -> None:
    """Slot `index` belongs to nothing any more."""
    slot = place.slot(index)
    mark_not_init(slot.reg)
    slot.fill(INVALID)
    _touch(walk, place, index)


def _touch(walk: Walk, place: Place, index: int) -> None:
    number = place.number - index
    walk.env.log.scratched_stack |= 1 << number
    walk.live.write(place.frame.frameno, 1 << number)


def note_read(walk: Walk, place: Place, count: int) -> None:
    """The object is looked at."""
    for number in range(place.number - count + 1, place.number + 1):
        walk.env.log.scratched_stack |= 1 << number
        walk.live.read(place.frame.frameno, walk.env.idx, 1 << number)


# -- iterators


class IterType(NamedTuple):
    """The struct of an iterator."""

    btf: Btf
    id: int
    slots: int

    @property
    def name(self) -> str:
        return iter_name(self.btf, self.id)


def iter_name(btf: Btf | None, type_id: int) -> str:
    """`num` for `struct bpf_iter_num`."""
    return btf.type(type_id).name.removeprefix("bpf_iter_") if btf is not None else "<invalid>"


def check_new_iter(env: Env, reg: Reg, number: int, kind: IterType) -> None:
    """There is no iterator yet where `reg` points to."""
    place = find(env, reg, "iter", kind.slots)
    bad = place.errno not in (0, ERANGE) or (not place.errno and any(
        ITER in place.slot(i).each() for i in range(kind.slots)))
    if bad:
        raise env.reject(EINVAL, f"{place.text}expected uninitialized iter_{kind.name} as arg "
                                 f"#{number}")


def make_iter(walk: Walk, reg: Reg, kind: IterType, flags: int) -> None:
    """The iterator begins (mark_stack_slots_iter)."""
    place = find(walk.env, reg, "iter", kind.slots)
    identity = resources.acquire(walk.env, 0)
    for i in range(kind.slots):
        held = _take(walk, place, i, ITER)
        held.kind |= flags
        held.ref = 0 if i else identity
        held.btf, held.btf_id = kind.btf, kind.id
        held.slot_state, held.slot_depth = ACTIVE, 0


def check_iter(env: Env, reg: Reg, number: int, kind: IterType, name: str) -> Place:
    """An iterator of this type is where `reg` points to (is_iter_reg_valid_init)."""
    place = find(env, reg, "iter", kind.slots)
    errno = place.errno and EINVAL
    for i in range(kind.slots if not errno else 0):
        errno = errno or _iter_slot_errno(place.slot(i), i, kind)
    if errno == EPROTO:
        raise env.reject(EPROTO, f"expected an RCU CS when using {name}")
    if errno:
        raise env.reject(EINVAL, f"{place.text}expected an initialized iter_{kind.name} as arg "
                                 f"#{number}")
    return place


def _iter_slot_errno(slot: Slot, index: int, kind: IterType) -> int:
    held = slot.reg
    if held.kind & kinds.PTR_UNTRUSTED:
        return EPROTO
    good = (bool(held.ref) == (index == 0) and held.btf is kind.btf and held.btf_id == kind.id
            and slot.all_are(0, SLOT_BYTES, ITER))
    return 0 if good else EINVAL


def end_iter(walk: Walk, place: Place, count: int) -> None:
    """The iterator was destroyed (unmark_stack_slots_iter)."""
    resources.release(walk.env, place.slot().reg.ref)
    for i in range(count):
        _free(walk, place, i)


# -- interrupt flags


def check_new_irq_flag(env: Env, reg: Reg, number: int) -> None:
    """No flag is saved yet where `reg` points to."""
    place = find(env, reg, "irq_flag", 1)
    if place.errno not in (0, ERANGE) or (not place.errno and IRQ_FLAG in place.slot().each()):
        raise env.reject(EINVAL, f"{place.text}expected uninitialized irq flag as arg#{number}")


def save_irq_flag(walk: Walk, reg: Reg, family: int) -> None:
    """Interrupts are off; the flag remembers how they were (mark_stack_slot_irq_flag)."""
    env = walk.env
    place = find(env, reg, "irq_flag", 1)
    identity = resources.acquire(env, REF_IRQ)
    env.state.irq_id = identity
    held = _take(walk, place, 0, IRQ_FLAG)
    held.ref, held.slot_state = identity, family


def restore_irq_flag(walk: Walk, reg: Reg, number: int, family: int) -> None:
    """Interrupts are as they were before (unmark_stack_slot_irq_flag)."""
    env = walk.env
    place = find(env, reg, "irq_flag", 1)
    if place.errno or not place.slot().reg.ref or not place.slot().all_are(
            0, SLOT_BYTES, IRQ_FLAG):
        raise env.reject(EINVAL, f"{place.text}expected an initialized irq flag as arg#{number}")
    note_read(walk, place, 1)
    held = place.slot().reg
    if held.slot_state != family:
        raise env.reject(EINVAL, f"irq flag acquired by {_FAMILY[held.slot_state]} kfuncs cannot "
                                 f"be restored with {_FAMILY[family]} kfuncs")
    _release_irq(env, held.ref)
    _free(walk, place, 0)


def _release_irq(env: Env, identity: int) -> None:
    """The innermost flag comes first (release_irq_state)."""
    state = env.state
    if state.irq_id != identity:
        at = next((r.insn for r in state.refs if r.id == state.irq_id), 0)
        raise env.reject(EACCES, "cannot restore irq state out of order, expected "
                                 f"id={state.irq_id} acquired at insn_idx={at}")
    resources.drop(state, identity)
    state.irq_id = next((r.id for r in reversed(state.refs) if r.type == REF_IRQ), 0)


# -- all of them


def iterators(env: Env) -> list[Reg]:
    """What is kept of iterators in all frames."""
    return [slot.reg for frame in env.state.frames for slot in frame.stack
            if slot.kind(7) == ITER]
