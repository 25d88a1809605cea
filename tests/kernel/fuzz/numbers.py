"""Statements of arithmetic and comparison."""

from __future__ import annotations

from kernel.fuzz.program import ALU, CONDITIONS, Program


def alu(p: Program) -> None:
    """Arithmetic of either width."""
    op, width = p.random.choice(ALU), p.random.choice("rrw")
    dst = p.number_reg()
    operand: str | int = f"{width}{p.number_reg()}"
    if p.chance(0.6):
        operand = p.number()
        if op in ("<<=", ">>=", "s>>="):
            operand = p.random.randrange(64 if width == "r" else 32)
        elif "/" in op or "%" in op:
            operand = operand or 3
    p.emit(f"{width}{dst} {op} {operand}")


def move(p: Program) -> None:
    """Copies, constants, extensions."""
    dst, src = p.random.randrange(6), p.number_reg()
    p.emit(p.pick(
        f"r{dst} = r{src}", f"r{dst} = r{src}", f"w{dst} = w{src}",
        f"r{dst} = {p.number()}", f"w{dst} = {p.number()}",
        f"r{dst} = (s8)r{src}", f"r{dst} = (s16)r{src}", f"r{dst} = (s32)r{src}",
        f"w{dst} = (s8)w{src}", f"w{dst} = (s16)w{src}",
        f"r{dst} = {p.random.getrandbits(64):#x} ll"))
    p.scalars.add(dst)


def unary(p: Program) -> None:
    """Negation and byte order."""
    reg = p.number_reg()
    bits = p.random.choice((16, 32, 64))
    p.emit(p.pick(f"r{reg} = -r{reg}", f"w{reg} = -w{reg}", f"r{reg} = be{bits} r{reg}",
                  f"r{reg} = le{bits} r{reg}", f"r{reg} = bswap{bits} r{reg}"))


def mask(p: Program) -> None:
    """A number that becomes small, so that it may be an offset or a size."""
    reg = p.number_reg()
    p.emit(p.pick(f"r{reg} &= {p.random.choice((1, 3, 7, 8, 15, 31, 63, 255))}",
                  f"w{reg} &= {p.random.choice((1, 7, 15, 48, 63))}",
                  f"r{reg} >>= {p.random.choice((56, 60, 62))}", f"r{reg} %= 9",
                  f"r{reg} s>>= 63", f"w{reg} s>>= 31", f"w{reg} >>= 28"))


def condition(p: Program, taken: str) -> str:
    """`if ... goto taken`, of any width and operands."""
    width = p.random.choice("rrw")
    other = f"{width}{p.number_reg()}" if p.chance(0.4) else p.number()
    return f"if {width}{p.number_reg()} {p.random.choice(CONDITIONS)} {other} goto {taken}"


def branch(p: Program) -> None:
    """A comparison over a few statements."""
    label = p.label()
    p.emit(condition(p, label))
    p.inside(SIMPLE, 3)
    p.emit(f"{label}:")


def either(p: Program) -> None:
    """Two ways that meet."""
    other, end = p.label(), p.label()
    p.emit(condition(p, other))
    before, stored, spilled = set(p.scalars), set(p.stored), dict(p.spilled)
    p.inside(SIMPLE, 2)
    p.emit(f"goto {end}", f"{other}:")
    left = set(p.scalars), set(p.stored), dict(p.spilled)
    p.scalars, p.stored, p.spilled = before, stored, spilled
    p.inside(SIMPLE, 2)
    p.emit(f"{end}:")
    p.scalars &= left[0]
    p.stored &= left[1]
    p.spilled = {k: v for k, v in p.spilled.items() if left[2].get(k) == v}


def bounded(p: Program) -> None:
    """A number that goes on only inside of bounds."""
    reg, low, high = p.number_reg(), p.random.randrange(-8, 8), p.random.choice((7, 15, 64, 300))
    end = p.label()
    width = p.random.choice("rrw")
    p.emit(f"if {width}{reg} s< {low} goto {end}", f"if {width}{reg} s> {high} goto {end}")
    p.inside(SIMPLE, 3)
    p.emit(f"{end}:")


def linked(p: Program) -> None:
    """A copy, moved by a constant; then one of the two is compared, and the other learns."""
    src = p.number_reg()
    dst = p.random.choice([r for r in range(6) if r != src])
    label, width = p.label(), p.random.choice("rrw")
    if p.chance(0.3):
        p.emit(f"w{src} = w{src}")
    p.emit(f"r{dst} = r{src}" if width == "r" or p.chance(0.7) else f"w{dst} = w{src}")
    p.scalars.add(dst)
    if p.chance(0.7):
        p.emit(f"{width}{dst} {p.pick('+=', '-=')} {p.random.choice((1, 4, 8, -1, -16, 100))}")
    if p.chance(0.3):
        p.emit(f"*(u64 *)(r10 - 64) = r{p.pick(str(src), str(dst))}")
        p.wrote(-64)
    if p.chance(0.15):
        p.emit(f"r{dst} += {p.random.choice((1, -4))}")
    p.emit(f"if {width}{p.random.choice((src, dst))} {p.random.choice(CONDITIONS)} "
           f"{p.random.choice((0, 7, 8, 15, 64, -1, -16))} goto {label}")
    if p.chance(0.5):
        # the other one decides something now
        p.emit(f"if r{p.random.choice((src, dst))} {p.random.choice(CONDITIONS)} "
               f"{p.random.choice((0, 8, 23, 200))} goto {label}")
    p.inside(SIMPLE, 2)
    p.emit(f"{label}:")


def same(p: Program) -> None:
    """A register compared with itself or a copy."""
    reg, label = p.number_reg(), p.label()
    p.emit(f"if r{reg} {p.random.choice(CONDITIONS)} r{reg} goto {label}")
    p.inside(SIMPLE, 1)
    p.emit(f"{label}:")


#: filled by `statements`
SIMPLE: list = []  # type: ignore[type-arg]
