"""Instructions as clang and llvm-objdump write them (llvm/lib/Target/BPF/BPFInstrInfo.td).

`text` is faithful to LLVM's spelling; `source` gives what `isa.asm` turns back into the very same
bytes, with labels, and `.insn` for slots that have no spelling of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from anybpf import uapi
from anybpf.isa import asm, disasm
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import (
    Insn,
    imm64,
    is_jump,
    is_ld_imm64,
    is_pseudo_call,
    is_pseudo_func,
    jump_offset,
    slots,
)

_Number = Callable[[int], str]


def _decimal(value: int) -> str:
    return str(value)


def _hexadecimal(value: int) -> str:
    return f"-{-value:#x}" if value < 0 else f"{value:#x}"


class _Writer:
    """The texts of one number style; every method gives a text, or None for no such instruction."""

    def __init__(self, number: _Number, target: str | None) -> None:
        self.number = number
        #: a label for the jump's or call's target, or None for the distance
        self.target = target

    def at(self, base: int, off: int) -> str:
        sign = "-" if off < 0 else "+"
        return f"r{base} {sign} {self.number(abs(off))}"

    def distance(self, value: int) -> str:
        sign = "" if value < 0 else "+"
        return self.target or f"{sign}{self.number(value)}"


def text(
    insn: Insn, hi: Insn | None = None, *, hexadecimal: bool = False, target: str | None = None
) -> str | None:
    """LLVM's text of one instruction (`hi`: the next slot), or None where it has none.

    `target` replaces the distance of a jump, call or function address; numbers are decimal as in
    the compiler's output, or `hexadecimal` as in llvm-objdump's.
    """
    writer = _Writer(_hexadecimal if hexadecimal else _decimal, target)
    return _CLASSES[insn.cls](writer, insn, hi)


def source(insns: Sequence[Insn]) -> Iterator[str]:
    """Lines that assemble to `insns` exactly: labels at the margin, statements indented."""
    names = _label_names(insns)
    for index, insn in slots(insns):
        hi = insns[index + 1] if index + 1 < len(insns) else None
        if index in names:
            yield f"{names[index]}:"
        for line in _exact(insn, hi, names.get(_aim(index, insn))):
            yield f"    {line}"


def statement(insn: Insn, hi: Insn | None = None) -> list[str]:
    """The statements, without labels, that assemble to this instruction exactly."""
    return _exact(insn, hi, None)


def _exact(insn: Insn, hi: Insn | None, label: str | None) -> list[str]:
    wanted = [insn, *([hi] if is_ld_imm64(insn) and hi is not None else [])]
    plain = text(insn, hi)
    if plain is None or not _assembles_to(plain, wanted):
        return [f".insn {x.code:#04x}, {x.dst}, {x.src}, {x.off}, {x.imm}" for x in wanted]
    return [text(insn, hi, target=label) or plain]


def _assembles_to(line: str, wanted: list[Insn]) -> bool:
    try:
        return asm.assemble(line) == wanted
    except asm.AsmError:
        return False


def _aim(index: int, insn: Insn) -> int:
    """The slot that a jump, call or function address names, or -1."""
    if is_jump(insn):
        return index + jump_offset(insn) + 1
    if is_pseudo_call(insn) or is_pseudo_func(insn):
        return index + insn.imm + 1
    return -1


def _label_names(insns: Sequence[Insn]) -> dict[int, str]:
    """Names for the slots that something names, if an instruction starts there."""
    starts = dict(slots(insns))
    jumps = {_aim(i, x) for i, x in starts.items() if is_jump(x)}
    funcs = {_aim(i, x) for i, x in starts.items() if not is_jump(x)}
    names = {index: f"L{index}" for index in sorted(jumps) if index in starts}
    return names | {index: f"func_{index}" for index in sorted(funcs) if index in starts}


# -- one function for each class


def _alu(w: _Writer, insn: Insn, hi: Insn | None) -> str | None:
    reg = tab.REG_LETTER[insn.cls]
    if insn.op == uapi.BPF_END:
        return _swap(insn)
    if insn.op == uapi.BPF_NEG:
        return f"{reg}{insn.dst} = -{reg}{insn.dst}"
    signed = tab.SIGNED_ALU_SYMBOLS.get(insn.op) if insn.off == 1 else None
    symbol = signed or tab.ALU_SYMBOLS.get(insn.op)
    if symbol is None:
        return None
    if not insn.uses_reg:
        return f"{reg}{insn.dst} {symbol} {w.number(insn.imm)}"
    return _special_move(w, insn) or f"{reg}{insn.dst} {symbol} {_cast(insn)}{reg}{insn.src}"


def _swap(insn: Insn) -> str | None:
    name = tab.END_NAMES.get(insn.code)
    if name is None or insn.imm not in tab.END_BITS:
        return None
    return f"r{insn.dst} = {name}{insn.imm} r{insn.dst}"


def _cast(insn: Insn) -> str:
    name = tab.MOVSX_NAMES.get(insn.off) if insn.op == uapi.BPF_MOV else None
    return f"({name})" if name else ""


def _special_move(w: _Writer, insn: Insn) -> str | None:
    if insn.code != uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_X:
        return None
    if insn.off == tab.ADDR_SPACE_CAST:
        to, source = insn.imm >> 16 & uapi.U16, insn.imm & uapi.U16
        return f"r{insn.dst} = addr_space_cast(r{insn.src}, {w.number(to)}, {w.number(source)})"
    if insn.off == tab.ADDR_PERCPU:
        return f"r{insn.dst} = &(void __percpu *)(r{insn.src})"
    return None


def _letter(size: int) -> str:
    """Values that fit are written as 32-bit registers."""
    return "r" if size == uapi.BPF_DW else "w"


def _ldx(w: _Writer, insn: Insn, hi: Insn | None) -> str | None:
    names = {uapi.BPF_MEM: tab.SIZE_NAMES, uapi.BPF_MEMSX: tab.SIGNED_SIZE_NAMES}.get(insn.mode)
    if names is None or insn.size not in names:
        return None
    reg = "r" if insn.mode == uapi.BPF_MEMSX else _letter(insn.size)
    return f"{reg}{insn.dst} = *({names[insn.size]} *)({w.at(insn.src, insn.off)})"


def _st(w: _Writer, insn: Insn, hi: Insn | None) -> str | None:
    if insn.code == tab.NOSPEC:
        return "nospec"
    if insn.mode != uapi.BPF_MEM:
        return None
    return f"*({tab.SIZE_NAMES[insn.size]} *)({w.at(insn.dst, insn.off)}) = {w.number(insn.imm)}"


def _stx(w: _Writer, insn: Insn, hi: Insn | None) -> str | None:
    if insn.mode == uapi.BPF_ATOMIC:
        return _atomic(w, insn)
    if insn.mode != uapi.BPF_MEM:
        return None
    where = f"*({tab.SIZE_NAMES[insn.size]} *)({w.at(insn.dst, insn.off)})"
    return f"{where} = {_letter(insn.size)}{insn.src}"


def _atomic(w: _Writer, insn: Insn) -> str | None:
    place = f"({tab.SIZE_NAMES[insn.size]} *)({w.at(insn.dst, insn.off)})"
    reg = _letter(insn.size)
    if insn.imm in tab.ATOMIC_SYMBOLS:
        return f"lock *{place} {tab.ATOMIC_SYMBOLS[insn.imm]} {reg}{insn.src}"
    if insn.imm in tab.FETCH_NAMES:
        name = tab.FETCH_NAMES[insn.imm]
        return f"{reg}{insn.src} = atomic_fetch_{name}({place}, {reg}{insn.src})"
    build = _RARE_ATOMICS.get(insn.imm)
    return build(w, insn, reg, place) if build else None


def _suffix(insn: Insn) -> str:
    return "_64" if insn.size == uapi.BPF_DW else "32_32"


def _xchg(w: _Writer, insn: Insn, reg: str, place: str) -> str:
    at, src = w.at(insn.dst, insn.off), f"{reg}{insn.src}"
    return f"{src} = xchg{_suffix(insn)}({at}, {src})"


def _cmpxchg(w: _Writer, insn: Insn, reg: str, place: str) -> str:
    at, src = w.at(insn.dst, insn.off), f"{reg}{insn.src}"
    return f"{reg}0 = cmpxchg{_suffix(insn)}({at}, {reg}0, {src})"


def _load_acquire(w: _Writer, insn: Insn, reg: str, place: str) -> str:
    size = tab.SIZE_NAMES[insn.size]
    return f"{reg}{insn.dst} = load_acquire(({size} *)({w.at(insn.src, insn.off)}))"


def _store_release(w: _Writer, insn: Insn, reg: str, place: str) -> str:
    return f"store_release({place}, {reg}{insn.src})"


_RARE_ATOMICS: dict[int, Callable[[_Writer, Insn, str, str], str]] = {
    uapi.BPF_XCHG: _xchg,
    uapi.BPF_CMPXCHG: _cmpxchg,
    uapi.BPF_LOAD_ACQ: _load_acquire,
    uapi.BPF_STORE_REL: _store_release,
}


def _ld(w: _Writer, insn: Insn, hi: Insn | None) -> str | None:
    if is_ld_imm64(insn):
        return _ld_imm64(w, insn, hi) if hi is not None else None
    size = f"r0 = *({tab.SIZE_NAMES[insn.size]} *)skb"
    if insn.mode == uapi.BPF_ABS:
        return f"{size}[{w.number(insn.imm)}]"
    if insn.mode == uapi.BPF_IND:
        plus = f" + {w.number(insn.imm)}" if insn.imm else ""
        return f"{size}[r{insn.src}{plus}]"
    return None


def _ld_imm64(w: _Writer, insn: Insn, hi: Insn) -> str:
    if is_pseudo_func(insn) and w.target:
        return f"r{insn.dst} = {w.target} ll"
    value = imm64(insn, hi)
    signed = value - (1 << 64) if value >> 63 else value
    if insn.src:
        return f"ld_pseudo r{insn.dst}, {w.number(insn.src)}, {w.number(signed)}"
    return f"r{insn.dst} = {w.number(signed)} ll"


def _jmp(w: _Writer, insn: Insn, hi: Insn | None) -> str | None:
    simple = _JUMPS.get(insn.code)
    if simple:
        return simple(w, insn)
    symbol = tab.JMP_SYMBOLS.get(insn.op)
    if symbol is None:
        return None
    reg = tab.REG_LETTER[insn.cls]
    other = f"{reg}{insn.src}" if insn.uses_reg else w.number(insn.imm)
    return f"if {reg}{insn.dst} {symbol} {other} goto {w.distance(insn.off)}"


def _call(w: _Writer, insn: Insn) -> str:
    """LLVM writes helpers and subprograms alike; distances get the kernel's `pc` to tell them."""
    if insn.src == uapi.BPF_PSEUDO_CALL:
        return f"call {w.target or f'pc{insn.imm:+d}'}"
    if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
        return f"call {disasm.call_name(insn)}" + (f"{insn.off:+d}" if insn.off else "")
    return f"call {w.number(insn.imm)}"


_JUMPS: dict[int, Callable[[_Writer, Insn], str]] = {
    uapi.BPF_JMP | uapi.BPF_JA: lambda w, insn: f"goto {w.distance(insn.off)}",
    uapi.BPF_JMP32 | uapi.BPF_JA: lambda w, insn: f"gotol {w.distance(insn.imm)}",
    tab.MAY_GOTO: lambda w, insn: f"may_goto {w.distance(insn.off)}",
    uapi.BPF_JMP | uapi.BPF_EXIT: lambda w, insn: "exit",
    uapi.BPF_JMP | uapi.BPF_CALL: _call,
    tab.CALLX: lambda w, insn: f"callx r{insn.dst}",
}

_CLASSES: dict[int, Callable[[_Writer, Insn, Insn | None], str | None]] = {
    uapi.BPF_LD: _ld,
    uapi.BPF_LDX: _ldx,
    uapi.BPF_ST: _st,
    uapi.BPF_STX: _stx,
    uapi.BPF_ALU: _alu,
    uapi.BPF_JMP: _jmp,
    uapi.BPF_JMP32: _jmp,
    uapi.BPF_ALU64: _alu,
}
