"""Text to instructions (llvm/lib/Target/BPF/AsmParser/BPFAsmParser.cpp).

The syntax is that of clang and llvm-objdump (`r0 = *(u32 *)(r1 + 4)`, `if w2 s> 7 goto L`), one
statement a line or parted by `;`. The kernel's own texts are read too: lines of the verifier's
log and of `bpftool prog dump xlated`, with their `12: (b7)` in front. Comments are `#`, `//`,
`/* */`, and lines that begin with `;`.

Each form of a statement is one row of `_ROWS`: a template and the function that builds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import NamedTuple

from anybpf import uapi
from anybpf.bits import s32
from anybpf.errors import LoadError
from anybpf.isa import opcodes as tab
from anybpf.isa.asm_pattern import compile_template
from anybpf.isa.disasm import helper_number
from anybpf.isa.insn import LD_IMM64, Insn, split_imm64


class AsmError(LoadError):
    """A statement is not understood: `line` counts from 1, `statement` is its text."""

    def __init__(self, message: str, line: int, statement: str) -> None:
        self.line = line
        self.statement = statement
        super().__init__(f"line {line}: {message}: {statement}")


class Pseudo(NamedTuple):
    """What a symbol stands for when it is no plain number.

    In `r1 = NAME ll`: source register and both immediates. In `call NAME`: source register,
    immediate, and as `hi` the offset (the module of a kernel function).
    """

    src: int
    lo: int
    hi: int = 0


Symbols = Mapping[str, "int | Pseudo"]


class Assembly(NamedTuple):
    """The slots, and where each label points."""

    insns: list[Insn]
    labels: dict[str, int]


def assemble(text: str, symbols: Symbols | None = None) -> list[Insn]:
    """The slots of `text`; raises `AsmError` at the first statement that is wrong.

    `symbols` gives meaning to names that are no labels: numbers, or `Pseudo` for maps and such.
    Helpers are known by name.
    """
    return parse(text, symbols).insns


def parse(text: str, symbols: Symbols | None = None) -> Assembly:
    """Like `assemble`, and tells where the labels are."""
    return _Assembler(symbols or {}).run(text)


class _Bad(Exception):
    """Something is wrong with a statement; the line is known to the caller."""


class _Fixup(NamedTuple):
    """A field that waits for a label: `field` is `off`, `call` or `func` (both `imm`)."""

    slot: int
    field: str
    label: str
    statement: _Statement


class _Statement(NamedTuple):
    line: int
    text: str
    #: the opcode that a kernel text has in parentheses, or None
    opcode: int | None
    #: the second byte where a listing shows bytes: llvm-objdump writes all calls alike
    registers: int = 0


# -- statements


_LINE_COMMENT = re.compile(r"//.*|(?:^|(?<=\s))#.*")
_INDEX = re.compile(r"\s*(\d+):\s+")
_OPCODE = re.compile(r"\(([0-9a-f]{2})\)\s*(?!\w+\s*\))")
_BYTES = re.compile(r"(?:[0-9a-f]{2} ){7,15}[0-9a-f]{2}\s+|[0-9a-f]{16}(?:[0-9a-f]{16})?\s+")
_LABEL = re.compile(r"(?:[0-9a-f]{16}\s+<([^<>]+)>|([A-Za-z_.$][\w.$]*|\d+)):\s*")
#: directives of the compiler's output that say nothing about instructions
_DIRECTIVE = re.compile(
    r"\.(?:globl|global|local|weak|hidden|type|size|p2align|align|balign|file|loc|ident"
    r"|addrsig|addrsig_sym|cfi_\w+|att_syntax|set|comm)\b.*"
)
#: directives that begin a section, with its flags; without an `x` among them it holds data
_SECTION = re.compile(r"\.(text|data|bss|rodata)\b.*|\.section\s+([^,\s]+)(?:\s*,\s*\"(\w*)\".*)?")


def without_block_comments(text: str) -> str:
    """`text` with `/* */` replaced by their line ends, so that lines keep their numbers."""
    parts, at = [], 0
    while (start := text.find("/*", at)) >= 0 and (end := text.find("*/", start + 2)) >= 0:
        parts += [text[at:start], "\n" * text.count("\n", start, end) or " "]
        at = end + 2
    return "".join(parts) + text[at:]


def _statements(text: str) -> Iterator[_Statement]:
    for number, raw in enumerate(without_block_comments(text).splitlines(), 1):
        line = _LINE_COMMENT.sub("", raw).strip()
        if not line.startswith(";"):
            yield from _line_statements(number, line)


def _line_statements(number: int, line: str) -> Iterator[_Statement]:
    index = _INDEX.match(line)
    listed = _listed(number, line[index.end() :] if index else line, index is not None)
    if listed:
        yield listed
        return
    for part in line.split(";"):
        if part.strip():
            yield _Statement(number, part.strip(), None)


def _listed(number: int, text: str, indexed: bool) -> _Statement | None:
    """The statement of a line that a disassembler wrote; None: it did not."""
    opcode = _OPCODE.match(text)
    if opcode:
        return _Statement(number, _before_state(text[opcode.end() :]), int(opcode[1], 16))
    data = _BYTES.match(text) if indexed else None
    if data:
        registers = bytes.fromhex(data[0].replace(" ", "").strip())[1]
        return _Statement(number, text[data.end() :].strip(), None, registers)
    return None


def _before_state(text: str) -> str:
    """The statement without the register state that the verifier's log appends."""
    return text.split(";")[0].strip()


