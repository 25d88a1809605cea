"""What arithmetic does to ranges (adjust_scalar_min_max_vals, kernel/bpf/verifier.c).

Each function changes `dst` to what is known of `dst OP src`; the caller syncs afterwards. The
32-bit bounds are kept by every operation, so that a 32-bit instruction has only to zero-extend.
"""

from __future__ import annotations

from anybpf import bits, uapi
from anybpf.verifier import ranges, tnum
from anybpf.verifier.numbers import S32_MAX, S32_MIN, S64_MAX, S64_MIN
from anybpf.verifier.ranges import Range


def add(dst: Range, src: Range) -> None:
    """dst += src"""
    _add32(dst, src)
    _signed_sum(dst, src.smin, src.smax)
    low, high = (dst.umin + src.umin) & uapi.U64, (dst.umax + src.umax) & uapi.U64
    # both ends wrap, or none: then the order of the numbers is kept
    if (low < dst.umin) == (high < dst.umax):
        dst.umin, dst.umax = low, high
    else:
        dst.umin, dst.umax = 0, uapi.U64
    dst.vv, dst.vm = tnum.add(dst.vv, dst.vm, src.vv, src.vm)


def _signed_sum(dst: Range, least: int, most: int) -> None:
    low = bits.s64((dst.smin & uapi.U64) + (least & uapi.U64))
    high = bits.s64((dst.smax & uapi.U64) + (most & uapi.U64))
    if _sum_overflows(dst.smin, least, low) or _sum_overflows(dst.smax, most, high):
        dst.smin, dst.smax = S64_MIN, S64_MAX
    else:
        dst.smin, dst.smax = low, high


def _sum_overflows(a: int, b: int, total: int) -> bool:
    return (a ^ total) & (b ^ total) < 0


def _difference_overflows(a: int, b: int, rest: int) -> bool:
    return (a ^ b) & (a ^ rest) < 0


def _add32(dst: Range, src: Range) -> None:
    _bound_s32(dst, dst.s32min + src.s32min, dst.s32max + src.s32max)
    low, high = dst.u32min + src.u32min, dst.u32max + src.u32max
    if (low > uapi.U32) == (high > uapi.U32):
        dst.u32min, dst.u32max = low & uapi.U32, high & uapi.U32
    else:
        dst.u32min, dst.u32max = 0, uapi.U32


def _bound_s32(dst: Range, low: int, high: int) -> None:
    """Signed bounds of the low half, if both are numbers of 32 bits."""
    if low < S32_MIN or low > S32_MAX or high < S32_MIN or high > S32_MAX:
        low, high = S32_MIN, S32_MAX
    dst.s32min, dst.s32max = low, high


def sub(dst: Range, src: Range) -> None:
    """dst -= src"""
    _sub32(dst, src)
    _signed_difference(dst, src)
    if (dst.umin < src.umax) == (dst.umax < src.umin):
        dst.umin, dst.umax = (dst.umin - src.umax) & uapi.U64, (dst.umax - src.umin) & uapi.U64
    else:
        dst.umin, dst.umax = 0, uapi.U64
    dst.vv, dst.vm = tnum.sub(dst.vv, dst.vm, src.vv, src.vm)


def _signed_difference(dst: Range, src: Range) -> None:
    low = bits.s64((dst.smin & uapi.U64) - (src.smax & uapi.U64))
    high = bits.s64((dst.smax & uapi.U64) - (src.smin & uapi.U64))
    if (_difference_overflows(dst.smin, src.smax, low)
            or _difference_overflows(dst.smax, src.smin, high)):
        low, high = S64_MIN, S64_MAX
    dst.smin, dst.smax = low, high


def add_to_pointer(dst: Range, src: Range) -> None:
    """The offset `dst` of a pointer += src, 64 bits: what may wrap is not bounded."""
    _signed_sum(dst, src.smin, src.smax)
    low, high = (dst.umin + src.umin) & uapi.U64, (dst.umax + src.umax) & uapi.U64
    if high < dst.umax:
        low, high = 0, uapi.U64
    dst.umin, dst.umax = low, high
    dst.vv, dst.vm = tnum.add(dst.vv, dst.vm, src.vv, src.vm)


