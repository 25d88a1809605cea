"""What is known of a number: bits and bounds (reg_bounds_sync and below, kernel/bpf/verifier.c).

A `Range` is the meet of five views of one 64-bit number: its bits (`vv`, `vm`: a tnum), its
unsigned and signed bounds, and both again for its low 32 bits. Every view is true by itself;
`sync` lets each learn from the others. What instructions do to ranges is in `arith`, what taken
branches teach is in `branch`.
"""

from __future__ import annotations

from anybpf import bits, uapi
from anybpf.verifier import tnum
from anybpf.verifier.numbers import S32_MAX, S32_MIN, S64_MAX, S64_MIN


class Range:
    """Bounds and known bits of a number; a new one may be anything."""

    def __init__(self) -> None:
        self.vv = 0
        self.vm = uapi.U64
        self.smin, self.smax = S64_MIN, S64_MAX
        self.umin, self.umax = 0, uapi.U64
        self.s32min, self.s32max = S32_MIN, S32_MAX
        self.u32min, self.u32max = 0, uapi.U32


def copy(dst: Range, src: Range) -> None:
    """`dst` knows what `src` knows."""
    dst.vv, dst.vm = src.vv, src.vm
    dst.smin, dst.smax, dst.umin, dst.umax = src.smin, src.smax, src.umin, src.umax
    copy32(dst, src)


def copy32(dst: Range, src: Range) -> None:
    """The bounds of the low half."""
    dst.s32min, dst.s32max, dst.u32min, dst.u32max = src.s32min, src.s32max, src.u32min, src.u32max


def same(a: Range, b: Range) -> bool:
    """Whether both know exactly the same."""
    return (a.vv == b.vv and a.vm == b.vm and a.smin == b.smin and a.smax == b.smax
            and a.umin == b.umin and a.umax == b.umax and a.s32min == b.s32min
            and a.s32max == b.s32max and a.u32min == b.u32min and a.u32max == b.u32max)


def within(old: Range, cur: Range) -> bool:
    """Whether the bounds of `cur` lie inside those of `old` (range_within)."""
    return (old.umin <= cur.umin and old.umax >= cur.umax
            and old.smin <= cur.smin and old.smax >= cur.smax
            and old.u32min <= cur.u32min and old.u32max >= cur.u32max
            and old.s32min <= cur.s32min and old.s32max >= cur.s32max)


def unbounded64(r: Range) -> None:
    """Forget the bounds of the whole number."""
    r.smin, r.smax = S64_MIN, S64_MAX
    r.umin, r.umax = 0, uapi.U64


def unbounded32(r: Range) -> None:
    """Forget the bounds of the low half."""
    r.s32min, r.s32max = S32_MIN, S32_MAX
    r.u32min, r.u32max = 0, uapi.U32


def unknown(r: Range) -> None:
    """The number may be anything."""
    r.vv, r.vm = 0, uapi.U64
    unbounded64(r)
    unbounded32(r)


def known(r: Range, value: int) -> None:
    """The number is `value` (unsigned)."""
    r.vv, r.vm = value, 0
    r.umin = r.umax = value
    r.smin = r.smax = bits.s64(value)
    known32(r, value)


def known32(r: Range, value: int) -> None:
    """The bounds of the low half are those of the low half of `value`."""
    r.u32min = r.u32max = value & uapi.U32
    r.s32min = r.s32max = bits.s32(value)


def set_subreg(r: Range, value: int, mask: int) -> None:
    """The low half of the bits becomes this tnum."""
    r.vv = r.vv >> 32 << 32 | value & uapi.U32
    r.vm = r.vm >> 32 << 32 | mask & uapi.U32


def is_const(r: Range) -> bool:
    """Whether all bits are known."""
    return r.vm == 0


def is_const32(r: Range) -> bool:
    """Whether all bits of the low half are known."""
    return r.vm & uapi.U32 == 0


