"""The stack: spills, fills, and what every byte holds (check_stack_read, check_stack_write).

Both are from kernel/bpf/verifier.c. Offsets are from the frame pointer, below 0; byte `off` is
`types[(-off - 1) % 8]` of slot `(-off - 1) // 8`.
"""

from __future__ import annotations

from errno import EACCES, EINVAL

from anybpf import uapi
from anybpf.bits import s32
from anybpf.proto import kinds
from anybpf.verifier import backtrack, fastcall, log, regtype
from anybpf.verifier.consts import (
    DYNPTR,
    INVALID,
    MAX_OFFSET,
    MAX_STACK,
    MISC,
    SLOT_BYTES,
    SPILL,
    ZERO,
)
from anybpf.verifier.env import Env
from anybpf.verifier.region import dynptrs
from anybpf.verifier.region.access import Access
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import Frame, Reg, Slot, copy_reg, mark_known_scalar, mark_unknown
from anybpf.verifier.step import regs
from anybpf.verifier.walk import Walk


def frame_of(env: Env, reg: Reg) -> Frame:
    """The frame that a stack pointer points into."""
    return env.state.frames[reg.frameno]


def _bit(number: int) -> int:
    """The mask of a slot."""
    one = 1
    return one << number


def access(what: Access) -> None:
    """A load or store."""
    check_bounds(what.env, what.reg, what.regno, what.off, what.size, what.write)
    if what.write:
        if what.reg.vm:
            _write_variable(what)
        else:
            _write_fixed(what, what.off + what.reg.smin)
    elif what.reg.vm:
        _read_variable(what)
    else:
        _read_fixed(what, what.off + what.reg.smin)


def check_bounds(env: Env, reg: Reg, regno: int, off: int, size: int, write: bool) -> None:
    """Inside the 512 bytes; makes room (check_stack_access_within_bounds)."""
    if reg.vm and not (reg.smax < MAX_OFFSET and reg.smin > -MAX_OFFSET):
        word = " write to" if write else " read from"
        raise env.reject(EACCES, f"invalid unbounded variable-offset{word} stack R{regno}")
    low = reg.smin + off
    high = (reg.smin if not reg.vm else reg.smax) + off + size
    if low < -MAX_STACK or low > -1:
        raise _out_of_bounds(env, EACCES, reg, regno, off, size, write)
    if high > 0:
        raise _out_of_bounds(env, EINVAL, reg, regno, off, size, write)
    frame = frame_of(env, reg)
    frame.grow(-low)
    subprog = env.subprogs[frame.subprog]
    depth = (-low + SLOT_BYTES - 1) // SLOT_BYTES * SLOT_BYTES
    if depth > subprog.stack_depth:
        subprog.stack_depth = depth


def _out_of_bounds(env: Env, errno: int, reg: Reg, regno: int, off: int, size: int,
                   write: bool) -> Reject:
    word = " write to" if write else " read from"
    # the kernel counts in an int, and a type's size may be more
    size = s32(size)
    if not reg.vm:
        return env.reject(errno, f"invalid{word} stack R{regno} off={reg.smin + off} size={size}")
    bits = log.offset_text(reg.vv, reg.vm)
    return env.reject(errno, f"invalid variable-offset{word} stack R{regno} var_off={bits} "
                             f"off={off} size={size}")


# -- writing


def _write_fixed(what: Access, off: int) -> None:
    env, size = what.env, what.size
    frame = frame_of(env, what.reg)
    number = (-off - 1) // SLOT_BYTES
    slot = frame.stack[number]
    env.log.scratched_stack |= _bit(number)
    fastcall.check_contract(env, frame, off)
    if size == SLOT_BYTES:
        what.walk.live.write(frame.frameno, _bit(number))
    _destroy(what.walk, frame, number)
    if _spill(what, frame, slot, off):
        backtrack.push_stack(env, frame.frameno, number)
        return
    _write_data(what, slot, off)


def _destroy(walk: Walk, frame: Frame, number: int) -> None:
    """What is written over is no dynptr any more."""
    slot = frame.stack[number]
    if slot.kind(0) == DYNPTR:
        dynptrs.destroy(walk, frame, number)


def _spill(what: Access, frame: Frame, slot: Slot, off: int) -> bool:
    """Keep the register in the slot, if that is possible."""
    env, size = what.env, what.size
    whole = off % SLOT_BYTES == 0
    if what.value < 0:
        if not whole:
            return False
        mark_known_scalar(env.scratch, what.insn.imm & uapi.U64)
        save(slot, env.scratch, size)
        return True
    reg = env.reg(what.value)
    if reg.kind == kinds.SCALAR_VALUE:
        if not whole:
            return False
        fits = regs.width(reg) <= 8 * size
        if fits:
            regs.assign_id(env, reg)
        save(slot, reg, size)
        if not fits:
            slot.reg.id = 0
        return True
    return _spill_pointer(what, frame, slot, reg)


