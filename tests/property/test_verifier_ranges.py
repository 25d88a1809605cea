"""Operators on ranges hold every number they stand for (kernel/bpf/verifier.c)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import bits, uapi
from anybpf.verifier import arith, branch, ranges, tnum
from anybpf.verifier.ranges import Range

few = settings(max_examples=50, deadline=None)
#: every tnum of four bits
SMALL = [(v, m) for m in range(16) for v in range(16) if not v & m]
TNUM_OPS: dict[str, tuple[Callable[..., tuple[int, int]], Callable[[int, int], int]]] = {
    "add": (tnum.add, lambda a, b: a + b),
    "sub": (tnum.sub, lambda a, b: a - b),
    "and": (tnum.band, lambda a, b: a & b),
    "or": (tnum.bor, lambda a, b: a | b),
    "xor": (tnum.bxor, lambda a, b: a ^ b),
    "mul": (tnum.mul, lambda a, b: a * b),
}


def members(value: int, mask: int) -> list[int]:
    """Every number that a small tnum stands for."""
    return [value | s for s in range(mask + 1) if s & ~mask == 0]


@pytest.mark.parametrize("name", TNUM_OPS)
def test_tnum_operator_holds_all_results(name: str) -> None:
    operate, meaning = TNUM_OPS[name]
    for a in SMALL:
        for b in SMALL:
            value, mask = operate(*a, *b)
            assert value & mask == 0
            for x in members(*a):
                for y in members(*b):
                    assert (meaning(x, y) & uapi.U64) & ~mask == value, (a, b, x, y)


def test_sets_of_tnums() -> None:
    for a in SMALL:
        for b in SMALL:
            both = set(members(*a)) & set(members(*b))
            assert tnum.overlap(*a, *b) == bool(both)
            assert tnum.within(*a, *b) == (set(members(*b)) <= set(members(*a)))
            if both:
                assert set(members(*tnum.intersect(*a, *b))) == both
            assert set(members(*tnum.union(*a, *b))) >= set(members(*a)) | set(members(*b))


def test_the_next_member() -> None:
    for a in SMALL:
        for x in range(20):
            above = [m for m in sorted(members(*a)) if m > x]
            assert tnum.above(*a, x) == (above[0] if above else max(members(*a)))


@few
@given(st.integers(0, uapi.U64), st.integers(0, uapi.U64), st.integers(0, uapi.U64))
def test_range_to_tnum(a: int, b: int, c: int) -> None:
    low, x, high = sorted((a, b, c))
    value, mask = tnum.from_range(low, high)
    assert x & ~mask == value


def contains(r: Range, x: int) -> bool:
    """Whether every view of `r` allows `x`."""
    return (x & ~r.vm & uapi.U64 == r.vv and r.umin <= x <= r.umax
            and r.smin <= bits.s64(x) <= r.smax and r.u32min <= x & uapi.U32 <= r.u32max
            and r.s32min <= bits.s32(x) <= r.s32max)


#: numbers near the places where views part
EDGES = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFE, 0x7FFF_FFFF, 0x8000_0000,
         0x8000_0001, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_7FFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF,
         0x8000_0000_0000_0000, 0xFFFF_FFFF_0000_0000, 0xFFFF_FFFF_7FFF_FFFF,
         0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF]
numbers = st.one_of(st.sampled_from(EDGES), st.integers(0, uapi.U64), st.integers(0, 300))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Range, int]:
    """A range made by narrowing views around a number, and the number."""
    x = draw(numbers)
    r = Range()
    mask = draw(st.one_of(st.just(uapi.U64), numbers))
    r.vv, r.vm = x & ~mask & uapi.U64, mask
    for low, high, view in (("umin", "umax", x), ("smin", "smax", bits.s64(x)),
                            ("u32min", "u32max", x & uapi.U32),
                            ("s32min", "s32max", bits.s32(x))):
        if draw(st.booleans()):
            setattr(r, low, max(getattr(r, low), view - draw(st.integers(0, 40))))
            setattr(r, high, min(getattr(r, high), view + draw(st.integers(0, 40))))
    if draw(st.booleans()):
        ranges.sync(r)
    return r, x


@few
@given(pairs())
def test_sync_keeps_the_number(pair: tuple[Range, int]) -> None:
    r, x = pair
    ranges.sync(r)
    assert contains(r, x)
    assert ranges.consistent(r) or not r.vm


BINARY: dict[int, Callable[[int, int], int]] = {
    uapi.BPF_ADD: lambda a, b: a + b,
    uapi.BPF_SUB: lambda a, b: a - b,
    uapi.BPF_MUL: lambda a, b: a * b,
    uapi.BPF_AND: lambda a, b: a & b,
    uapi.BPF_OR: lambda a, b: a | b,
    uapi.BPF_XOR: lambda a, b: a ^ b,
    uapi.BPF_NEG: lambda a, b: -a,
    uapi.BPF_LSH: lambda a, b: a << b,
    uapi.BPF_RSH: lambda a, b: a >> b,
}


def meaning(op: int, is32: bool, a: int, b: int) -> int:
    if op == uapi.BPF_ARSH:
        return (bits.s32(a) >> b) & uapi.U32 if is32 else (bits.s64(a) >> b) & uapi.U64
    if is32:
        return BINARY[op](a & uapi.U32, b & uapi.U32) & uapi.U32
    return BINARY[op](a, b) & uapi.U64


@pytest.mark.parametrize("is32", [False, True])
@pytest.mark.parametrize("op", [*BINARY, uapi.BPF_ARSH])
@few
@given(pairs(), pairs(), st.data())
def test_arithmetic_holds_the_result(op: int, is32: bool, first: tuple[Range, int],
                                     second: tuple[Range, int], data: st.DataObject) -> None:
    (a, x), (b, y) = first, second
    if op in (uapi.BPF_LSH, uapi.BPF_RSH, uapi.BPF_ARSH):
        y = data.draw(st.integers(0, 31 if is32 else 63))
        ranges.known(b, y)
    ranges.sync(a)
    ranges.sync(b)
    assert arith.computable(op, is32, b)
    arith.apply(op, is32, a, b)
    assert contains(a, meaning(op, is32, x, y)), (x, y)


CONDITIONS: dict[int, Callable[[int, int], bool]] = {
    uapi.BPF_JEQ: lambda a, b: a == b,
    uapi.BPF_JNE: lambda a, b: a != b,
    uapi.BPF_JGT: lambda a, b: a > b,
    uapi.BPF_JGE: lambda a, b: a >= b,
    uapi.BPF_JLT: lambda a, b: a < b,
    uapi.BPF_JLE: lambda a, b: a <= b,
    uapi.BPF_JSET: lambda a, b: bool(a & b),
    branch.JSET_NOT: lambda a, b: not a & b,
}
SIGNED = {uapi.BPF_JSGT: uapi.BPF_JGT, uapi.BPF_JSGE: uapi.BPF_JGE, uapi.BPF_JSLT: uapi.BPF_JLT,
          uapi.BPF_JSLE: uapi.BPF_JLE}


def holds(op: int, is32: bool, a: int, b: int) -> bool:
    if op in SIGNED:
        signed = bits.s32 if is32 else bits.s64
        return CONDITIONS[SIGNED[op]](signed(a), signed(b))
    mask = uapi.U32 if is32 else uapi.U64
    return CONDITIONS[op](a & mask, b & mask)


@pytest.mark.parametrize("is32", [False, True])
@pytest.mark.parametrize("op", [*CONDITIONS, *SIGNED])
@few
@given(pairs(), pairs())
def test_branches_agree_with_the_numbers(op: int, is32: bool, first: tuple[Range, int],
                                         second: tuple[Range, int]) -> None:
    (a, x), (b, y) = first, second
    ranges.sync(a)
    ranges.sync(b)
    truth = holds(op, is32, x, y)
    if op != branch.JSET_NOT:
        assert branch.decide(a, b, op, is32) in (-1, truth)
    branch.refine(a, b, op if truth else branch.OPPOSITE[op], is32)
    ranges.sync(a)
    ranges.sync(b)
    assert contains(a, x)
    assert contains(b, y)


@pytest.mark.parametrize("size", [1, 2, 4])
@few
@given(pairs())
def test_narrowing_holds_the_number(size: int, pair: tuple[Range, int]) -> None:
    r, x = pair
    ranges.sync(r)
    other = Range()
    ranges.copy(other, r)
    ranges.truncate(r, size)
    assert contains(r, x & ((1 << 8 * size) - 1))
    ranges.sign_extend(other, size)
    extended = {1: bits.s8, 2: bits.s16, 4: bits.s32}[size](x)
    assert contains(other, extended & uapi.U64)


@pytest.mark.parametrize("size", [2, 4, 8])
@few
@given(pairs())
def test_byte_swaps_hold_the_number(size: int, pair: tuple[Range, int]) -> None:
    r, x = pair
    ranges.sync(r)
    other = Range()
    ranges.copy(other, r)
    arith.byte_swap(r, size, True)
    low = x & ((1 << 8 * size) - 1)
    assert contains(r, int.from_bytes(low.to_bytes(size, "little"), "big"))
    arith.byte_swap(other, size, False)
    assert contains(other, low)