def _bounds_from_bits32(r: Range) -> None:
    value, mask = r.vv & uapi.U32, r.vm & uapi.U32
    r.s32min = max(r.s32min, bits.s32(value | (mask & 0x8000_0000)))
    r.s32max = min(r.s32max, bits.s32(value | (mask & 0x7FFF_FFFF)))
    r.u32min = max(r.u32min, value)
    r.u32max = min(r.u32max, value | mask)


def bounds_from_bits32(r: Range) -> None:
    """Bounds of the low half from the bits (__update_reg32_bounds)."""
    _bounds_from_bits32(r)


def bounds_from_bits(r: Range) -> None:
    """All bounds from the bits (__update_reg_bounds)."""
    _bounds_from_bits32(r)
    sign = r.vm >> 63 << 63
    r.smin = max(r.smin, bits.s64(r.vv | sign))
    r.smax = min(r.smax, bits.s64(r.vv | (r.vm ^ sign)))
    r.umin = max(r.umin, r.vv)
    r.umax = min(r.umax, r.vv | r.vm)
    _only_member(r)


def _only_member(r: Range) -> None:
    """The number itself, where only one fits both bits and unsigned bounds."""
    inside = r.umin & ~r.vm & uapi.U64 == r.vv
    following = tnum.above(r.vv, r.vm, r.umin)
    if inside:
        if following > r.umax:
            known(r, r.umin)
    elif following == r.vv | r.vm or (
            following <= r.umax and tnum.above(r.vv, r.vm, following) > r.umax):
        known(r, following)


def _narrow_u32(r: Range, low: int, high: int) -> None:
    r.u32min = max(r.u32min, low)
    r.u32max = min(r.u32max, high)


def _narrow_s32(r: Range, low: int, high: int) -> None:
    r.s32min = max(r.s32min, low)
    r.s32max = min(r.s32max, high)


def _deduce32_from_unsigned(r: Range) -> None:
    """The low half from the unsigned bounds, where their upper halves are equal.

    These are an unsigned range of the low half, too, and taken to be one without asking: where the
    branch is dead and the bounds cross, so do those of the low half.
    """
    low, high = r.umin, r.umax
    if low >> 32 == high >> 32:
        _narrow_u32(r, low & uapi.U32, high & uapi.U32)
        if bits.s32(low) <= bits.s32(high):
            _narrow_s32(r, bits.s32(low), bits.s32(high))


def _deduce32_from_signed(r: Range) -> None:
    """The low half from the signed bounds, where their upper halves are equal."""
    low, high = r.smin & uapi.U64, r.smax & uapi.U64
    if low >> 32 == high >> 32:
        if low & uapi.U32 <= high & uapi.U32:
            _narrow_u32(r, low & uapi.U32, high & uapi.U32)
        if bits.s32(low) <= bits.s32(high):
            _narrow_s32(r, bits.s32(low), bits.s32(high))


def _deduce32_around_zero(r: Range, low: int, high: int) -> None:
    """The low half from bounds of the whole: to -1 below one upper half, from 0 in the next."""
    slow, shigh = bits.s32(low), bits.s32(high)
    if ((low >> 32) + 1) & uapi.U32 == high >> 32 and slow < 0 <= shigh:
        _narrow_s32(r, slow, shigh)


def _deduce32(r: Range) -> None:
    """The bounds of the low half from those of the whole and from each other."""
    _deduce32_from_unsigned(r)
    _deduce32_from_signed(r)
    _deduce32_around_zero(r, r.umin, r.umax)
    _deduce32_around_zero(r, r.smin & uapi.U64, r.smax & uapi.U64)
    low, high = bits.s32(r.u32min), bits.s32(r.u32max)
    if low <= high:
        _narrow_s32(r, low, high)
    ulow, uhigh = r.s32min & uapi.U32, r.s32max & uapi.U32
    if ulow <= uhigh:
        _narrow_u32(r, ulow, uhigh)
    elif r.u32max < ulow:
        # the signed range wraps around in unsigned terms; only its lower part is left
        r.s32min = bits.s32(r.u32min)
        r.u32max = min(r.u32max, uhigh)
    elif uhigh < r.u32min:
        r.s32max = bits.s32(r.u32max)
        r.u32min = max(r.u32min, ulow)


