"""Tristate numbers: which bits of a value are known (kernel/bpf/tnum.c).

A tnum is a pair (value, mask) of unsigned 64-bit numbers: a set bit of `mask` is unknown, and
the same bit of `value` is then 0. Pairs cross functions as tuples of C numbers; operands are
written out (`av, am` is the tnum `a`).
"""

from __future__ import annotations

from anybpf import uapi

Tnum = tuple[int, int]


def fls64(x: int) -> int:
    """The number of the highest set bit, counted from 1; 0 for 0."""
    n = 0
    while x:
        x >>= 1
        n += 1
    return n


def from_range(low: int, high: int) -> Tnum:
    """The smallest tnum that holds all of `low` .. `high` (unsigned)."""
    chi = low ^ high
    bits = fls64(chi)
    if bits > 63:
        return 0, uapi.U64
    one = 1
    delta = (one << bits) - one
    return low & ~delta & uapi.U64, delta


def add(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a + b"""
    masks = (am + bm) & uapi.U64
    values = (av + bv) & uapi.U64
    sigma = (masks + values) & uapi.U64
    mu = (sigma ^ values) | am | bm
    return values & ~mu & uapi.U64, mu


def sub(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a - b"""
    values = (av - bv) & uapi.U64
    alpha = (values + am) & uapi.U64
    beta = (values - bm) & uapi.U64
    mu = (alpha ^ beta) | am | bm
    return values & ~mu & uapi.U64, mu


def neg(av: int, am: int) -> Tnum:
    """-a"""
    return sub(0, 0, av, am)


def band(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a & b"""
    value = av & bv
    return value, (av | am) & (bv | bm) & ~value & uapi.U64


def bor(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a | b"""
    value = av | bv
    return value, (am | bm) & ~value & uapi.U64


def bxor(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a ^ b"""
    mu = am | bm
    return (av ^ bv) & ~mu & uapi.U64, mu


def lshift(av: int, am: int, shift: int) -> Tnum:
    """a << shift, for shift 0 .. 63"""
    return (av << shift) & uapi.U64, (am << shift) & uapi.U64


def rshift(av: int, am: int, shift: int) -> Tnum:
    """a >> shift, unsigned, for shift 0 .. 63"""
    return av >> shift, am >> shift


def _sra(x: int, shift: int, bits: int) -> int:
    """x >> shift with the sign bit of a `bits` wide number drawn in."""
    one = 1
    sign = (x >> (bits - 1)) & one
    result = x >> shift
    if sign and shift:
        ones = (one << shift) - one
        result |= ones << (bits - shift)
    return result


def arshift(av: int, am: int, shift: int, bits: int) -> Tnum:
    """a s>> shift of a number `bits` (32 or 64) wide"""
    return _sra(av, shift, bits), _sra(am, shift, bits)


def mul(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a * b: for each bit of a, what adding b does, or may do"""
    rv, rm = 0, 0
    while av | am:
        if av & 1:
            rv, rm = add(rv, rm, bv, bm)
        elif am & 1:
            tv, tm = add(rv, rm, bv, bm)
            rv, rm = union(rv, rm, tv, tm)
        av, am = rshift(av, am, 1)
        bv, bm = lshift(bv, bm, 1)
    return rv, rm


def intersect(av: int, am: int, bv: int, bm: int) -> Tnum:
    """What is known from either; the two must not contradict each other."""
    mu = am & bm
    return (av | bv) & ~mu & uapi.U64, mu


def union(av: int, am: int, bv: int, bm: int) -> Tnum:
    """The smallest tnum that holds both."""
    mu = am | bm | (av ^ bv)
    return av & bv & ~mu & uapi.U64, mu


def overlap(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether some number may be both."""
    return (av ^ bv) & ~(am | bm) & uapi.U64 == 0


def within(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether every number that b may be, a may be (tnum_in)."""
    if bm & ~am & uapi.U64:
        return False
    return av == bv & ~am & uapi.U64


def aligned(av: int, am: int, size: int) -> bool:
    """Whether the number is a multiple of `size` (a power of two; 0: anything is)."""
    return size == 0 or (av | am) & (size - 1) == 0


def cast(av: int, am: int, size: int) -> Tnum:
    """The low `size` bytes (1 .. 8)"""
    mask = uapi.U64 >> (64 - size * 8)
    return av & mask, am & mask


def above(av: int, am: int, x: int) -> int:
    """The smallest number greater than x that a may be; the largest it may be if there is none."""
    top = av | am
    if x >= top:
        return top
    if x < av:
        return av
    # the highest place where x cannot be followed
    stuck = fls64((x ^ av) & ~am & uapi.U64)
    low = uapi.U64 >> (64 - stuck) if stuck else 0
    high = ~low & uapi.U64
    if av & ~x & ~am & low & uapi.U64 and _first_is_up(av, am, x):
        return x & high | av & low
    # count up in the unknown places above: known ones are filled to carry through
    counted = ((x & am | ~am) & high) + (low + 1)
    return counted & am & high | av


def _first_is_up(av: int, am: int, x: int) -> bool:
    """At the highest known place where x differs from a, a has the 1."""
    differs = (x ^ av) & ~am & uapi.U64
    return av >> (fls64(differs) - 1) & 1 == 1
