"""Statements with kernel functions: iterators, sections, dynptrs, exceptions."""

from __future__ import annotations

from kernel.fuzz.numbers import SIMPLE, condition
from kernel.fuzz.program import CONDITIONS, Program, needs


def _slot(p: Program, size: int) -> int:
    """A place on the stack that only typed statements use."""
    return -72 - 8 * p.random.randint(0, 2) - size + 8


def _at(reg: int, off: int) -> tuple[str, str]:
    return f"r{reg} = r10", f"r{reg} += {off}"


def iterate(p: Program) -> None:
    """An open-coded iterator over numbers."""
    off, label, end = _slot(p, 8), p.label(), p.label()
    last = p.pick("r3 = 10", "r3 = 3", f"r3 = r{p.number_reg()}")
    p.emit(last, *_at(1, off), "r2 = 0", "call bpf_iter_num_new")
    p.called()
    p.emit(f"{label}:", *_at(1, off), "call bpf_iter_num_next", f"if r0 == 0 goto {end}")
    p.clobber(0, 1, 2, 3, 4, 5)
    p.emit("r1 = *(u32 *)(r0 + 0)")
    p.scalars.add(1)
    _iteration(p)
    p.emit(f"goto {label}", f"{end}:")
    p.clobber(1)
    if p.chance(0.95):
        p.emit(*_at(1, off), "call bpf_iter_num_destroy")
    p.emit("r0 = 0")
    p.called()


def _iteration(p: Program) -> None:
    """What is done in each round: sums, the stack, a way out."""
    way = p.random.choice((0, 1, 2, 3, 4))
    if way == 0:
        p.emit("r9 += r1")
    elif way == 1:
        p.emit("*(u64 *)(r10 - 32) = r1")
    elif way == 2:
        p.emit("r2 = r10", "r1 &= 7", "r2 += r1", "*(u8 *)(r2 - 64) = 1")
    elif way == 3:
        p.emit(f"if r1 {p.random.choice(CONDITIONS)} {p.number()} goto +1", "r9 ^= 3")
    before = set(p.scalars)
    if p.chance(0.4):
        p.inside(SIMPLE, 2)
    p.scalars = before - {1}


def section(p: Program) -> None:
    """RCU and preemption sections, mostly closed."""
    lock, unlock = p.random.choice((
        ("bpf_rcu_read_lock", "bpf_rcu_read_unlock"),
        ("bpf_preempt_disable", "bpf_preempt_enable")))
    label = p.label()
    p.emit(f"call {lock}")
    p.clobber(0, 1, 2, 3, 4, 5)
    p.inside(SIMPLE, 2)
    if p.chance(0.1):
        p.emit(condition(p, label))
    p.emit(f"call {unlock}")
    p.clobber(0, 1, 2, 3, 4, 5)
    p.emit(f"{label}:", "r0 = 0")
    p.scalars.add(0)


def dynptr_ringbuf(p: Program) -> None:
    """Reserve a record as a dynptr, write, submit."""
    off = _slot(p, 16)
    p.emit("r1 = ring ll", f"r2 = {p.random.choice((8, 16, 64))}", "r3 = 0", *_at(4, off),
           "call bpf_ringbuf_reserve_dynptr")
    p.called()
    if p.chance(0.6):
        label = p.label()
        p.emit(*_at(1, off), "r2 = 0", f"r3 = {p.random.choice((8, 4))}",
               "call bpf_dynptr_data", f"if r0 == 0 goto {label}",
               p.pick("*(u64 *)(r0 + 0) = r9", "r1 = *(u32 *)(r0 + 0)", "*(u8 *)(r0 + 3) = 0"),
               f"{label}:")
    if p.chance(0.4):
        p.emit("*(u64 *)(r10 - 64) = r9", *_at(1, off), "r2 = 0", *_at(3, -64), "r4 = 8", "r5 = 0",
               "call bpf_dynptr_write")
        p.wrote(-64)
    if p.chance(0.95):
        p.emit(*_at(1, off), "r2 = 0",
               p.pick("call bpf_ringbuf_submit_dynptr", "call bpf_ringbuf_discard_dynptr"))
    p.emit("r0 = 0")
    p.called()


@needs("packet")
def dynptr_packet(p: Program) -> None:
    """A dynptr of the packet, and a slice of it."""
    off, label = _slot(p, 16), p.label()
    make = "bpf_dynptr_from_xdp" if "xdp" in p.kind.has else "bpf_dynptr_from_skb"
    p.emit("r1 = r6", "r2 = 0", *_at(3, off), f"call {make}", "*(u64 *)(r10 - 32) = 0",
           *_at(1, off), "r2 = 0", *_at(3, -32), "r4 = 8", p.pick(
               "call bpf_dynptr_slice", "call bpf_dynptr_slice_rdwr"), f"if r0 == 0 goto {label}",
           p.pick("r1 = *(u32 *)(r0 + 4)", "*(u8 *)(r0 + 1) = 3", "r1 = *(u64 *)(r0 + 0)"),
           f"{label}:", "r0 = 0")
    p.wrote(-32)
    p.called()


def throw(p: Program) -> None:
    """An exception on one way."""
    label = p.label()
    p.emit(condition(p, label), "r1 = 0", "call bpf_throw", f"{label}:")
    p.clobber(0, 1, 2, 3, 4, 5)
    p.emit("r0 = 1")
    p.scalars.add(0)


TYPED = (iterate, iterate, iterate, section, dynptr_ringbuf, dynptr_packet, throw)
