"""What each instruction does, as small pure functions (kernel/bpf/core.c, ___bpf_prog_run).

This is the oracle that the engines are tested against: written for reading, not for speed.
Values are unsigned 64-bit numbers; `byteorder` is that of the machine that runs the program.
`isa.reference` strings these functions together into a slow interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from anybpf import uapi
from anybpf.bits import s8, s16, s32, s64
from anybpf.errors import NotSupported
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import ByteOrder, Insn

# -- arithmetic: (a, b, bits) of unsigned numbers of that width; the caller cuts the result


def _signed(x: int, bits: int) -> int:
    return s64(x) if bits == 64 else s32(x)


def add(a: int, b: int, bits: int) -> int:
    """The sum, wrapping."""
    return a + b


def sub(a: int, b: int, bits: int) -> int:
    """The difference, wrapping."""
    return a - b


def mul(a: int, b: int, bits: int) -> int:
    """The product, wrapping."""
    return a * b


def div(a: int, b: int, bits: int) -> int:
    """The unsigned quotient; nothing divided by zero is zero."""
    return a // b if b else 0


def mod(a: int, b: int, bits: int) -> int:
    """The unsigned remainder; by zero it is what was to be divided."""
    return a % b if b else a


def sdiv(a: int, b: int, bits: int) -> int:
    """The signed quotient, towards zero; by zero it is zero; the smallest by -1 is itself."""
    x, y = _signed(a, bits), _signed(b, bits)
    if y == 0:
        return 0
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def smod(a: int, b: int, bits: int) -> int:
    """The signed remainder, with the sign of what is divided; by zero that is the result."""
    x, y = _signed(a, bits), _signed(b, bits)
    if y == 0:
        return a
    rest = abs(x) % abs(y)
    return -rest if x < 0 else rest


def or_(a: int, b: int, bits: int) -> int:
    """Bits set in either."""
    return a | b


def and_(a: int, b: int, bits: int) -> int:
    """Bits set in both."""
    return a & b


def xor(a: int, b: int, bits: int) -> int:
    """Bits set in one of them."""
    return a ^ b


def lsh(a: int, b: int, bits: int) -> int:
    """Shifted left; only the low five or six bits of the distance count."""
    return a << (b & bits - 1)


def rsh(a: int, b: int, bits: int) -> int:
    """Shifted right, zeros coming in."""
    return a >> (b & bits - 1)


def arsh(a: int, b: int, bits: int) -> int:
    """Shifted right, copies of the sign coming in."""
    return _signed(a, bits) >> (b & bits - 1)


def mov(a: int, b: int, bits: int) -> int:
    """The second operand."""
    return b


Alu = Callable[[int, int, int], int]
ALU: dict[int, Alu] = {
    uapi.BPF_ADD: add,
    uapi.BPF_SUB: sub,
    uapi.BPF_MUL: mul,
    uapi.BPF_DIV: div,
    uapi.BPF_OR: or_,
    uapi.BPF_AND: and_,
    uapi.BPF_LSH: lsh,
    uapi.BPF_RSH: rsh,
    uapi.BPF_MOD: mod,
    uapi.BPF_XOR: xor,
    uapi.BPF_MOV: mov,
    uapi.BPF_ARSH: arsh,
}
SIGNED_ALU: dict[int, Alu] = {uapi.BPF_DIV: sdiv, uapi.BPF_MOD: smod}


def alu(insn: Insn, dst: int, src: int, byteorder: ByteOrder = "little") -> int:
    """The new value of the destination of any instruction of class ALU or ALU64.

    `dst` and `src` are the two registers' values; a 32-bit result has a zero upper half.
    """
    bits = 64 if insn.cls == uapi.BPF_ALU64 else 32
    mask = uapi.U64 if bits == 64 else uapi.U32
    if insn.op == uapi.BPF_NEG:
        return -dst & mask
    if insn.op == uapi.BPF_END:
        return _swap(insn, dst, byteorder)
    operand = src if insn.uses_reg else insn.imm
    if insn.op == uapi.BPF_MOV and insn.uses_reg:
        return _move(insn, src) & mask
    signed = SIGNED_ALU.get(insn.op) if insn.off == 1 else None
    return (signed or ALU[insn.op])(dst & mask, operand & mask, bits) & mask


_EXTEND: dict[int, Callable[[int], int]] = {8: s8, 16: s16, 32: s32}


def _move(insn: Insn, src: int) -> int:
    """Plain, sign-extending, or between address spaces (with no arena: the lower half)."""
    if insn.off == tab.ADDR_SPACE_CAST and insn.cls == uapi.BPF_ALU64:
        return src & uapi.U32
    if insn.off == tab.ADDR_PERCPU and insn.cls == uapi.BPF_ALU64:
        raise NotSupported("per-CPU addresses in the reference interpreter", "6.10")
    return _EXTEND[insn.off](src) if insn.off in _EXTEND else src


def _swap(insn: Insn, value: int, byteorder: ByteOrder) -> int:
    """The lower `imm` bits, their bytes reversed unless they are in the wanted order already."""
    size = insn.imm // 8
    data = (value & (1 << insn.imm) - 1).to_bytes(size, "little")
    reverse = insn.cls == uapi.BPF_ALU64 or (byteorder == "little") == bool(
        insn.code & uapi.BPF_TO_BE
    )
    return int.from_bytes(data, "big" if reverse else "little")


# -- comparisons

Compare = Callable[[int, int, int], bool]
COMPARE: dict[int, Compare] = {
    uapi.BPF_JEQ: lambda a, b, bits: a == b,
    uapi.BPF_JNE: lambda a, b, bits: a != b,
    uapi.BPF_JGT: lambda a, b, bits: a > b,
    uapi.BPF_JGE: lambda a, b, bits: a >= b,
    uapi.BPF_JLT: lambda a, b, bits: a < b,
    uapi.BPF_JLE: lambda a, b, bits: a <= b,
    uapi.BPF_JSET: lambda a, b, bits: bool(a & b),
    uapi.BPF_JSGT: lambda a, b, bits: _signed(a, bits) > _signed(b, bits),
    uapi.BPF_JSGE: lambda a, b, bits: _signed(a, bits) >= _signed(b, bits),
    uapi.BPF_JSLT: lambda a, b, bits: _signed(a, bits) < _signed(b, bits),
    uapi.BPF_JSLE: lambda a, b, bits: _signed(a, bits) <= _signed(b, bits),
}


def taken(insn: Insn, dst: int, src: int) -> bool:
    """Whether a conditional jump jumps, given the values of its two registers."""
    bits = 64 if insn.cls == uapi.BPF_JMP else 32
    mask = uapi.U64 if bits == 64 else uapi.U32
    operand = src if insn.uses_reg else insn.imm
    return COMPARE[insn.op](dst & mask, operand & mask, bits)


# -- memory


def loaded(insn: Insn, data: bytes, byteorder: ByteOrder = "little") -> int:
    """The destination's new value after a load (`LDX`, either mode) of `data`."""
    signed = insn.mode == uapi.BPF_MEMSX
    return int.from_bytes(data, byteorder, signed=signed) & uapi.U64