# -- the assembler


class _Assembler:
    """Two passes in one: slots are laid out at once, names that wait are filled in at the end."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.insns: list[Insn] = []
        self.labels: dict[str, int] = {}
        self.numbered: dict[str, list[int]] = {}
        self.fixups: list[_Fixup] = []
        self.in_data = False

    def run(self, text: str) -> Assembly:
        for statement in _statements(text):
            self._guard(statement, partial(self._statement, statement))
        for fixup in self.fixups:
            self._guard(fixup.statement, partial(self._fix, fixup))
        return Assembly(self.insns, self.labels)

    def _guard(self, statement: _Statement, act: Callable[[], None]) -> None:
        try:
            act()
        except _Bad as bad:
            raise AsmError(str(bad), statement.line, statement.text) from None

    def _statement(self, statement: _Statement) -> None:
        rest = statement.text
        section = _SECTION.fullmatch(rest)
        if section:
            self.in_data = not _holds_code(section)
        if section or self.in_data:
            return
        while label := _LABEL.match(rest):
            self._define(label[1] or label[2])
            rest = rest[label.end() :]
        if rest and not _DIRECTIVE.fullmatch(rest):
            self._instruction(statement._replace(text=rest))

    def _define(self, name: str) -> None:
        if name.isdigit():
            self.numbered.setdefault(name, []).append(len(self.insns))
        elif name in self.labels:
            raise _Bad(f"label {name} is defined twice")
        self.labels[name] = len(self.insns)

    def _instruction(self, statement: _Statement) -> None:
        # one space for many: no run of them makes a pattern try every way to part it
        text = " ".join(statement.text.split())
        for pattern, build in _patterns():
            match = pattern.fullmatch(text)
            if match:
                self.insns += build(_Context(self, statement), match.groupdict())
                return
        raise _Bad("not an instruction")

    def wait(self, statement: _Statement, field: str, label: str) -> None:
        """Fill `field` of the slot that is about to be added when all labels are known."""
        self.fixups.append(_Fixup(len(self.insns), field, label, statement))

    def _fix(self, fixup: _Fixup) -> None:
        insn = self.insns[fixup.slot]
        distance = self._position(fixup) - fixup.slot - 1
        if fixup.field == "off":
            self.insns[fixup.slot] = insn._replace(off=_fits16(distance))
        elif fixup.field == "call" or fixup.label in self.labels:
            self.insns[fixup.slot] = insn._replace(imm=distance)

    def _position(self, fixup: _Fixup) -> int:
        numbered = re.fullmatch(r"(\d+)([bf])", fixup.label)
        if numbered:
            return self._numbered(fixup.slot, numbered[1], numbered[2] == "f")
        if fixup.label not in self.labels:
            raise _Bad(f"undefined symbol {fixup.label}")
        return self.labels[fixup.label]

    def _numbered(self, index: int, name: str, forward: bool) -> int:
        """The nearest label `name:` after (`1f`) or at or before (`1b`) slot `index`."""
        places = self.numbered.get(name, [])
        near = [p for p in places if (p > index) == forward]
        if not near:
            raise _Bad(f"undefined symbol {name}{'f' if forward else 'b'}")
        return near[0] if forward else near[-1]


def _holds_code(section: re.Match[str]) -> bool:
    if section[1]:
        return section[1] == "text"
    return section[3] is None or "x" in section[3]


class _Context(NamedTuple):
    """What a row's function sees besides its own match."""

    assembler: _Assembler
    statement: _Statement


