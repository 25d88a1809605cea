"""Whether a comparison holds, and what it teaches (is_scalar_branch_taken, regs_refine_cond_op).

Both are from kernel/bpf/verifier.c. Conditions are the `uapi.BPF_J*` numbers; `JSET_NOT` is the
opposite of JSET, which no instruction has.
"""

from __future__ import annotations

from anybpf import bits, uapi
from anybpf.verifier import ranges, tnum
from anybpf.verifier.ranges import Range

#: a & b == 0: the opposite of JSET
JSET_NOT = 0x48

OPPOSITE = {
    uapi.BPF_JEQ: uapi.BPF_JNE, uapi.BPF_JNE: uapi.BPF_JEQ,
    uapi.BPF_JGE: uapi.BPF_JLT, uapi.BPF_JLT: uapi.BPF_JGE,
    uapi.BPF_JGT: uapi.BPF_JLE, uapi.BPF_JLE: uapi.BPF_JGT,
    uapi.BPF_JSGE: uapi.BPF_JSLT, uapi.BPF_JSLT: uapi.BPF_JSGE,
    uapi.BPF_JSGT: uapi.BPF_JSLE, uapi.BPF_JSLE: uapi.BPF_JSGT,
    uapi.BPF_JSET: JSET_NOT, JSET_NOT: uapi.BPF_JSET,
}
#: the condition with its operands exchanged
MIRRORED = {
    uapi.BPF_JEQ: uapi.BPF_JEQ, uapi.BPF_JNE: uapi.BPF_JNE, uapi.BPF_JSET: uapi.BPF_JSET,
    uapi.BPF_JGE: uapi.BPF_JLE, uapi.BPF_JLE: uapi.BPF_JGE,
    uapi.BPF_JGT: uapi.BPF_JLT, uapi.BPF_JLT: uapi.BPF_JGT,
    uapi.BPF_JSGE: uapi.BPF_JSLE, uapi.BPF_JSLE: uapi.BPF_JSGE,
    uapi.BPF_JSGT: uapi.BPF_JSLT, uapi.BPF_JSLT: uapi.BPF_JSGT,
}


def decide_unsigned(a_low: int, a_high: int, b_low: int, b_high: int, op: int) -> int:
    """1, 0 or -1 (not known) for JGT, JGE, JLT, JLE of unsigned bounds."""
    if op == uapi.BPF_JGT:
        return 1 if a_low > b_high else 0 if a_high <= b_low else -1
    if op == uapi.BPF_JGE:
        return 1 if a_low >= b_high else 0 if a_high < b_low else -1
    if op == uapi.BPF_JLT:
        return 1 if a_high < b_low else 0 if a_low >= b_high else -1
    return 1 if a_high <= b_low else 0 if a_low > b_high else -1


def decide_signed(a_low: int, a_high: int, b_low: int, b_high: int, op: int) -> int:
    """1, 0 or -1 (not known) for JSGT, JSGE, JSLT, JSLE of signed bounds."""
    if op == uapi.BPF_JSGT:
        return 1 if a_low > b_high else 0 if a_high <= b_low else -1
    if op == uapi.BPF_JSGE:
        return 1 if a_low >= b_high else 0 if a_high < b_low else -1
    if op == uapi.BPF_JSLT:
        return 1 if a_high < b_low else 0 if a_low >= b_high else -1
    return 1 if a_high <= b_low else 0 if a_low > b_high else -1


def _apart32(a: Range, b: Range) -> bool:
    return (a.u32min > b.u32max or a.u32max < b.u32min
            or a.s32min > b.s32max or a.s32max < b.s32min)


def _decide_equal(a: Range, b: Range, is32: bool) -> int:
    av, am, bv, bm = a.vv, a.vm, b.vv, b.vm
    if is32:
        av, am, bv, bm = av & uapi.U32, am & uapi.U32, bv & uapi.U32, bm & uapi.U32
    if am == 0 and bm == 0:
        return 1 if av == bv else 0
    if not tnum.overlap(av, am, bv, bm) or _apart32(a, b):
        return 0
    if not is32 and (a.umin > b.umax or a.umax < b.umin or a.smin > b.smax or a.smax < b.smin):
        return 0
    return -1


def _decide_set(a: Range, b: Range, is32: bool) -> int:
    av, am, bv, bm = a.vv, a.vm, b.vv, b.vm
    if is32:
        av, am, bv, bm = av & uapi.U32, am & uapi.U32, bv & uapi.U32, bm & uapi.U32
    if bm:
        av, am, bv, bm = bv, bm, av, am
    if bm:
        return -1
    if av & bv:
        return 1
    return -1 if (av | am) & bv else 0