def stored(insn: Insn, src: int, byteorder: ByteOrder = "little") -> bytes:
    """The bytes that a store writes: of the source register's value `src`, or the immediate."""
    value = src if insn.cls == uapi.BPF_STX else insn.imm
    mask = (1 << 8 * insn.size_bytes) - 1
    return (value & mask).to_bytes(insn.size_bytes, byteorder)


def packet_value(data: bytes) -> int:
    """What a legacy packet load gives: network byte order to a number."""
    return int.from_bytes(data, "big")


class Atomic(NamedTuple):
    """The outcome of an atomic: what memory holds now, and which register gets which value."""

    #: None: memory is only read
    memory: int | None
    #: None: no register changes
    register: int | None = None
    value: int = 0


def atomic(insn: Insn, old: int, src: int, r0: int) -> Atomic:
    """Any atomic instruction on memory that holds `old`; `src` is the source register's value.

    Only the operand's width takes part, and what a register gets is zero-extended.
    """
    mask = (1 << 8 * insn.size_bytes) - 1
    src &= mask
    if insn.imm in (uapi.BPF_LOAD_ACQ, uapi.BPF_STORE_REL):
        is_load = insn.imm == uapi.BPF_LOAD_ACQ
        return Atomic(None, insn.dst, old) if is_load else Atomic(src)
    if insn.imm == uapi.BPF_XCHG:
        return Atomic(src, insn.src, old)
    if insn.imm == uapi.BPF_CMPXCHG:
        return Atomic(src if old == r0 & mask else old, uapi.BPF_REG_0, old)
    new = ALU[insn.imm & ~uapi.BPF_FETCH](old, src, 8 * insn.size_bytes) & mask
    return Atomic(new, insn.src, old) if insn.imm & uapi.BPF_FETCH else Atomic(new)