# -- operands


def number(text: str) -> int:
    """A number as C writes it, `0x` for hexadecimal and `0` for octal; raises `ValueError`."""
    plain = text.replace(" ", "")
    digits = plain.lstrip("+-")
    octal = digits.startswith("0") and digits.isdigit() and len(digits) > 1
    return int(plain, 8 if octal else 0)


def _number(text: str) -> int:
    try:
        return number(text)
    except ValueError:
        raise _Bad("not a number") from None


def _imm32(text: str) -> int:
    value = _number(text)
    if not -(1 << 31) <= value < 1 << 32:
        raise _Bad("immediate does not fit 32 bits")
    return s32(value)


def _imm64(text: str) -> int:
    value = _number(text)
    if not -(1 << 63) <= value < 1 << 64:
        raise _Bad("immediate does not fit 64 bits")
    return value


def _fits16(value: int) -> int:
    if not -0x8000 <= value <= 0x7FFF:
        raise _Bad("offset does not fit 16 bits")
    return value


def _off(text: str | None) -> int:
    return _fits16(_number(text)) if text else 0


def _reg(text: str, letters: str = "r") -> int:
    number = int(text[1:])
    if text[0] not in letters:
        raise _Bad(f"{text} has the wrong width here")
    if number >= uapi.MAX_BPF_REG:
        raise _Bad(f"there is no register {text}")
    return number


def _base(text: str) -> int:
    return _reg(text, "r")


def _value(text: str, size: int) -> int:
    """A register of memory's width: 32-bit names stand for what fits them."""
    return _reg(text, "r" if size == uapi.BPF_DW else "rw")


_SIZES = {name: size for size, name in tab.SIZE_NAMES.items()}
_SIGNED_SIZES = {name: size for size, name in tab.SIGNED_SIZE_NAMES.items()}


def _size(text: str) -> int:
    if text not in _SIZES:
        raise _Bad(f"no {text} here")
    return _SIZES[text]


# -- one function for each form; all give the slots to add

_Match = dict[str, str]
_ALU_OPS = {symbol: op for op, symbol in tab.ALU_SYMBOLS.items()}
_SIGNED_OPS = {symbol: op for op, symbol in tab.SIGNED_ALU_SYMBOLS.items()}
_JMP_OPS = {symbol: op for op, symbol in tab.JMP_SYMBOLS.items()}
_ATOMIC_OPS = {symbol: op for op, symbol in tab.ATOMIC_SYMBOLS.items()}
_FETCHES = {name: op for op, name in tab.FETCH_NAMES.items()}
_ENDS = {name: code for code, name in tab.END_NAMES.items()}
_MOVSX = {name: bits for bits, name in tab.MOVSX_NAMES.items()}


def _alu_code(reg: str, symbol: str) -> tuple[int, int]:
    """Opcode (without source bit) and offset of an operator."""
    cls = uapi.BPF_ALU64 if reg[0] == "r" else uapi.BPF_ALU
    if symbol in _SIGNED_OPS:
        return cls | _SIGNED_OPS[symbol], 1
    return cls | _ALU_OPS[symbol], 0


def _alu_reg(ctx: _Context, m: _Match) -> list[Insn]:
    code, off = _alu_code(m["dst"], m["op"])
    letter = m["dst"][0]
    return [Insn(code | uapi.BPF_X, _reg(m["dst"], letter), _reg(m["src"], letter), off)]