def decide(a: Range, b: Range, op: int, is32: bool) -> int:
    """Whether `a OP b` holds: 1 always, 0 never, -1 not known."""
    if op == uapi.BPF_JEQ:
        return _decide_equal(a, b, is32)
    if op == uapi.BPF_JNE:
        equal = _decide_equal(a, b, is32)
        return -1 if equal < 0 else 1 - equal
    if op == uapi.BPF_JSET:
        return _decide_set(a, b, is32)
    if op in (uapi.BPF_JGT, uapi.BPF_JGE, uapi.BPF_JLT, uapi.BPF_JLE):
        if is32:
            return decide_unsigned(a.u32min, a.u32max, b.u32min, b.u32max, op)
        return decide_unsigned(a.umin, a.umax, b.umin, b.umax, op)
    if is32:
        return decide_signed(a.s32min, a.s32max, b.s32min, b.s32max, op)
    return decide_signed(a.smin, a.smax, b.smin, b.smax, op)


def refine(a: Range, b: Range, op: int, is32: bool) -> None:
    """Narrow both, given that `a OP b` holds; not synced."""
    if op == uapi.BPF_JEQ:
        if is32:
            _equal32(a, b)
        else:
            _equal(a, b)
    elif op in (uapi.BPF_JNE, uapi.BPF_JSET, JSET_NOT):
        _with_constant(a, b, op, is32)
    elif op in (uapi.BPF_JGT, uapi.BPF_JGE, uapi.BPF_JSGT, uapi.BPF_JSGE):
        _less(b, a, MIRRORED[op], is32)
    else:
        _less(a, b, op, is32)


def _equal(a: Range, b: Range) -> None:
    a.umin = b.umin = max(a.umin, b.umin)
    a.umax = b.umax = min(a.umax, b.umax)
    a.smin = b.smin = max(a.smin, b.smin)
    a.smax = b.smax = min(a.smax, b.smax)
    a.vv, a.vm = tnum.intersect(a.vv, a.vm, b.vv, b.vm)
    b.vv, b.vm = a.vv, a.vm


def _equal32(a: Range, b: Range) -> None:
    a.u32min = b.u32min = max(a.u32min, b.u32min)
    a.u32max = b.u32max = min(a.u32max, b.u32max)
    a.s32min = b.s32min = max(a.s32min, b.s32min)
    a.s32max = b.s32max = min(a.s32max, b.s32max)
    vv, vm = tnum.intersect(a.vv & uapi.U32, a.vm & uapi.U32, b.vv & uapi.U32, b.vm & uapi.U32)
    ranges.set_subreg(a, vv, vm)
    ranges.set_subreg(b, vv, vm)


def _constant(r: Range, is32: bool) -> bool:
    return ranges.is_const32(r) if is32 else ranges.is_const(r)


def _with_constant(a: Range, b: Range, op: int, is32: bool) -> None:
    """What is learnt only where one side is a constant."""
    if not _constant(b, is32):
        a, b = b, a
    if not _constant(b, is32):
        return
    value = b.vv & uapi.U32 if is32 else b.vv
    if op == uapi.BPF_JNE:
        if is32:
            _not_edge32(a, value)
        else:
            _not_edge(a, value)
    elif op == JSET_NOT:
        _clear_bits(a, value, is32)
    elif value and value & (value - 1) == 0:
        # only a single bit is known to be the one that is set
        vv, vm = tnum.bor(a.vv, a.vm, value, 0)
        if is32:
            ranges.set_subreg(a, vv, vm)
        else:
            a.vv, a.vm = vv, vm


def _clear_bits(a: Range, value: int, is32: bool) -> None:
    vv, vm = tnum.band(a.vv, a.vm, ~value & uapi.U64, 0)
    ranges.unbounded64(a)
    ranges.unbounded32(a)
    if is32:
        ranges.set_subreg(a, vv, vm)
    else:
        a.vv, a.vm = vv, vm


def _not_edge(a: Range, value: int) -> None:
    signed = bits.s64(value)
    a.umin += a.umin == value
    a.umax -= a.umax == value
    a.smin += a.smin == signed
    a.smax -= a.smax == signed


def _not_edge32(a: Range, value: int) -> None:
    signed = bits.s32(value)
    a.u32min += a.u32min == value
    a.u32max -= a.u32max == value
    a.s32min += a.s32min == signed
    a.s32max -= a.s32max == signed


def _less(a: Range, b: Range, op: int, is32: bool) -> None:
    """JLE, JLT, JSLE, JSLT"""
    gap = 1 if op in (uapi.BPF_JLT, uapi.BPF_JSLT) else 0
    if op in (uapi.BPF_JLE, uapi.BPF_JLT):
        if is32:
            a.u32max = min(a.u32max, (b.u32max - gap) & uapi.U32)
            b.u32min = max((a.u32min + gap) & uapi.U32, b.u32min)
        else:
            a.umax = min(a.umax, (b.umax - gap) & uapi.U64)
            b.umin = max((a.umin + gap) & uapi.U64, b.umin)
    elif is32:
        a.s32max = min(a.s32max, b.s32max - gap)
        b.s32min = max(a.s32min + gap, b.s32min)
    else:
        a.smax = min(a.smax, b.smax - gap)
        b.smin = max(a.smin + gap, b.smin)
