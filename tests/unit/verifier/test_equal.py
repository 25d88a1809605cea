"""When an old state covers a current one."""

from __future__ import annotations

from anybpf.proto import kinds
from anybpf.verifier import ranges
from anybpf.verifier.consts import EXACT, NOT_EXACT, RANGE_WITHIN
from anybpf.verifier.equal import Ids, reg_safe
from anybpf.verifier.state import Reg, clone_reg, mark_not_init, mark_pointer, mark_unknown


def number(high: int, precise: bool = False) -> Reg:
    reg = Reg()
    mark_unknown(reg, precise)
    reg.umax = high
    ranges.sync(reg)
    return reg


def safe(old: Reg, cur: Reg, exact: int = NOT_EXACT) -> bool:
    return reg_safe(old, cur, Ids(100), exact)


def test_numbers_that_decide_nothing_are_alike() -> None:
    assert safe(number(3), number(900))
    assert not safe(number(3, precise=True), number(900))
    assert safe(number(900, precise=True), number(3))
    assert not safe(number(3), number(900), RANGE_WITHIN)
    assert not safe(number(900), number(3), EXACT)


def test_what_was_not_used_does_not_matter() -> None:
    unused = Reg()
    mark_not_init(unused)
    assert safe(unused, number(3))
    assert not safe(number(3), unused)
    assert not safe(unused, number(3), RANGE_WITHIN)


def test_packet_ranges() -> None:
    old, cur = Reg(), Reg()
    mark_pointer(old, kinds.PTR_TO_PACKET)
    mark_pointer(cur, kinds.PTR_TO_PACKET)
    old.packet_range, cur.packet_range = 4, 8
    assert safe(old, cur)
    assert not safe(cur, old)
    # a pointer that was found to be at the end is like no other
    old.packet_range = -1
    assert not safe(old, cur)
    assert safe(old, clone_reg(old))


def test_ids_are_matched_one_to_one() -> None:
    ids = Ids(100)
    assert ids.match(1, 7)
    assert ids.match(1, 7)
    assert not ids.match(1, 8)
    assert not ids.match(2, 7)
    assert not ids.match(3, 0)
    assert ids.match(0, 0)
    assert ids.match_scalar(0, 7)