def _alu_imm(ctx: _Context, m: _Match) -> list[Insn]:
    if ctx.statement.opcode == LD_IMM64 and m["op"] == "=":
        return _load_imm64(ctx, m)
    code, off = _alu_code(m["dst"], m["op"])
    return [Insn(code, _reg(m["dst"], m["dst"][0]), 0, off, _imm32(m["imm"]))]


def _movsx(ctx: _Context, m: _Match) -> list[Insn]:
    letter, bits = m["dst"][0], _MOVSX[m["type"]]
    if letter == "w" and bits == 32:
        raise _Bad("no s32 here")
    code, _ = _alu_code(m["dst"], "=")
    return [Insn(code | uapi.BPF_X, _reg(m["dst"], letter), _reg(m["src"], letter), bits)]


def _neg(ctx: _Context, m: _Match) -> list[Insn]:
    if m["dst"] != m["src"]:
        raise _Bad("both registers must be the same")
    cls = uapi.BPF_ALU64 if m["dst"][0] == "r" else uapi.BPF_ALU
    return [Insn(cls | uapi.BPF_NEG, _reg(m["dst"], "rw"))]


def _swap(ctx: _Context, m: _Match) -> list[Insn]:
    if m["dst"] != m["src"]:
        raise _Bad("both registers must be the same")
    if int(m["bits"]) not in tab.END_BITS:
        raise _Bad("bits must be 16, 32 or 64")
    return [Insn(_ENDS[m["name"]], _reg(m["dst"]), 0, 0, int(m["bits"]))]


def _addr_space_cast(ctx: _Context, m: _Match) -> list[Insn]:
    to, source = _number(m["to"]), _number(m["from"])
    if not (0 <= to <= uapi.U16 and 0 <= source <= uapi.U16):
        raise _Bad("address spaces have 16 bits")
    imm = s32(to << 16 | source)
    code = uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_X
    return [Insn(code, _reg(m["dst"]), _reg(m["src"]), tab.ADDR_SPACE_CAST, imm)]


def _percpu(ctx: _Context, m: _Match) -> list[Insn]:
    code = uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_X
    return [Insn(code, _reg(m["dst"]), _reg(m["src"]), tab.ADDR_PERCPU)]


def _load(ctx: _Context, m: _Match) -> list[Insn]:
    if m["size"] in _SIGNED_SIZES:
        size = _SIGNED_SIZES[m["size"]]
        code, dst = uapi.BPF_LDX | uapi.BPF_MEMSX | size, _reg(m["dst"])
    else:
        size = _size(m["size"])
        code, dst = uapi.BPF_LDX | uapi.BPF_MEM | size, _value(m["dst"], size)
    return [Insn(code, dst, _base(m["base"]), _off(m["off"]))]


def _store_reg(ctx: _Context, m: _Match) -> list[Insn]:
    size = _size(m["size"])
    code = uapi.BPF_STX | uapi.BPF_MEM | size
    return [Insn(code, _base(m["base"]), _value(m["src"], size), _off(m["off"]))]


def _store_imm(ctx: _Context, m: _Match) -> list[Insn]:
    code = uapi.BPF_ST | uapi.BPF_MEM | _size(m["size"])
    return [Insn(code, _base(m["base"]), 0, _off(m["off"]), _imm32(m["imm"]))]


def _packet(ctx: _Context, m: _Match) -> list[Insn]:
    size = _size(m["size"])
    if size == uapi.BPF_DW or _value(m["dst"], size) != 0:
        raise _Bad("packet loads are 8, 16 or 32 bits into r0")
    if m.get("src"):
        imm = _imm32(m["imm"].removeprefix("+")) if m["imm"] else 0
        return [Insn(uapi.BPF_LD | uapi.BPF_IND | size, 0, _reg(m["src"], "rw"), 0, imm)]
    return [Insn(uapi.BPF_LD | uapi.BPF_ABS | size, 0, 0, 0, _imm32(m["imm"]))]


