"""The kernel's text of instructions (kernel/bpf/disasm.c).

This is how the verifier's log and `bpftool prog dump xlated` write them: `(b7) r0 = 1`. It drops
fields that the instruction does not use, so it is for reading; `isa.llvm` writes text that
assembles to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from anybpf import uapi
from anybpf.bits import s32
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import Insn, imm64, is_ld_imm64

_HELPERS = {number: name.replace("BPF_FUNC_", "bpf_", 1) for name, number in uapi.BPF_FUNC_ID}
_HELPER_END = uapi.__BPF_FUNC_MAX_ID


class Callbacks(NamedTuple):
    """What the caller knows better: names of call targets and of 64-bit immediates.

    Each function may return None to leave the text as it is.
    """

    #: the text after `call `
    call: Callable[[Insn], str | None] | None = None
    #: the text after `rN = ` of a 64-bit immediate load, given its first slot and the number
    imm: Callable[[Insn, int], str | None] | None = None


_NO_CALLBACKS = Callbacks()


def helper_name(number: int) -> str:
    """`bpf_map_lookup_elem` for 1, and `unknown` where there is no such helper."""
    return _HELPERS.get(number, "unknown") if 0 <= number < _HELPER_END else "unknown"


def helper_number(name: str) -> int | None:
    """The helper's id from its name (`bpf_` may be left out), or None."""
    return _NUMBERS.get(name if name.startswith("bpf_") else "bpf_" + name)


_NUMBERS = {name: number for number, name in _HELPERS.items() if number < _HELPER_END}


def call_name(insn: Insn) -> str:
    """What the kernel writes after `call ` when nobody knows better."""
    if insn.src == uapi.BPF_PSEUDO_CALL:
        return f"pc{insn.imm:+d}"
    if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
        return f"kernel-function#{insn.imm}"
    name = helper_name(insn.imm) if insn.src == 0 else "unknown"
    return f"{name}#{insn.imm}"


def insn_text(insn: Insn, hi: Insn | None = None, callbacks: Callbacks = _NO_CALLBACKS) -> str:
    """The kernel's text of one instruction, without its index; `hi` is the next slot.

    `hi` matters only for a 64-bit immediate load, whose upper half it holds.
    """
    writer = _CLASSES[insn.cls]
    text = writer(insn, hi, callbacks)
    return text if text.startswith("BUG") else f"({insn.code:02x}) {text}"


def disasm(insns: Sequence[Insn], callbacks: Callbacks = _NO_CALLBACKS) -> Iterator[str]:
    """Lines `INDEX: (OPCODE) TEXT`, one for each instruction, as the verifier's log has them."""
    for index, text in listing(insns, callbacks):
        yield f"{index}: {text}"


def xlated_imm(insn: Insn, number: int) -> str | None:
    """How bpftool writes what a 64-bit immediate of a loaded program points at; None: a number.

    In the instructions that the kernel gives back, the lower half is a map's id.
    """
    low, high = number & uapi.U32, number >> 32
    return {
        uapi.BPF_PSEUDO_MAP_FD: f"map[id:{low}]",
        uapi.BPF_PSEUDO_MAP_VALUE: f"map[id:{low}][0]+{high}",
        uapi.BPF_PSEUDO_MAP_IDX_VALUE: f"map[idx:{low}]+{high}",
        uapi.BPF_PSEUDO_FUNC: f"subprog[{s32(low):+d}]",
    }.get(insn.src)


XLATED = Callbacks(imm=xlated_imm)


def xlated(insns: Sequence[Insn], callbacks: Callbacks = XLATED) -> Iterator[str]:
    """Lines as `bpftool prog dump xlated` writes them, without source lines."""
    for index, text in listing(insns, callbacks):
        yield f"{index:4}: {text}"