def sub_from_pointer(dst: Range, src: Range) -> None:
    """The offset `dst` of a pointer -= src, 64 bits: what may wrap is not bounded."""
    _signed_difference(dst, src)
    if dst.umin < src.umax:
        dst.umin, dst.umax = 0, uapi.U64
    else:
        dst.umin, dst.umax = dst.umin - src.umax, dst.umax - src.umin
    dst.vv, dst.vm = tnum.sub(dst.vv, dst.vm, src.vv, src.vm)


def _sub32(dst: Range, src: Range) -> None:
    _bound_s32(dst, dst.s32min - src.s32max, dst.s32max - src.s32min)
    if (dst.u32min < src.u32max) == (dst.u32max < src.u32min):
        low, high = (dst.u32min - src.u32max) & uapi.U32, (dst.u32max - src.u32min) & uapi.U32
        dst.u32min, dst.u32max = low, high
    else:
        dst.u32min, dst.u32max = 0, uapi.U32


def neg(dst: Range) -> None:
    """dst = -dst"""
    old = Range()
    ranges.copy(old, dst)
    ranges.known(dst, 0)
    sub(dst, old)


def mul(dst: Range, src: Range) -> None:
    """dst *= src"""
    dst.vv, dst.vm = tnum.mul(dst.vv, dst.vm, src.vv, src.vm)
    _mul32(dst, src)
    if _product_fits(dst.umin, src.umin, uapi.U64) and _product_fits(dst.umax, src.umax, uapi.U64):
        dst.umin, dst.umax = dst.umin * src.umin, dst.umax * src.umax
    else:
        dst.umin, dst.umax = 0, uapi.U64
    if (_signed_product_fits(dst.smin, src.smin) and _signed_product_fits(dst.smin, src.smax)
            and _signed_product_fits(dst.smax, src.smin)
            and _signed_product_fits(dst.smax, src.smax)):
        a, b = dst.smin * src.smin, dst.smin * src.smax
        c, d = dst.smax * src.smin, dst.smax * src.smax
        dst.smin, dst.smax = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
    else:
        dst.smin, dst.smax = S64_MIN, S64_MAX


def _product_fits(a: int, b: int, most: int) -> bool:
    return a == 0 or b <= most // a


def _magnitude(a: int) -> int:
    return (-(a & uapi.U64)) & uapi.U64 if a < 0 else a & uapi.U64


def _signed_product_fits(a: int, b: int) -> bool:
    most = uapi.U64 >> 1
    if (a < 0) != (b < 0):
        most += 1
    return _product_fits(_magnitude(a), _magnitude(b), most)


def _mul32(dst: Range, src: Range) -> None:
    # products of 32-bit numbers fit 64 bits
    a, b = dst.s32min * src.s32min, dst.s32min * src.s32max
    c, d = dst.s32max * src.s32min, dst.s32max * src.s32max
    _bound_s32(dst, min(min(a, b), min(c, d)), max(max(a, b), max(c, d)))
    low, high = dst.u32min * src.u32min, dst.u32max * src.u32max
    if low > uapi.U32 or high > uapi.U32:
        low, high = 0, uapi.U32
    dst.u32min, dst.u32max = low, high


def _signed_as_unsigned(dst: Range) -> None:
    """Signed bounds from the unsigned ones, where these do not cross the sign."""
    low, high = bits.s64(dst.umin), bits.s64(dst.umax)
    if low <= high:
        dst.smin, dst.smax = low, high
    else:
        dst.smin, dst.smax = S64_MIN, S64_MAX


def _signed_as_unsigned32(dst: Range) -> None:
    low, high = bits.s32(dst.u32min), bits.s32(dst.u32max)
    if low <= high:
        dst.s32min, dst.s32max = low, high
    else:
        dst.s32min, dst.s32max = S32_MIN, S32_MAX