def _atomic_insn(m: _Match, size: int, imm: int) -> list[Insn]:
    code = uapi.BPF_STX | uapi.BPF_ATOMIC | size
    return [Insn(code, _base(m["base"]), _value(m["src"], size), _off(m["off"]), imm)]


def _lock(ctx: _Context, m: _Match) -> list[Insn]:
    return _atomic_insn(m, _rmw_size(_size(m["size"])), _ATOMIC_OPS[m["op"]])


def _rmw_size(size: int) -> int:
    if size not in (uapi.BPF_W, uapi.BPF_DW):
        raise _Bad("atomics work on u32 and u64")
    return size


def _check_wide(m: _Match, size: int) -> None:
    """The kernel's texts say `atomic64_` for double words, LLVM's `atomic_` for both."""
    if m["wide"] and size != uapi.BPF_DW:
        raise _Bad("atomic64 is of u64")


def _returns_to(m: _Match, register: int, size: int) -> None:
    if _value(m["dst"], size) != register:
        raise _Bad("the old value must go to " + ("r0" if register == 0 else m["src"]))


def _fetch(ctx: _Context, m: _Match) -> list[Insn]:
    size = _rmw_size(_size(m["size"]))
    _check_wide(m, size)
    _returns_to(m, _value(m["src"], size), size)
    return _atomic_insn(m, size, _FETCHES[m["op"]])


def _exchange_size(m: _Match) -> int:
    """From the type (kernel) or from the name's suffix (LLVM)."""
    if m.get("size"):
        size = _rmw_size(_size(m["size"]))
        _check_wide(m, size)
        return size
    return uapi.BPF_DW if m["suffix"] == "_64" else uapi.BPF_W


def _xchg(ctx: _Context, m: _Match) -> list[Insn]:
    size = _exchange_size(m)
    _returns_to(m, _value(m["src"], size), size)
    return _atomic_insn(m, size, uapi.BPF_XCHG)


def _cmpxchg(ctx: _Context, m: _Match) -> list[Insn]:
    size = _exchange_size(m)
    _returns_to(m, 0, size)
    if _value(m["old"], size) != 0:
        raise _Bad("the expected value is in r0")
    return _atomic_insn(m, size, uapi.BPF_CMPXCHG)


def _load_acquire(ctx: _Context, m: _Match) -> list[Insn]:
    size = _size(m["size"])
    code = uapi.BPF_STX | uapi.BPF_ATOMIC | size
    dst, src = _value(m["dst"], size), _base(m["base"])
    return [Insn(code, dst, src, _off(m["off"]), uapi.BPF_LOAD_ACQ)]


def _store_release(ctx: _Context, m: _Match) -> list[Insn]:
    return _atomic_insn(m, _size(m["size"]), uapi.BPF_STORE_REL)


def _two_slots(dst: str, pseudo: Pseudo) -> list[Insn]:
    return [Insn(LD_IMM64, _reg(dst), pseudo.src, 0, pseudo.lo), Insn(0, 0, 0, 0, pseudo.hi)]


def _load_imm64(ctx: _Context, m: _Match) -> list[Insn]:
    return _two_slots(m["dst"], Pseudo(0, *split_imm64(_imm64(m["imm"]))))


def _load_symbol(ctx: _Context, m: _Match) -> list[Insn]:
    symbol = ctx.assembler.symbols.get(m["name"])
    if symbol is None:
        ctx.assembler.wait(ctx.statement, "func", m["name"])
        return _two_slots(m["dst"], Pseudo(uapi.BPF_PSEUDO_FUNC, -1))
    if isinstance(symbol, Pseudo):
        return _two_slots(m["dst"], symbol)
    return _two_slots(m["dst"], Pseudo(0, *split_imm64(symbol)))


def _load_pseudo(ctx: _Context, m: _Match) -> list[Insn]:
    src = _number(m["kind"])
    if not 0 <= src <= 15:
        raise _Bad("the kind has four bits")
    return _two_slots(m["dst"], Pseudo(src, *split_imm64(_imm64(m["imm"]))))