def listing(
    insns: Sequence[Insn], callbacks: Callbacks = _NO_CALLBACKS
) -> Iterator[tuple[int, str]]:
    """Slot index and kernel text of each instruction."""
    index = 0
    while index < len(insns):
        hi = insns[index + 1] if index + 1 < len(insns) else None
        yield index, insn_text(insns[index], hi, callbacks)
        index += 2 if is_ld_imm64(insns[index]) else 1


def _alu(insn: Insn, hi: Insn | None, callbacks: Callbacks) -> str:
    reg = tab.REG_LETTER[insn.cls]
    if insn.op == uapi.BPF_END:
        return _swap(insn)
    if insn.op == uapi.BPF_NEG:
        return f"{reg}{insn.dst} = -{reg}{insn.dst}"
    symbol = _alu_symbol(insn)
    if symbol is None:
        return f"BUG_alu_{insn.code:02x}"
    if not insn.uses_reg:
        return f"{reg}{insn.dst} {symbol} {insn.imm}"
    return _special_move(insn) or f"{reg}{insn.dst} {symbol} {_cast(insn)}{reg}{insn.src}"


def _alu_symbol(insn: Insn) -> str | None:
    if insn.off == 1 and insn.op in tab.SIGNED_ALU_SYMBOLS:
        return tab.SIGNED_ALU_SYMBOLS[insn.op]
    return tab.ALU_SYMBOLS.get(insn.op)


def _cast(insn: Insn) -> str:
    """The `(s8)` of a sign-extending move."""
    name = tab.MOVSX_NAMES.get(insn.off) if insn.op == uapi.BPF_MOV else None
    return f"({name})" if name else ""


def _special_move(insn: Insn) -> str | None:
    """The two 64-bit moves that change an address."""
    if insn.code != uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_X:
        return None
    if insn.off == tab.ADDR_SPACE_CAST:
        spaces = f"{insn.imm >> 16 & uapi.U16}, {insn.imm & uapi.U16}"
        return f"r{insn.dst} = addr_space_cast(r{insn.src}, {spaces})"
    if insn.off == tab.ADDR_PERCPU:
        return f"r{insn.dst} = &(void __percpu *)(r{insn.src})"
    return None


def _swap(insn: Insn) -> str:
    kind = "bswap" if insn.cls == uapi.BPF_ALU64 else "be" if insn.code & uapi.BPF_TO_BE else "le"
    return f"r{insn.dst} = {kind}{insn.imm} r{insn.dst}"


def _where(base: int, off: int, size: str) -> str:
    return f"*({size} *)(r{base} {off:+d})"


def _ldx(insn: Insn, hi: Insn | None, callbacks: Callbacks) -> str:
    names = _LOADS.get(insn.mode)
    if names is None or insn.size not in names:
        return f"BUG_ldx_{insn.code:02x}"
    return f"r{insn.dst} = {_where(insn.src, insn.off, names[insn.size])}"


_LOADS = {uapi.BPF_MEM: tab.SIZE_NAMES, uapi.BPF_MEMSX: tab.SIGNED_SIZE_NAMES}


def _st(insn: Insn, hi: Insn | None, callbacks: Callbacks) -> str:
    if insn.mode == uapi.BPF_MEM:
        return f"{_where(insn.dst, insn.off, tab.SIZE_NAMES[insn.size])} = {insn.imm}"
    return "nospec" if insn.mode == tab.NOSPEC & 0xE0 else f"BUG_st_{insn.code:02x}"


def _stx(insn: Insn, hi: Insn | None, callbacks: Callbacks) -> str:
    if insn.mode == uapi.BPF_MEM:
        return f"{_where(insn.dst, insn.off, tab.SIZE_NAMES[insn.size])} = r{insn.src}"
    text = _atomic(insn) if insn.mode == uapi.BPF_ATOMIC else None
    return text or f"BUG_{insn.code:02x}"