def _bitwise(dst: Range, src: Range, vv: int, vm: int, low: int, high: int, low32: int,
             high32: int) -> None:
    """dst is now the bits `vv`, `vm`, within these unsigned bounds where they are not all known."""
    all32 = ranges.is_const32(src) and ranges.is_const32(dst)
    both = ranges.is_const(src) and ranges.is_const(dst)
    dst.vv, dst.vm = vv, vm
    if all32:
        ranges.known32(dst, vv)
    else:
        dst.u32min, dst.u32max = low32, high32
        _signed_as_unsigned32(dst)
    if both:
        ranges.known(dst, vv)
        return
    dst.umin, dst.umax = low, high
    _signed_as_unsigned(dst)
    ranges.bounds_from_bits(dst)


def band(dst: Range, src: Range) -> None:
    """dst &= src"""
    vv, vm = tnum.band(dst.vv, dst.vm, src.vv, src.vm)
    _bitwise(dst, src, vv, vm, vv, min(dst.umax, src.umax),
             vv & uapi.U32, min(dst.u32max, src.u32max))


def bor(dst: Range, src: Range) -> None:
    """dst |= src"""
    vv, vm = tnum.bor(dst.vv, dst.vm, src.vv, src.vm)
    _bitwise(dst, src, vv, vm, max(dst.umin, src.umin), vv | vm,
             max(dst.u32min, src.u32min), (vv | vm) & uapi.U32)


def bxor(dst: Range, src: Range) -> None:
    """dst ^= src"""
    vv, vm = tnum.bxor(dst.vv, dst.vm, src.vv, src.vm)
    _bitwise(dst, src, vv, vm, vv, vv | vm, vv & uapi.U32, (vv | vm) & uapi.U32)


def _lshift_bounds32(dst: Range, shift: int) -> None:
    one = 1
    dst.s32min, dst.s32max = S32_MIN, S32_MAX
    if shift > 31 or dst.u32max > one << (31 - shift):
        dst.u32min, dst.u32max = 0, uapi.U32
    else:
        dst.u32min, dst.u32max = dst.u32min << shift, dst.u32max << shift


def lshift(dst: Range, shift: int) -> None:
    """dst <<= shift, 64 bits, shift 0 .. 63"""
    one = 1
    if shift == 32:
        # how compilers begin a sign extension; 32-bit bounds do not change sign by it
        dst.smin, dst.smax = bits.s64((dst.s32min & uapi.U64) << 32), \
            bits.s64((dst.s32max & uapi.U64) << 32)
    else:
        dst.smin, dst.smax = S64_MIN, S64_MAX
    if dst.umax > one << (63 - shift):
        dst.umin, dst.umax = 0, uapi.U64
    else:
        dst.umin, dst.umax = dst.umin << shift, dst.umax << shift
    _lshift_bounds32(dst, shift)
    dst.vv, dst.vm = tnum.lshift(dst.vv, dst.vm, shift)
    ranges.bounds_from_bits(dst)


def lshift32(dst: Range, shift: int) -> None:
    """dst <<= shift, 32 bits, shift 0 .. 31"""
    _lshift_bounds32(dst, shift)
    vv, vm = tnum.lshift(dst.vv & uapi.U32, dst.vm & uapi.U32, shift)
    dst.vv, dst.vm = vv & uapi.U32, vm & uapi.U32
    ranges.unbounded64(dst)
    ranges.bounds_from_bits32(dst)


def rshift(dst: Range, shift: int) -> None:
    """dst >>= shift, 64 bits"""
    dst.smin, dst.smax = S64_MIN, S64_MAX
    dst.vv, dst.vm = tnum.rshift(dst.vv, dst.vm, shift)
    dst.umin >>= shift
    dst.umax >>= shift
    ranges.unbounded32(dst)
    ranges.bounds_from_bits(dst)