def _load_map(ctx: _Context, m: _Match) -> list[Insn]:
    if "off" not in m:
        return _two_slots(m["dst"], Pseudo(uapi.BPF_PSEUDO_MAP_FD, _imm32(m["id"])))
    value = Pseudo(uapi.BPF_PSEUDO_MAP_VALUE, _imm32(m["id"]), _imm32(m["off"]))
    return _two_slots(m["dst"], value)


def _load_subprog(ctx: _Context, m: _Match) -> list[Insn]:
    return _two_slots(m["dst"], Pseudo(uapi.BPF_PSEUDO_FUNC, _imm32(m["off"])))


def _target(ctx: _Context, text: str, field: str) -> int:
    """The distance in `text` (`+3`, `pc+3`), or 0 for a label that is filled in later."""
    distance = re.fullmatch(r"(?:pc)?\s*([-+]\s*(?:0[xX][0-9a-fA-F]+|\d+))", text)
    if distance:
        value = _number(distance[1])
        return _fits16(value) if field == "off" else _imm32(distance[1])
    ctx.assembler.wait(ctx.statement, field, text)
    return 0


def _compare(m: _Match) -> tuple[int, int]:
    """Opcode (without source bit) and first register of a comparison."""
    cls = uapi.BPF_JMP if m["dst"][0] == "r" else uapi.BPF_JMP32
    return cls | _JMP_OPS[m["op"]], _reg(m["dst"], "rw")


def _if_reg(ctx: _Context, m: _Match) -> list[Insn]:
    code, dst = _compare(m)
    src = _reg(m["src"], m["dst"][0])
    return [Insn(code | uapi.BPF_X, dst, src, _target(ctx, m["target"], "off"))]


def _if_imm(ctx: _Context, m: _Match) -> list[Insn]:
    code, dst = _compare(m)
    return [Insn(code, dst, 0, _target(ctx, m["target"], "off"), _imm32(m["imm"]))]


def _goto(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(uapi.BPF_JMP | uapi.BPF_JA, 0, 0, _target(ctx, m["target"], "off"))]


def _gotol(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(uapi.BPF_JMP32 | uapi.BPF_JA, 0, 0, 0, _target(ctx, m["target"], "call"))]


def _may_goto(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(tab.MAY_GOTO, 0, uapi.BPF_MAY_GOTO, _target(ctx, m["target"], "off"))]


_CALL = uapi.BPF_JMP | uapi.BPF_CALL


def _call_number(ctx: _Context, m: _Match) -> list[Insn]:
    # of the two register nibbles of a call only the source may be set, on either byte order
    registers = ctx.statement.registers
    return [Insn(_CALL, 0, registers >> 4 | registers & 15, 0, _imm32(m["imm"]))]


def _call_kfunc(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(_CALL, 0, uapi.BPF_PSEUDO_KFUNC_CALL, _off(m["off"]), _imm32(m["imm"]))]


def _call_pc(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(_CALL, 0, uapi.BPF_PSEUDO_CALL, 0, _imm32(m["imm"]))]


def _call_name(ctx: _Context, m: _Match) -> list[Insn]:
    symbol = ctx.assembler.symbols.get(m["name"])
    if isinstance(symbol, Pseudo):
        return [Insn(_CALL, 0, symbol.src, symbol.hi, symbol.lo)]
    number = helper_number(m["name"]) if symbol is None else symbol
    if number is None or m["name"] in ctx.assembler.labels:
        ctx.assembler.wait(ctx.statement, "call", m["name"])
        return [Insn(_CALL, 0, uapi.BPF_PSEUDO_CALL)]
    return [Insn(_CALL, imm=number)]


def _callx(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(tab.CALLX, _reg(m["dst"]))]


def _exit(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(uapi.BPF_JMP | uapi.BPF_EXIT)]


def _nospec(ctx: _Context, m: _Match) -> list[Insn]:
    return [Insn(tab.NOSPEC)]


