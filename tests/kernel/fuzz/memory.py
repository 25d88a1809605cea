"""Statements that access the stack, packets, map values and the context."""

from __future__ import annotations

from kernel.fuzz.numbers import SIMPLE
from kernel.fuzz.program import SIZES, Program, needs


def store(p: Program) -> None:
    """Spill a number, or store a constant."""
    size = p.pick(*SIZES, "u64", "u64")
    off = -SIZES[size] * p.random.randint(1, 64 // SIZES[size])
    what = f"r{p.number_reg()}" if p.chance(0.8) else str(p.number())
    p.emit(f"*({size} *)(r10 - {-off}) = {what}")
    p.wrote(off, SIZES[size])


def load(p: Program) -> None:
    """Fill from what was stored, whole or in part."""
    if not p.stored:
        return
    size, dst = p.pick(*SIZES, "u64", "u64"), p.random.randrange(6)
    base = p.random.choice(sorted(p.stored))
    off = base + SIZES[size] * p.random.randrange(8 // SIZES[size])
    off -= off % SIZES[size] if p.chance(0.95) else 0
    sign = "s" if size != "u64" and p.chance(0.2) else "u"
    p.emit(f"r{dst} = *({sign}{size[1:]} *)(r10 - {-off})")
    p.scalars.add(dst)


def spill_pointer(p: Program) -> None:
    """Keep the context, the frame or the packet on the stack."""
    slot = -8 * p.random.randint(1, 8)
    reg, what = p.random.choice((("r6", "ctx"), ("r10", "stack"),
                                 *((("r7", "packet"),) if p.kind.data >= 0 else ())))
    p.emit(f"*(u64 *)(r10 - {-slot}) = {reg}")
    p.wrote(slot)
    p.stored.discard(slot)
    p.spilled[slot] = what


def fill_pointer(p: Program) -> None:
    """Take a pointer back and use it."""
    if not p.spilled:
        return
    slot, what = p.random.choice(sorted(p.spilled.items()))
    reg = p.random.choice((1, 2, 3, 4, 5))
    p.clobber(reg)
    p.emit(f"r{reg} = *(u64 *)(r10 - {-slot})")
    if what == "ctx":
        size, off = p.random.choice(p.kind.reads)
        p.emit(f"r{reg} = *({size} *)(r{reg} + {off})")
        p.scalars.add(reg)
    elif what == "stack":
        p.emit(p.pick(f"*(u64 *)(r{reg} - 16) = 0", f"*(u32 *)(r{reg} - 12) = r9"))
        p.wrote(-16)
    elif p.chance(0.5):
        p.emit("r7 = r" + str(reg))


def stack_variable(p: Program) -> None:
    """An access of the stack at an offset that is not known."""
    reg, mask = p.number_reg(), p.random.choice((7, 8, 15, 24, 56))
    p.emit(f"r5 = r{reg}", f"r5 &= {mask}", "r4 = r10", "r4 += -64", "r4 += r5")
    value = p.random.choice([r for r in p.scalars if r not in (4, 5)] or [9])
    p.emit(p.pick(f"*(u8 *)(r4 + 0) = r{value}", "*(u8 *)(r4 + 0) = 0", "r3 = *(u8 *)(r4 + 0)",
                  f"*(u64 *)(r4 - 64) = r{value}", "r3 = *(u64 *)(r4 + 0)",
                  "*(u32 *)(r4 + 0) = 0"))
    p.clobber(4)
    p.scalars.add(5)
    if p.lines[-1].startswith("r3"):
        p.scalars.add(3)


def _bound_check(p: Program, pointer: str, label: str, end: str = "r8") -> str:
    return p.pick(f"if {pointer} > {end} goto {label}", f"if {pointer} >= {end} goto {label}",
                  f"if {end} < {pointer} goto {label}", f"if {end} <= {pointer} goto {label}")


@needs("packet")
def packet(p: Program) -> None:
    """A bounds check and accesses behind it."""
    label, reach = p.label(), p.random.choice((1, 2, 14, 34))
    p.emit("r2 = r7")
    p.clobber(2)
    if p.chance(0.4):
        p.emit(f"r3 = r{p.number_reg()}", f"r3 &= {p.random.choice((3, 15, 255, 65535))}",
               "r2 += r3")
        p.scalars.add(3)
    p.emit("r4 = r2", f"r4 += {reach}", _bound_check(p, "r4", label))
    p.clobber(4)
    off, size = p.random.choice((0, 0, reach - 1, reach - 1, reach)), p.pick("u8", "u8", "u16")
    p.emit(p.pick(f"r5 = *({size} *)(r2 + {off})", f"*({size} *)(r2 + {off}) = 1",
                  f"*({size} *)(r2 + {off}) = r9"))
    p.clobber(5)
    if p.chance(0.3):
        p.emit(f"if r8 < r2 goto {label}" if p.chance(0.5) else f"if r4 > r8 goto {label}")
    p.emit(f"{label}:")


@needs("packet")
def packet_else(p: Program) -> None:
    """The access stands where the check jumps to; an open check."""
    good, end, reach = p.label(), p.label(), p.random.choice((1, 8, 20))
    off = max(reach - p.random.choice((1, 1, 0, 2)), 0)
    p.emit("r2 = r7", f"r2 += {reach}",
           p.pick(f"if r2 <= r8 goto {good}", f"if r2 < r8 goto {good}",
                  f"if r8 >= r2 goto {good}", f"if r8 > r2 goto {good}"))
    p.emit(f"goto {end}", f"{good}:", f"r1 = *(u8 *)(r7 + {off})",
           f"{end}:")
    p.clobber(1, 2)


@needs("packet")
def packet_meta(p: Program) -> None:
    """Between the metadata and the packet."""
    if p.kind.meta < 0:
        return
    label = p.label()
    p.emit(f"r1 = *(u32 *)(r6 + {p.kind.meta})", "r2 = r1", f"r2 += {p.random.choice((4, 8))}",
           _bound_check(p, "r2", label, "r7"),
           p.pick("r3 = *(u32 *)(r1 + 0)", "r3 = *(u8 *)(r1 + 4)", "*(u32 *)(r1 + 0) = r9"),
           f"{label}:")
    p.clobber(1, 2, 3)


def map_value(p: Program) -> None:
    """A lookup and an access of the value."""
    label = p.label()
    key = f"w{p.number_reg()}" if p.chance(0.3) else p.random.choice((0, 1, 9))
    p.emit(f"w1 = {key}", "*(u32 *)(r10 - 4) = r1", "r2 = r10", "r2 += -4",
           f"r1 = {p.pick('array', 'hash')} ll", "call bpf_map_lookup_elem")
    p.clobber(0, 1, 2, 3, 4, 5)
    p.wrote(-8)
    if p.chance(0.2):
        p.emit("*(u64 *)(r10 - 32) = r0")
        p.wrote(-32)
        p.stored.discard(-32)
    p.emit(f"if r0 == 0 goto {label}")
    if p.chance(0.5):
        p.emit(f"r1 = r{p.number_reg()}", f"r1 &= {p.random.choice((3, 7, 8))}", "r0 += r1")
    if p.chance(0.3) and p.scalars:
        p.inside([s for s in SIMPLE if s.__name__ == "alu"], 2)
    p.emit(p.pick("r1 = *(u8 *)(r0 + 0)", "*(u8 *)(r0 + 0) = 1", "r1 = *(u64 *)(r0 + 0)",
                  "*(u8 *)(r0 + 7) = r9", "*(u64 *)(r0 + 0) = r9", "r1 = *(s16 *)(r0 + 0)",
                  "*(u64 *)(r0 + 0) = r10" if p.chance(0.05) else "r1 = *(u32 *)(r0 + 4)"),
           f"{label}:")
    if p.lines[-2].startswith("r1") and p.chance(0.3):
        p.emit("r0 = r9")
    else:
        p.emit("r0 = 1")
    p.scalars.add(0)


def value_address(p: Program) -> None:
    """A value of an array by its address."""
    name, size = p.random.choice((("one", 16), ("one", 16), ("readonly", 8), ("array", 8)))
    p.emit(f"r1 = {name}.value ll")
    p.clobber(1)
    if p.chance(0.5):
        p.emit(f"r2 = r{p.number_reg()}", f"r2 &= {p.random.choice((1, 7, 15))}", "r1 += r2")
        p.scalars.add(2)
    off = p.random.choice((0, 0, 4, size - 1, size))
    p.emit(p.pick(f"r3 = *(u8 *)(r1 + {off})", f"*(u8 *)(r1 + {off}) = r9",
                  f"r3 = *(u32 *)(r1 + {off})",
                  f"lock *(u64 *)(r1 + {off}) += r9"))
    if p.lines[-1].startswith("r3"):
        p.scalars.add(3)


def constant(p: Program) -> None:
    """A load from an array that never changes."""
    size = p.pick(*SIZES)
    off = p.random.randrange(16 // SIZES[size]) * SIZES[size]
    sign = "s" if size != "u64" and p.chance(0.3) else "u"
    dst = p.random.choice((0, 2, 3))
    p.emit("r1 = frozen.value ll")
    p.clobber(1)
    if p.chance(0.2):
        p.emit(f"r2 = r{p.number_reg()}", "r2 &= 7", "r1 += r2")
        p.scalars.add(2)
        off = min(off, 8)
    p.emit(f"r{dst} = *({sign}{size[1:]} *)(r1 + {off})")
    p.scalars.add(dst)


def variable_memory(p: Program) -> None:
    """A helper that reads or fills a part of the stack which is not known."""
    first, second = p.number_reg(), p.number_reg()
    fill = p.chance(0.4) and "skb" in p.kind.has
    p.emit(f"r5 = r{first}", f"r4 = r{second}", f"r5 &= {p.random.choice((7, 8, 31))}",
           f"r4 &= {p.random.choice((7, 16, 31))}")
    if fill:
        p.emit("r1 = r6", "r2 = 0", "r3 = r10", "r3 += -64", "r3 += r5",
               "if r4 == 0 goto +1", "call bpf_skb_load_bytes", "r0 = 0")
    else:
        p.emit("r1 = ring ll", "r2 = r10", "r2 += -64", "r2 += r5", "r3 = r4", "r4 = 0",
               "call bpf_ringbuf_output")
    p.called()
    p.spilled = {k: v for k, v in p.spilled.items() if k < -64}


def keep_value(p: Program) -> None:
    """A map's value, checked through a copy, kept on the stack meanwhile."""
    label, copy = p.label(), p.pick("r7", "r8", "r7") if p.kind.data < 0 else "r5"
    p.emit("*(u32 *)(r10 - 4) = 0", "r2 = r10", "r2 += -4", f"r1 = {p.pick('array', 'big')} ll",
           "*(u64 *)(r10 - 16) = 0", "call bpf_map_lookup_elem", f"{copy} = r0",
           "*(u64 *)(r10 - 24) = r0")
    p.clobber(0, 1, 2, 3, 4, 5)
    p.wrote(-8)
    p.wrote(-16)
    p.wrote(-24)
    p.stored.discard(-24)
    p.emit(p.pick(f"if {copy} == 0 goto {label}", f"if r0 == 0 goto {label}",
                  f"r1 = *(u64 *)(r10 - 24)\nif r1 == 0 goto {label}",
                  f"if r0 != 0 goto +1\ngoto {label}"),
           p.pick("r1 = *(u64 *)(r10 - 24)\nr1 = *(u64 *)(r1 + 0)", f"r1 = *(u64 *)({copy} + 0)",
                  "*(u64 *)(r0 + 0) = r9", f"r0 = {copy}\nr0 += 4\nr1 = *(u32 *)(r0 + 0)"),
           f"{label}:", "r0 = 0")
    p.scalars.add(0)


def atomic(p: Program) -> None:
    """Every atomic operation, on the stack."""
    size, number = p.random.choice((("u32", ""), ("u64", "_64")))
    width = "w" if size == "u32" else "r"
    off = -8 * p.random.randint(1, 8) + (4 if size == "u32" and p.chance(0.3) else 0)
    if off - off % 8 not in p.stored:
        p.emit(f"*(u64 *)(r10 - {-(off - off % 8)}) = {p.number()}")
        p.wrote(off)
    reg, at = p.number_reg(), f"({size} *)(r10 - {-off})"
    op = p.pick("add", "and", "or", "xor")
    sign = {"add": "+", "and": "&", "or": "|", "xor": "^"}[op]
    p.spilled.pop(off - off % 8, None)
    if 0 not in p.scalars:
        p.emit("r0 = 0")
        p.scalars.add(0)
    p.emit(p.pick(f"lock *{at} {sign}= {width}{reg}",
                  f"{width}{reg} = atomic_fetch_{op}({at}, {width}{reg})",
                  f"{width}{reg} = xchg{number or '32_32'}(r10 - {-off}, {width}{reg})",
                  f"{width}0 = cmpxchg{number or '32_32'}(r10 - {-off}, {width}0, {width}{reg})",
                  f"{width}{reg} = load_acquire({at})", f"store_release({at}, {width}{reg})"))


def context(p: Program) -> None:
    """Fields of the context."""
    size, off = p.random.choice(p.kind.reads)
    dst = p.random.randrange(6)
    if p.kind.writes and p.chance(0.3):
        size, off = p.random.choice(p.kind.writes)
        p.emit(f"*({size} *)(r6 + {off}) = {p.pick('r9', '0')}")
        return
    if p.chance(0.1):
        size, off = p.pick(*SIZES), p.random.randrange(0, 200)
    if off in (p.kind.data, p.kind.end, p.kind.meta):
        return
    p.emit(f"r{dst} = *({size} *)(r6 + {off})")
    p.scalars.add(dst)


@needs("filter")
def old_packet(p: Program) -> None:
    """LD_ABS and LD_IND."""
    size = p.pick("u8", "u16", "u32")
    p.emit(f"r0 = *({size} *)skb[{p.random.randrange(20)}]" if p.chance(0.5)
           else f"r0 = *({size} *)skb[r9 + 2]")
    p.called()


def wrong(p: Program) -> None:
    """Now and then something that is refused."""
    if p.chance(0.12):
        p.emit(p.pick(
            "r3 = *(u64 *)(r9 + 0)", "r10 += 1", "r3 = *(u8 *)(r10 + 8)", "r3 = r7", "r3 = r8",
            "*(u64 *)(r10 - 520) = r9", "r3 = *(u32 *)(r6 + 500)", "r6 += 8", "r7 += r9",
            "r3 = *(u8 *)(r7 + 0)", "r3 = r10", "r4 = r10", "r4 = r10\nr4 += r9",
            "*(u64 *)(r10 - 8) = r7", "r3 = *(u64 *)(r10 - 12)", "r3 = r6\nr3 *= 2",
            "r3 = r10\nr3 -= r10", "r2 = array ll\nr2 += 1", "*(u8 *)(r10 - 4) = r6",
            "r1 = r10\nr1 += -600\nr1 = *(u8 *)(r1 + 100)", "w3 = w10", "r2 = r6\nr2 = -r2",
            "if r10 > 5 goto +0", "if r6 == r7 goto +0", "if r10 == 0 goto +0", "exit",
            "goto +0", "r0 = *(u32 *)(r8 + 0)", "r6 = r9", "r3 = *(u32 *)(r10 - 504)"))