def rshift32(dst: Range, shift: int) -> None:
    """dst >>= shift, 32 bits"""
    dst.s32min, dst.s32max = S32_MIN, S32_MAX
    dst.vv, dst.vm = tnum.rshift(dst.vv & uapi.U32, dst.vm & uapi.U32, shift)
    dst.u32min >>= shift
    dst.u32max >>= shift
    ranges.unbounded64(dst)
    ranges.bounds_from_bits32(dst)


def arshift(dst: Range, shift: int) -> None:
    """dst s>>= shift, 64 bits"""
    dst.smin >>= shift
    dst.smax >>= shift
    dst.vv, dst.vm = tnum.arshift(dst.vv, dst.vm, shift, 64)
    dst.umin, dst.umax = 0, uapi.U64
    ranges.unbounded32(dst)
    ranges.bounds_from_bits(dst)


def arshift32(dst: Range, shift: int) -> None:
    """dst s>>= shift, 32 bits"""
    dst.s32min >>= shift
    dst.s32max >>= shift
    dst.vv, dst.vm = tnum.arshift(dst.vv & uapi.U32, dst.vm & uapi.U32, shift, 32)
    dst.u32min, dst.u32max = 0, uapi.U32
    ranges.unbounded64(dst)
    ranges.bounds_from_bits32(dst)


def byte_swap(dst: Range, size: int, swaps: bool) -> None:
    """The low `size` bytes (2, 4, 8), zero-extended, reversed if it `swaps`; synced."""
    if swaps:
        if size == 2:
            dst.vv, dst.vm = bits.bswap16(dst.vv), bits.bswap16(dst.vm)
        elif size == 4:
            dst.vv, dst.vm = bits.bswap32(dst.vv), bits.bswap32(dst.vm)
        else:
            dst.vv, dst.vm = bits.bswap64(dst.vv), bits.bswap64(dst.vm)
        # a swap scrambles the order of numbers
        ranges.unbounded64(dst)
        ranges.unbounded32(dst)
    if size == 8:
        ranges.sync(dst)
    else:
        ranges.truncate(dst, size)


def computable(op: int, is32: bool, src: Range) -> bool:
    """Whether `apply` knows the operation: not division, nor shifts by what is not known."""
    if op in (uapi.BPF_LSH, uapi.BPF_RSH, uapi.BPF_ARSH):
        if is32:
            return ranges.is_const32(src) and src.u32min == src.u32max and src.umax < 32
        return ranges.is_const(src) and src.umax < 64
    return op in (uapi.BPF_ADD, uapi.BPF_SUB, uapi.BPF_AND, uapi.BPF_XOR, uapi.BPF_OR,
                  uapi.BPF_MUL, uapi.BPF_NEG)


def apply(op: int, is32: bool, dst: Range, src: Range) -> None:
    """dst = dst OP src, for a computable operation, synced."""
    if op == uapi.BPF_ADD:
        add(dst, src)
    elif op == uapi.BPF_SUB:
        sub(dst, src)
    elif op == uapi.BPF_NEG:
        neg(dst)
    elif op == uapi.BPF_MUL:
        mul(dst, src)
    elif op == uapi.BPF_AND:
        band(dst, src)
    elif op == uapi.BPF_OR:
        bor(dst, src)
    elif op == uapi.BPF_XOR:
        bxor(dst, src)
    else:
        _shift(op, is32, dst, src.umin)
    if is32:
        ranges.zero_extend32(dst)
    ranges.sync(dst)


def _shift(op: int, is32: bool, dst: Range, shift: int) -> None:
    if op == uapi.BPF_LSH:
        if is32:
            lshift32(dst, shift)
        else:
            lshift(dst, shift)
    elif op == uapi.BPF_RSH:
        if is32:
            rshift32(dst, shift)
        else:
            rshift(dst, shift)
    elif is32:
        arshift32(dst, shift)
    else:
        arshift(dst, shift)