def _atomic(insn: Insn) -> str | None:
    where = _where(insn.dst, insn.off, tab.SIZE_NAMES[insn.size])
    if insn.imm in tab.ATOMIC_SYMBOLS:
        return f"lock {where} {tab.ATOMIC_SYMBOLS[insn.imm]} r{insn.src}"
    return _returning_atomic(insn)


def _returning_atomic(insn: Insn) -> str | None:
    """Atomics written as calls, which take the address and not what is there."""
    size = tab.SIZE_NAMES[insn.size]
    prefix = "atomic64" if insn.size == uapi.BPF_DW else "atomic"
    if insn.imm == uapi.BPF_LOAD_ACQ:
        return f"r{insn.dst} = load_acquire(({size} *)(r{insn.src} {insn.off:+d}))"
    place, reg = f"({size} *)(r{insn.dst} {insn.off:+d})", f"r{insn.src}"
    if insn.imm in tab.FETCH_NAMES:
        return f"{reg} = {prefix}_fetch_{tab.FETCH_NAMES[insn.imm]}({place}, {reg})"
    return {
        uapi.BPF_XCHG: f"{reg} = {prefix}_xchg({place}, {reg})",
        uapi.BPF_CMPXCHG: f"r0 = {prefix}_cmpxchg({place}, r0, {reg})",
        uapi.BPF_STORE_REL: f"store_release({place}, {reg})",
    }.get(insn.imm)


def _ld(insn: Insn, hi: Insn | None, callbacks: Callbacks) -> str:
    size = tab.SIZE_NAMES[insn.size]
    if insn.mode == uapi.BPF_ABS:
        return f"r0 = *({size} *)skb[{insn.imm}]"
    if insn.mode == uapi.BPF_IND:
        return f"r0 = *({size} *)skb[r{insn.src} + {insn.imm}]"
    if is_ld_imm64(insn):
        number = imm64(insn, hi or Insn(0))
        text = callbacks.imm(insn, number) if callbacks.imm else None
        return f"r{insn.dst} = {text if text is not None else hex(number)}"
    return f"BUG_ld_{insn.code:02x}"


def _jmp(insn: Insn, hi: Insn | None, callbacks: Callbacks) -> str:
    simple = _JUMPS.get(insn.code)
    if simple:
        return simple(insn)
    if insn.op == uapi.BPF_CALL:
        text = callbacks.call(insn) if callbacks.call else None
        return f"call {text if text is not None else call_name(insn)}"
    reg = tab.REG_LETTER[insn.cls]
    other = f"{reg}{insn.src}" if insn.uses_reg else f"{insn.imm & uapi.U32:#x}"
    # a comparison that does not exist prints as the null pointer that it is in the kernel's table
    symbol = tab.JMP_SYMBOLS.get(insn.op, "(null)")
    return f"if {reg}{insn.dst} {symbol} {other} goto pc{insn.off:+d}"


_JUMPS: dict[int, Callable[[Insn], str]] = {
    uapi.BPF_JMP | uapi.BPF_JA: lambda insn: f"goto pc{insn.off:+d}",
    uapi.BPF_JMP32 | uapi.BPF_JA: lambda insn: f"gotol pc{insn.imm:+d}",
    uapi.BPF_JMP | uapi.BPF_EXIT: lambda insn: "exit",
    tab.MAY_GOTO: lambda insn: (
        f"may_goto pc{insn.off:+d}" if insn.src == 0
        else f"if r{insn.dst} (null) {insn.imm & uapi.U32:#x} goto pc{insn.off:+d}"
    ),
}

_Writer = Callable[[Insn, Insn | None, Callbacks], str]
_CLASSES: dict[int, _Writer] = {
    uapi.BPF_LD: _ld,
    uapi.BPF_LDX: _ldx,
    uapi.BPF_ST: _st,
    uapi.BPF_STX: _stx,
    uapi.BPF_ALU: _alu,
    uapi.BPF_JMP: _jmp,
    uapi.BPF_JMP32: _jmp,
    uapi.BPF_ALU64: _alu,
}