def _raw(ctx: _Context, m: _Match) -> list[Insn]:
    """`.insn CODE, DST, SRC, OFF, IMM`: any slot at all."""
    code, dst, src = (_number(m[key]) for key in ("code", "dst", "src"))
    if not (0 <= code <= 255 and 0 <= dst <= 15 and 0 <= src <= 15):
        raise _Bad("field out of range")
    return [Insn(code, dst, src, _fits16(_number(m["off"])), _imm32(m["imm"]))]


# -- the forms

_Build = Callable[[_Context, _Match], list[Insn]]
_AT = "{base:reg} {off:off}"
#: templates as `asm_pattern` reads them
_ROWS: tuple[tuple[str, _Build], ...] = (
    ("{dst:reg} = {imm:num}~ll", _load_imm64),
    ("{dst:reg} {op:alu} {imm:num}", _alu_imm),
    ("{dst:reg} {op:alu} {src:reg}", _alu_reg),
    ("{dst:reg} = ({type:type}) {src:reg}", _movsx),
    ("{dst:reg} = - {src:reg}", _neg),
    ("{dst:reg} = {name:end}{bits:bits}~{src:reg}", _swap),
    ("{dst:reg} = *({size:size} *)(" + _AT + ")", _load),
    ("*({size:size} *)(" + _AT + ") = {src:reg}", _store_reg),
    ("*({size:size} *)(" + _AT + ") = {imm:num}", _store_imm),
    ("if~{dst:reg} {op:jmp} {src:reg}~goto~{target:target}", _if_reg),
    ("if~{dst:reg} {op:jmp} {imm:num}~goto~{target:target}", _if_imm),
    ("goto~{target:target}", _goto),
    ("gotol~{target:target}", _gotol),
    ("may_goto~{target:target}", _may_goto),
    ("exit", _exit),
    ("call~{imm:num}", _call_number),
    ("call~kernel-function#{imm:num}{off:off}", _call_kfunc),
    ("call~{name:name}#{imm:num}", _call_number),
    ("call~pc {imm:num}", _call_pc),
    ("call~pc {imm:num}#{name:name}", _call_pc),
    ("call~{name:name}", _call_name),
    ("callx~{dst:reg}", _callx),
    ("{dst:reg} = {name:name}~ll", _load_symbol),
    ("ld_pseudo~{dst:reg}, {kind:num}, {imm:num}", _load_pseudo),
    ("{dst:reg} = map[id:{id:num}]", _load_map),
    ("{dst:reg} = map[id:{id:num}][0]{off:num}", _load_map),
    ("{dst:reg} = subprog[{off:num}]", _load_subprog),
    ("lock~*({size:size} *)(" + _AT + ") {op:lock} {src:reg}", _lock),
    ("{dst:reg} = atomic{wide:wide}_fetch_{op:fetch} (({size:size} *)(" + _AT + "), {src:reg})",
     _fetch),
    ("{dst:reg} = atomic{wide:wide}_xchg (({size:size} *)(" + _AT + "), {src:reg})", _xchg),
    ("{dst:reg} = xchg{suffix:suffix} (" + _AT + ", {src:reg})", _xchg),
    ("{dst:reg} = atomic{wide:wide}_cmpxchg (({size:size} *)(" + _AT + "), {old:reg}, {src:reg})",
     _cmpxchg),
    ("{dst:reg} = cmpxchg{suffix:suffix} (" + _AT + ", {old:reg}, {src:reg})", _cmpxchg),
    ("{dst:reg} = load_acquire (({size:size} *)(" + _AT + "))", _load_acquire),
    ("store_release (({size:size} *)(" + _AT + "), {src:reg})", _store_release),
    ("{dst:reg} = *({size:size} *) skb[{imm:num}]", _packet),
    ("{dst:reg} = *({size:size} *) skb[{src:reg} {imm:plus}]", _packet),
    ("{dst:reg} = addr_space_cast ({src:reg}, {to:num}, {from:num})", _addr_space_cast),
    ("{dst:reg} = &(void~__percpu *)({src:reg})", _percpu),
    ("nospec", _nospec),
    (".insn~{code:num}, {dst:num}, {src:num}, {off:num}, {imm:num}", _raw),
)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], _Build], ...]:
    return tuple((compile_template(template), build) for template, build in _ROWS)
