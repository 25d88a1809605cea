"""How registers, slots and states print."""

from __future__ import annotations

from anybpf.proto import kinds
from anybpf.verifier import ranges
from anybpf.verifier.entry import new_frame
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.log import Log, reg_text, slot_text, state_text
from anybpf.verifier.state import (
    ADD_CONST64,
    INVALID,
    MISC,
    SPILL,
    ZERO,
    Ref,
    Reg,
    Slot,
    State,
    mark_known_scalar,
    mark_pointer,
    mark_unknown,
)

FRAME = new_frame(-1, 0, 0)


def scalar(low: int, high: int) -> Reg:
    reg = Reg()
    mark_unknown(reg)
    reg.umin, reg.umax = low, high
    ranges.sync(reg)
    return reg


def test_numbers() -> None:
    reg = Reg()
    mark_known_scalar(reg, 2**64 - 5)
    assert reg_text(FRAME, reg) == "-5"
    reg.precise = True
    assert reg_text(FRAME, reg) == "P-5"
    mark_known_scalar(reg, 0x12345)
    assert reg_text(FRAME, reg) == "0x12345"


def test_ranges_share_values() -> None:
    assert reg_text(FRAME, scalar(0, 255)) == (
        "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))")
    assert reg_text(FRAME, scalar(0, 2**64 - 1)) == "scalar()"
    assert "umax=smax32=umax32=0xffff" in reg_text(FRAME, scalar(0, 0xFFFF))


def test_linked_number() -> None:
    reg = scalar(0, 2**64 - 1)
    reg.id, reg.off = 3 | ADD_CONST64, -16
    assert reg_text(FRAME, reg) == "scalar(id=3-16)"


def test_pointers() -> None:
    reg = Reg()
    mark_pointer(reg, kinds.PTR_TO_MAP_VALUE | kinds.PTR_MAYBE_NULL)
    reg.map, reg.id, reg.off = MapFacts(1, 4, 8, name="counts"), 2, 4
    assert reg_text(FRAME, reg) == "map_value_or_null(id=2,map=counts,ks=4,vs=8,off=4)"
    mark_pointer(reg, kinds.PTR_TO_PACKET)
    reg.packet_range = -2
    assert reg_text(FRAME, reg) == "pkt(r=0xfffffffffffffffe)"
    mark_pointer(reg, kinds.PTR_TO_STACK)
    reg.off, reg.frameno = -8, 1
    assert reg_text(FRAME, reg) == "fp[1]-8"


def test_slots() -> None:
    slot = Slot()
    slot.fill(SPILL)
    for index, kind in enumerate((MISC, ZERO, MISC, INVALID)):
        slot.put(index, kind)
    mark_known_scalar(slot.reg, 7)
    assert slot_text(FRAME, slot) == "m0m?7"
    slot.put(7, ZERO)
    assert slot_text(FRAME, slot) == "m0m?rrr0"


def test_a_whole_state() -> None:
    state = State()
    frame = new_frame(-1, 0, 0)
    state.frames = [frame]
    mark_known_scalar(frame.regs[0], 1)
    frame.grow(8)
    frame.stack[0].put(0, MISC)
    state.refs = [Ref(4, 0), Ref(6, 1)]
    assert state_text(state, frame, -1, -1) == " R0=1 R10=fp0 fp-8=m??????? refs=4,6"
    assert state_text(state, frame, 1, 0) == " R0=1 refs=4,6"


def test_cutting() -> None:
    log = Log(1)
    for part in ("one\n", "two\n", "three\n"):
        log.write(part)
    log.cut(6)
    assert log.text == "one\ntw"
    log.cut(0)
    assert (log.text, log.end) == ("", 0)
    quiet = Log(0)
    quiet.write("nothing")
    assert quiet.text == ""