def _spill_pointer(what: Access, frame: Frame, slot: Slot, reg: Reg) -> bool:
    env = what.env
    if reg.kind & kinds.KIND_MASK not in regtype.SPILLABLE:
        return False
    if what.size != SLOT_BYTES:
        env.write_line(env.idx, "; ")
        raise env.reject(EACCES, "invalid size of register spill")
    if frame is not env.state.innermost() and reg.kind == kinds.PTR_TO_STACK:
        raise env.reject(EINVAL,
                         "cannot spill pointers to stack into stack frame of the caller")
    save(slot, reg, what.size)
    return True


def save(slot: Slot, reg: Reg, size: int) -> None:
    """The last `size` bytes of the slot are the register's (save_register_state)."""
    copy_reg(slot.reg, reg)
    slot.put_many(SLOT_BYTES - size, size, SPILL)
    for i in range(SLOT_BYTES - size):
        if slot.kind(i) not in (ZERO, INVALID):
            slot.put(i, MISC)


def _first_byte(off: int, size: int) -> int:
    """The lowest number of `size` bytes at `off` of the frame, all in one slot."""
    return (-off - 1) % SLOT_BYTES - (size - 1)


def _writes_zero(what: Access) -> bool:
    if what.value < 0:
        return what.insn.imm == 0
    return regs.is_zero(what.env.reg(what.value))


def _write_data(what: Access, slot: Slot, off: int) -> None:
    """Bytes that are no spill."""
    if slot.special():
        slot.scrub_all()
    slot.reg.kind = kinds.NOT_INIT
    kind = MISC
    if _writes_zero(what):
        if what.value >= 0:
            backtrack.mark(what.env, what.value)
        kind = ZERO
    slot.put_many(_first_byte(off, what.size), what.size, kind)