def _deduce64(r: Range) -> None:
    """Unsigned and signed bounds from each other."""
    low, high = bits.s64(r.umin), bits.s64(r.umax)
    if low <= high:
        r.smin = max(r.smin, low)
        r.smax = min(r.smax, high)
    ulow, uhigh = r.smin & uapi.U64, r.smax & uapi.U64
    if ulow <= uhigh:
        r.umin = max(r.umin, ulow)
        r.umax = min(r.umax, uhigh)
    elif r.umax < ulow:
        # the signed range wraps around in unsigned terms; only its lower part is left
        r.smin = bits.s64(r.umin)
        r.umax = min(r.umax, uhigh)
    elif uhigh < r.umin:
        r.smax = bits.s64(r.umax)
        r.umin = max(r.umin, ulow)


def _deduce_mixed(r: Range) -> None:
    """Bounds of the whole from its upper half and the bounds of the low half."""
    r.umin = max(r.umin, r.umin >> 32 << 32 | r.u32min)
    r.umax = min(r.umax, r.umax >> 32 << 32 | r.u32max)
    low, high = r.smin & uapi.U64, r.smax & uapi.U64
    r.smin = max(r.smin, bits.s64(low >> 32 << 32 | r.u32min))
    r.smax = min(r.smax, bits.s64(high >> 32 << 32 | r.u32max))
    if r.s32min >= 0 and r.smin >= S32_MIN and r.smax <= S32_MAX:
        # a sign-extended 32-bit number that is not negative; the 32-bit bounds win, even if wider
        r.smin, r.smax = r.s32min, r.s32max
        r.umin, r.umax = r.smin & uapi.U64, r.smax & uapi.U64
        rv, rm = tnum.from_range(r.umin, r.umax)
        r.vv, r.vm = tnum.intersect(r.vv, r.vm, rv, rm)


def _deduce(r: Range) -> None:
    _deduce32(r)
    _deduce64(r)
    _deduce_mixed(r)


def _bits_from_bounds(r: Range) -> None:
    """Bits that the bounds tell (__reg_bound_offset)."""
    rv, rm = tnum.from_range(r.umin, r.umax)
    v64, m64 = tnum.intersect(r.vv, r.vm, rv, rm)
    rv, rm = tnum.from_range(r.u32min, r.u32max)
    v32, m32 = tnum.intersect(v64 & uapi.U32, m64 & uapi.U32, rv, rm)
    r.vv, r.vm = v64 >> 32 << 32 | v32, m64 >> 32 << 32 | m32


def sync(r: Range) -> None:
    """Let every view learn from the others (reg_bounds_sync)."""
    bounds_from_bits(r)
    _deduce(r)
    _deduce(r)
    _deduce(r)
    _bits_from_bounds(r)
    bounds_from_bits(r)


# what may be wrong with a range
SANE, BAD_BOUNDS, BAD_CONSTANT, BAD_CONSTANT32 = 0, 1, 2, 3


def contradiction(r: Range) -> int:
    """SANE, or why no number fits every view (reg_bounds_sanity_check)."""
    if r.umin > r.umax or r.smin > r.smax or r.u32min > r.u32max or r.s32min > r.s32max:
        return BAD_BOUNDS
    if r.vm == 0 and (r.umin != r.umax or r.umin != r.vv or r.smin != r.smax
                      or r.smin != bits.s64(r.vv)):
        return BAD_CONSTANT
    low = r.vv & uapi.U32
    if r.vm & uapi.U32 == 0 and (r.u32min != r.u32max or r.u32min != low
                                 or r.s32min != r.s32max or r.s32min != bits.s32(low)):
        return BAD_CONSTANT32
    return SANE


def consistent(r: Range) -> bool:
    """Whether some number may fit every view."""
    return contradiction(r) == SANE


def bounds32_to_64(r: Range) -> None:
    """The bounds of the whole are those of its low half (__reg_assign_32_into_64)."""
    r.umin, r.umax = r.u32min, r.u32max
    if r.s32min >= 0:
        r.smin, r.smax = r.s32min, r.s32max
    else:
        r.smin, r.smax = 0, uapi.U32


