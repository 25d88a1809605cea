"""The text of classic BPF (tools/bpf/bpf_exp.y).

`assemble` reads the language of bpf_asm (`ldh [12]`, `jne #0x806, drop`, `drop: ret #0`) and
also the listings of `tcpdump -d`; `disasm` writes such listings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from anybpf import uapi
from anybpf.errors import LoadError
from anybpf.isa import cbpf
from anybpf.isa.asm import without_block_comments
from anybpf.isa.cbpf import SockFilter


class CbpfAsmError(LoadError):
    """A line is not understood: `line` counts from 1."""

    def __init__(self, message: str, line: int, statement: str) -> None:
        self.line = line
        self.statement = statement
        super().__init__(f"line {line}: {message}: {statement}")


class _Bad(Exception):
    """Something is wrong with a line; its number is known to the caller."""


_LD, _LDX = uapi.BPF_LD, uapi.BPF_LDX
_SIZED = {"ld": uapi.BPF_W, "ldh": uapi.BPF_H, "ldb": uapi.BPF_B}
_ALU_NAMES = {
    "add": uapi.BPF_ADD, "sub": uapi.BPF_SUB, "mul": uapi.BPF_MUL, "div": uapi.BPF_DIV,
    "mod": uapi.BPF_MOD, "and": uapi.BPF_AND, "or": uapi.BPF_OR, "xor": uapi.BPF_XOR,
    "lsh": uapi.BPF_LSH, "rsh": uapi.BPF_RSH,
}  # fmt: skip
#: name -> operation, and whether the two targets change places
_JUMPS = {
    "jeq": (uapi.BPF_JEQ, False), "jne": (uapi.BPF_JEQ, True), "jneq": (uapi.BPF_JEQ, True),
    "jgt": (uapi.BPF_JGT, False), "jle": (uapi.BPF_JGT, True),
    "jge": (uapi.BPF_JGE, False), "jlt": (uapi.BPF_JGE, True),
    "jset": (uapi.BPF_JSET, False),
}  # fmt: skip
_ANCILLARY = {name: offset for offset, name in cbpf.ANCILLARY.items()} | {
    "vlan_pr": uapi.SKF_AD_VLAN_TAG_PRESENT,
}
_LEN_NAMES = frozenset({"len", "pktlen"})

_NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)"
_IMMEDIATE = re.compile(rf"#?({_NUMBER})")
_HASH = re.compile(rf"#({_NUMBER})")
_ABSOLUTE = re.compile(rf"\[\s*({_NUMBER})\s*\]")
_INDIRECT = re.compile(rf"\[\s*%?x\s*(?:\+\s*({_NUMBER})|(-\s*\d+))?\s*\]")
_MEMORY = re.compile(r"M\[\s*(\d+)\s*\]")
_NIBBLE = re.compile(rf"4\s*\*\s*\(\s*\[\s*({_NUMBER})\s*\]\s*&\s*0x[fF]\s*\)")
_NAME = re.compile(r"#?([A-Za-z_]\w*)")
_LISTED = re.compile(r"\(\d+\)\s+")
_LABEL = re.compile(r"([A-Za-z_]\w*):\s*")
_LISTED_TARGETS = re.compile(r"(.*?) jt (\d{1,9}) jf (\d{1,9})", re.ASCII)
_INDEX = re.compile(r"\d{1,9}", re.ASCII)


class _Draft(NamedTuple):
    """An instruction whose targets may be labels or, in listings, absolute numbers."""

    insn: SockFilter
    yes: str | int | None = None
    no: str | int | None = None


def assemble(text: str) -> list[SockFilter]:
    """The filter of `text`; raises `CbpfAsmError` at the first line that is wrong."""
    drafts: list[_Draft] = []
    labels: dict[str, int] = {}
    lines: list[tuple[int, str]] = []
    for number, line in _lines(text):
        try:
            rest = _take_labels(line, len(drafts), labels)
            if rest:
                drafts.append(_instruction(rest))
                lines.append((number, rest))
        except _Bad as bad:
            raise CbpfAsmError(str(bad), number, line) from None
    return [_aimed(i, draft, labels, lines[i]) for i, draft in enumerate(drafts)]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(without_block_comments(text).splitlines(), 1):
        line = " ".join(re.sub(r";.*|//.*", "", raw).split())
        listed = _LISTED.match(line)
        yield number, line[listed.end() :] if listed else line


def _take_labels(line: str, index: int, labels: dict[str, int]) -> str:
    while label := _LABEL.match(line):
        if label[1] in labels:
            raise _Bad(f"label {label[1]} is defined twice")
        labels[label[1]] = index
        line = line[label.end() :]
    return line


def _instruction(text: str) -> _Draft:
    word, _, rest = text.partition(" ")
    name, operand = word.strip().lower(), rest.strip()
    if name in _JUMPS:
        return _jump(name, operand)
    if name in ("ja", "jmp"):
        target = int(operand) if _INDEX.fullmatch(operand) else operand
        return _Draft(SockFilter(uapi.BPF_JMP | uapi.BPF_JA), target)
    reader = _READERS.get(name)
    if reader is None:
        raise _Bad("not a classic instruction")
    return _Draft(reader(name, operand))


def _number(text: str, bits: int = 32) -> int:
    try:
        value = int(text.replace(" ", ""), 0 if "x" in text.lower() else 10)
    except ValueError:
        raise _Bad("not a number") from None
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise _Bad(f"number does not fit {bits} bits")
    return value & (1 << bits) - 1


def _ld(name: str, operand: str) -> SockFilter:
    size = _SIZED[name]
    if match := _ABSOLUTE.fullmatch(operand):
        return SockFilter(_LD | uapi.BPF_ABS | size, k=_number(match[1]))
    if match := _INDIRECT.fullmatch(operand):
        return SockFilter(_LD | uapi.BPF_IND | size, k=_number(match[1] or match[2] or "0"))
    word = _NAME.fullmatch(operand)
    if word and word[1] in _ANCILLARY:
        k = uapi.SKF_AD_OFF + _ANCILLARY[word[1]] & uapi.U32
        return SockFilter(_LD | uapi.BPF_ABS | size, k=k)
    if size != uapi.BPF_W:
        raise _Bad("no such operand")
    return _plain_load(_LD, operand)


def _plain_load(cls: int, operand: str) -> SockFilter:
    """What both registers load: a number, a word of M[], the length."""
    if match := _HASH.fullmatch(operand):
        return SockFilter(cls | uapi.BPF_IMM, k=_number(match[1]))
    if match := _MEMORY.fullmatch(operand):
        return SockFilter(cls | uapi.BPF_MEM, k=_number(match[1]))
    word = _NAME.fullmatch(operand)
    if word and word[1] in _LEN_NAMES:
        return SockFilter(cls | uapi.BPF_LEN)
    raise _Bad("no such operand")


def _ldi(name: str, operand: str) -> SockFilter:
    return SockFilter(_LDX if name == "ldxi" else _LD, k=_immediate(operand))


def _ldx(name: str, operand: str) -> SockFilter:
    if match := _NIBBLE.fullmatch(operand):
        return SockFilter(_LDX | uapi.BPF_MSH | uapi.BPF_B, k=_number(match[1]))
    return _plain_load(_LDX, operand)


def _immediate(operand: str) -> int:
    match = _IMMEDIATE.fullmatch(operand)
    if not match:
        raise _Bad("a number is wanted")
    return _number(match[1])


def _store(name: str, operand: str) -> SockFilter:
    match = _MEMORY.fullmatch(operand)
    if not match:
        raise _Bad("M[k] is wanted")
    return SockFilter(uapi.BPF_ST if name == "st" else uapi.BPF_STX, k=_number(match[1]))


def _alu(name: str, operand: str) -> SockFilter:
    code = uapi.BPF_ALU | _ALU_NAMES[name]
    if operand in ("x", "%x"):
        return SockFilter(code | uapi.BPF_X)
    return SockFilter(code, k=_immediate(operand))


def _ret(name: str, operand: str) -> SockFilter:
    if operand in ("a", "%a", ""):
        return SockFilter(uapi.BPF_RET | uapi.BPF_A)
    return SockFilter(uapi.BPF_RET, k=_immediate(operand))


def _fixed(code: int) -> Callable[[str, str], SockFilter]:
    def read(name: str, operand: str) -> SockFilter:
        if operand:
            raise _Bad("no operand is wanted")
        return SockFilter(code)

    return read


_READERS: dict[str, Callable[[str, str], SockFilter]] = {
    **dict.fromkeys(_SIZED, _ld),
    **dict.fromkeys(_ALU_NAMES, _alu),
    **dict.fromkeys(("ldi", "ldxi"), _ldi),
    **dict.fromkeys(("ldx", "ldxb"), _ldx),
    **dict.fromkeys(("st", "stx"), _store),
    "ret": _ret,
    "neg": _fixed(uapi.BPF_ALU | uapi.BPF_NEG),
    "tax": _fixed(uapi.BPF_MISC | uapi.BPF_TAX),
    "txa": _fixed(uapi.BPF_MISC | uapi.BPF_TXA),
}


def _jump(name: str, operand: str) -> _Draft:
    op, swapped = _JUMPS[name]
    targets: Sequence[str | int | None]
    if listed := _LISTED_TARGETS.fullmatch(operand):
        value, targets = listed[1], [int(listed[2]), int(listed[3])]
    else:
        value, *names = (part.strip() for part in operand.split(","))
        targets = [*names, None][:2]
        if not 1 <= len(names) <= 2:
            raise _Bad("one or two labels are wanted")
    yes, no = reversed(targets) if swapped else targets
    code = uapi.BPF_JMP | op
    if value in ("x", "%x"):
        return _Draft(SockFilter(code | uapi.BPF_X), yes, no)
    return _Draft(SockFilter(code, k=_immediate(value)), yes, no)


def _aimed(index: int, draft: _Draft, labels: dict[str, int], where: tuple[int, str]) -> SockFilter:
    insn = draft.insn
    if insn.cls != uapi.BPF_JMP:
        return insn
    try:
        yes, no = (_distance(index, target, labels) for target in (draft.yes, draft.no))
        if insn.code == uapi.BPF_JMP | uapi.BPF_JA:
            return insn._replace(k=yes)
        if max(yes, no) > 255:
            raise _Bad("a conditional jump reaches 255 instructions")
    except _Bad as bad:
        raise CbpfAsmError(str(bad), *where) from None
    return insn._replace(jt=yes, jf=no)


def _distance(index: int, target: str | int | None, labels: dict[str, int]) -> int:
    if target is None:
        return 0
    place = target if isinstance(target, int) else labels.get(target)
    if place is None:
        raise _Bad(f"undefined label {target}")
    if place <= index:
        raise _Bad("classic jumps go forward")
    return place - index - 1


# -- writing


def disasm(insns: Sequence[SockFilter]) -> Iterator[str]:
    """Lines as `tcpdump -d` writes them: `(001) jeq      #0x800           jt 2\\tjf 5`."""
    for index, insn in enumerate(insns):
        name, operand = text(index, insn)
        if insn.cls == uapi.BPF_JMP and insn.op != uapi.BPF_JA:
            targets = f"jt {index + 1 + insn.jt}\tjf {index + 1 + insn.jf}"
            yield f"({index:03}) {name:<8} {operand:<16} {targets}"
        else:
            yield f"({index:03}) {name:<8} {operand}".rstrip()


_CODE_NAMES = {code: name for name, code in _ALU_NAMES.items()}
_JUMP_NAMES = {op: name for name, (op, swapped) in _JUMPS.items() if not swapped}
_LOAD_NAMES = {size: name for name, size in _SIZED.items()}
_HEX_OPERATORS = frozenset({uapi.BPF_AND, uapi.BPF_OR, uapi.BPF_XOR})


def text(index: int, insn: SockFilter) -> tuple[str, str]:
    """Name and operand of the instruction at `index`; `unimp` where there is none."""
    if insn.code not in cbpf.OPCODES:
        return "unimp", f"{insn.code:#x}"
    return _WRITERS[insn.cls](index, insn)


def _source(insn: SockFilter, hexadecimal: bool) -> str:
    if insn.code & uapi.BPF_X:
        return "x"
    return f"#{insn.k:#x}" if hexadecimal else f"#{insn.k}"


def _write_ld(index: int, insn: SockFilter) -> tuple[str, str]:
    name = _LOAD_NAMES[insn.code & 0x18]
    special = cbpf.ancillary(insn)
    if special:
        return name, f"#{special}"
    mode = insn.code & 0xE0
    if mode == uapi.BPF_ABS:
        return name, f"[{insn.k}]"
    if mode == uapi.BPF_IND:
        return name, f"[x + {insn.k}]"
    return name, _plain_operand(insn)


def _plain_operand(insn: SockFilter) -> str:
    mode = insn.code & 0xE0
    if mode == uapi.BPF_MEM:
        return f"M[{insn.k}]"
    return "#pktlen" if mode == uapi.BPF_LEN else f"#{insn.k:#x}"


def _write_ldx(index: int, insn: SockFilter) -> tuple[str, str]:
    if insn.code & 0xE0 == uapi.BPF_MSH:
        return "ldxb", f"4*([{insn.k}]&0xf)"
    return "ldx", _plain_operand(insn)


def _write_alu(index: int, insn: SockFilter) -> tuple[str, str]:
    if insn.op == uapi.BPF_NEG:
        return "neg", ""
    return _CODE_NAMES[insn.op], _source(insn, insn.op in _HEX_OPERATORS)


def _write_jmp(index: int, insn: SockFilter) -> tuple[str, str]:
    if insn.op == uapi.BPF_JA:
        return "ja", str(index + 1 + insn.k)
    return _JUMP_NAMES[insn.op], _source(insn, True)


def _write_ret(index: int, insn: SockFilter) -> tuple[str, str]:
    return "ret", "" if insn.code & uapi.BPF_A else f"#{insn.k}"


_WRITERS: dict[int, Callable[[int, SockFilter], tuple[str, str]]] = {
    uapi.BPF_LD: _write_ld,
    uapi.BPF_LDX: _write_ldx,
    uapi.BPF_ST: lambda index, insn: ("st", f"M[{insn.k}]"),
    uapi.BPF_STX: lambda index, insn: ("stx", f"M[{insn.k}]"),
    uapi.BPF_ALU: _write_alu,
    uapi.BPF_JMP: _write_jmp,
    uapi.BPF_RET: _write_ret,
    uapi.BPF_MISC: lambda index, insn: ("txa" if insn.code & uapi.BPF_TXA else "tax", ""),
}