def _write_variable(what: Access) -> None:
    """Any byte between the two ends may be written."""
    env, reg = what.env, what.reg
    frame, zero, zero_kept = frame_of(env, reg), _writes_zero(what), False
    fastcall.check_contract(env, frame, reg.smin + what.off)
    for off in range(reg.smin + what.off, reg.smax + what.off + what.size):
        _destroy(what.walk, frame, (-off - 1) // SLOT_BYTES)
    for off in range(reg.smin + what.off, reg.smax + what.off + what.size):
        number, byte = divmod(-off - 1, SLOT_BYTES)
        slot = frame.stack[number]
        env.log.scratched_stack |= _bit(number)
        if zero and slot.kind(byte) == SPILL and slot.scalar_spilled() and not slot.reg.vm \
                and not slot.reg.vv:
            zero_kept = True
            continue
        zero_byte = slot.kind(byte) == ZERO
        if slot.spilled():
            slot.scrub_all()
        slot.reg.kind = kinds.NOT_INIT
        kind = MISC
        if zero and zero_byte:
            kind, zero_kept = ZERO, True
        slot.put(byte, kind)
    if zero_kept and what.value >= 0:
        backtrack.mark(env, what.value)


# -- reading


def _read_fixed(what: Access, off: int) -> None:
    env = what.env
    frame = frame_of(env, what.reg)
    number = (-off - 1) // SLOT_BYTES
    slot = frame.stack[number]
    env.log.scratched_stack |= _bit(number)
    # of the function that reads, whosever slot it is
    fastcall.check_contract(env, env.state.innermost(), off)
    what.walk.live.read(frame.frameno, env.idx, _bit(number))
    if slot.spilled():
        restored = _fill(what, slot, off)
    else:
        _check_bytes(env, slot, off, what.size, spills=False)
        _loaded_data(what, slot.all_are(_first_byte(off, what.size), what.size, ZERO))
        restored = False
    if restored:
        backtrack.push_stack(env, frame.frameno, number)


def _spill_size(slot: Slot) -> int:
    size = 1
    while size < SLOT_BYTES and slot.kind(SLOT_BYTES - 1 - size) == SPILL:
        size += 1
    return size


def _fill(what: Access, slot: Slot, off: int) -> bool:
    """Load of a spilled register; True if the loaded register is what was spilled."""
    env, size, into = what.env, what.size, what.loads
    spilled = _spill_size(slot)
    if size == SLOT_BYTES and spilled == SLOT_BYTES:
        if into is not None:
            copy_reg(into, slot.reg)
        return True
    if slot.reg.kind != kinds.SCALAR_VALUE:
        env.write_line(env.idx, "; ")
        raise env.reject(EACCES, "invalid size of register fill")
    if into is None:
        return False
    if size <= spilled and off % SLOT_BYTES == 0:
        copy_reg(into, slot.reg)
        if regs.width(slot.reg) > size * 8:
            into.id = 0
        return True
    return _fill_part(what, slot, off, into)


def _fill_part(what: Access, slot: Slot, off: int, into: Reg) -> bool:
    _check_bytes(what.env, slot, off, what.size, spills=True)
    first = _first_byte(off, what.size)
    if slot.all_are(first, what.size, SPILL) and not slot.reg.vm and not slot.reg.vv:
        mark_known_scalar(into, 0)
        return True
    _loaded_data(what, slot.all_are(first, what.size, ZERO))
    return False


def _check_bytes(env: Env, slot: Slot, off: int, size: int, spills: bool) -> None:
    """Every byte was written, or may be read as it is (by the privileged)."""
    for i in range(size):
        kind = slot.kind((-off - 1 - i) % SLOT_BYTES)
        if kind != MISC and kind != ZERO and kind != INVALID and not (spills and kind == SPILL):
            raise env.reject(EACCES, f"invalid read from stack off {off}+{i} size {size}")


def _loaded_data(what: Access, zero: bool) -> None:
    """The register becomes 0, or anything."""
    if what.loads is None:
        return
    if zero:
        mark_known_scalar(what.loads, 0)
    else:
        mark_unknown(what.loads)


def _read_variable(what: Access) -> None:
    env, reg = what.env, what.reg
    if what.value < 0:
        bits = log.offset_text(reg.vv, reg.vm)
        raise env.reject(EACCES, "variable offset stack pointer cannot be passed into helper "
                                 f"function; var_off={bits} off={what.off} size={what.size}")
    check_initialized(what.walk, reg, what.regno, what.off, what.size, False, write=False)
    frame = frame_of(env, reg)
    fastcall.check_contract(env, frame, reg.smin + what.off)
    zero = True
    for off in range(reg.smin + what.off, reg.smax + what.off + what.size):
        number, byte = divmod(-off - 1, SLOT_BYTES)
        env.log.scratched_stack |= _bit(number)
        if frame.stack[number].kind(byte) != ZERO:
            zero = False
            break
    _loaded_data(what, zero)


def check_initialized(walk: Walk, reg: Reg, regno: int, off: int, size: int, zero_ok: bool,
                      write: bool, raw: bool = False) -> bool:
    """Memory for a helper (check_stack_range_initialized); True if it need not be initialized."""
    env = walk.env
    if size == 0 and not zero_ok:
        raise env.reject(EACCES, "invalid zero-sized read")
    check_bounds(env, reg, regno, off, size, write)
    frame = frame_of(env, reg)
    low = reg.smin + off
    high = (reg.smax if reg.vm else reg.smin) + off + size
    if raw and not reg.vm:
        _check_no_dynptr(env, frame, low, high)
        return True
    for at in range(low, high):
        number, byte = divmod(-at - 1, SLOT_BYTES)
        if not _check_byte(frame.stack[number], byte, write):
            bits = f"off {low}" if not reg.vm else "var_off " + log.tnum_text(reg.vv, reg.vm)
            raise env.reject(EACCES, f"invalid read from stack R{regno} {bits}+{at - low} "
                                     f"size {size}")
        walk.live.read(frame.frameno, env.idx, _bit(number))
    return False


def _check_no_dynptr(env: Env, frame: Frame, low: int, high: int) -> None:
    for at in range(low, high):
        number, byte = divmod(-at - 1, SLOT_BYTES)
        if number < len(frame.stack) and frame.stack[number].kind(byte) == DYNPTR:
            raise env.reject(EACCES, f"potential write to dynptr at off={at} disallowed")


def _check_byte(slot: Slot, byte: int, write: bool) -> bool:
    """Whether the byte is plain data."""
    kind = slot.kind(byte)
    if kind in (ZERO, INVALID):
        if write:
            slot.put(byte, MISC)
        return True
    if slot.spilled():
        if write:
            mark_unknown(slot.reg)
            slot.scrub_all()
        return True
    return kind == MISC


def forget_bytes(walk: Walk, regno: int, size: int) -> None:
    """A helper wrote `size` bytes where the register points to: unknown from here on."""
    reg = walk.env.reg(regno)
    for i in range(size):
        check_bounds(walk.env, reg, regno, reg.off + i, 1, True)
        overwrite(walk, reg, reg.off + i + reg.smin, 1)


def overwrite(walk: Walk, reg: Reg, off: int, size: int) -> None:
    """`size` bytes at `off` inside one slot become unknown, as by a store without register."""
    env = walk.env
    frame = frame_of(env, reg)
    number = (-off - 1) // SLOT_BYTES
    slot = frame.stack[number]
    env.log.scratched_stack |= _bit(number)
    fastcall.check_contract(env, frame, off)
    if size == SLOT_BYTES:
        walk.live.write(frame.frameno, _bit(number))
    _destroy(walk, frame, number)
    if slot.special():
        slot.scrub_all()
    slot.reg.kind = kinds.NOT_INIT
    slot.put_many(_first_byte(off, size), size, MISC)