def zero_extend32(r: Range) -> None:
    """The upper half becomes 0 (zext_32_to_64)."""
    r.vv &= uapi.U32
    r.vm &= uapi.U32
    bounds32_to_64(r)


def truncate(r: Range, size: int) -> None:
    """Only the low `size` bytes are left, zero-extended (coerce_reg_to_size)."""
    r.vv, r.vm = tnum.cast(r.vv, r.vm, size)
    one = 1
    mask = (one << (size * 8)) - one
    # where the upper bits agree, the bounds keep their order
    if r.umin & ~mask & uapi.U64 == r.umax & ~mask & uapi.U64:
        r.umin &= mask
        r.umax &= mask
    else:
        r.umin, r.umax = 0, mask
    r.smin, r.smax = bits.s64(r.umin), bits.s64(r.umax)
    if size < 4:
        unbounded32(r)
    sync(r)


def sign_extend(r: Range, size: int) -> None:
    """The low `size` bytes, sign-extended to 64 bits (coerce_reg_to_size_sx)."""
    if is_const(r):
        known(r, _extended(r.vv, size) & uapi.U64)
        return
    _sign_extend_range(r, size)


def _extended(x: int, size: int) -> int:
    """The low `size` bytes of x as a signed number."""
    if size == 1:
        return bits.s8(x)
    return bits.s16(x) if size == 2 else bits.s32(x)


def _sign_extend_range(r: Range, size: int) -> None:
    width = size * 8
    top, bottom = (r.smax & uapi.U64) >> width, (r.smin & uapi.U64) >> width
    high, low = _extended(r.smax & uapi.U64, size), _extended(r.smin & uapi.U64, size)
    # both ends must lie in the same stretch of numbers, and on the same side of its middle
    if top == bottom and (high >= 0) == (low >= 0):
        r.smin, r.smax = min(low, high), max(low, high)
        r.umin, r.umax = r.smin & uapi.U64, r.smax & uapi.U64
        r.s32min, r.s32max = bits.s32(r.smin & uapi.U64), bits.s32(r.smax & uapi.U64)
        r.u32min, r.u32max = r.umin & uapi.U32, r.umax & uapi.U32
        r.vv, r.vm = tnum.from_range(r.umin, r.umax)
        return
    one = 1
    half = one << (width - 1)
    r.smin, r.smax = bits.s64(-half & uapi.U64), half - one
    r.umin, r.umax = 0, uapi.U64
    r.s32min, r.s32max = r.smin, r.smax
    r.u32min, r.u32max = 0, uapi.U32
    r.vv, r.vm = 0, uapi.U64


def sign_extend32(r: Range, size: int) -> None:
    """The low 1 or 2 bytes, sign-extended to 32 bits (coerce_subreg_to_size_sx)."""
    if is_const(r):
        low = bits.s32(_extended(r.vv, size) & uapi.U64)
        r.vv, r.vm = low & uapi.U32, 0
        r.s32min = r.s32max = low
        r.u32min = r.u32max = low & uapi.U32
        return
    _sign_extend_range32(r, size)


def _sign_extend_range32(r: Range, size: int) -> None:
    width = size * 8
    top, bottom = (r.s32max & uapi.U32) >> width, (r.s32min & uapi.U32) >> width
    high, low = _extended(r.s32max & uapi.U64, size), _extended(r.s32min & uapi.U64, size)
    if top == bottom and (high >= 0) == (low >= 0):
        r.s32min, r.s32max = min(low, high), max(low, high)
        r.u32min, r.u32max = r.s32min & uapi.U32, r.s32max & uapi.U32
        rv, rm = tnum.from_range(r.u32min, r.u32max)
        r.vv, r.vm = rv & uapi.U32, rm & uapi.U32
        return
    one = 1
    half = one << (width - 1)
    r.s32min, r.s32max = bits.s64(-half & uapi.U64), half - one
    r.u32min, r.u32max = 0, uapi.U32
    r.vv, r.vm = 0, uapi.U32
