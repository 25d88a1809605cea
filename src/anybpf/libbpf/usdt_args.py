"""Where a probe's arguments are: `-4@-20(%rbp) 8@%rax -4@$5` (tools/lib/bpf/usdt.c).

Each argument is its size in bytes (negative: signed), an `@`, and an operand as the machine's
assembler writes it. The answers hold offsets in the kernel's `struct pt_regs` for user space.
"""

from __future__ import annotations

import errno
import re
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.libbpf import log

MAX_ARGS = 12
CONST, REG, REG_DEREF, SIB = range(4)
EM_386, EM_S390, EM_ARM, EM_X86_64, EM_AARCH64, EM_RISCV = 3, 22, 40, 62, 183, 243


class Arg(NamedTuple):
    """One argument.

    `kind` CONST: `value` is it; REG: it is in the register at `register` of pt_regs; REG_DEREF: in
    memory, `value` bytes from where the register points; SIB: the same, and the register at
    `index_register` times `2**scale` added.
    """

    size: int
    signed: bool
    kind: int
    value: int = 0
    register: int = 0
    index_register: int = 0
    scale: int = 0

    @property
    def bitshift(self) -> int:
        """How far to shift left, and back, to get the value out of 64 bits."""
        return 64 - 8 * self.size


class _Machine(NamedTuple):
    """One machine's registers and operands: (pattern, how to read its groups)."""

    registers: dict[str, int]
    operands: tuple[tuple[re.Pattern[str], int], ...]


def _numbered(prefix: str, count: int, start: int = 0, step: int = 8) -> dict[str, int]:
    return {f"{prefix}{i}": start + step * i for i in range(count)}


def _x86_64() -> dict[str, int]:
    wide = {"r15": 0, "r14": 8, "r13": 16, "r12": 24, "rbp": 32, "rbx": 40, "r11": 48, "r10": 56,
            "r9": 64, "r8": 72, "rax": 80, "rcx": 88, "rdx": 96, "rsi": 104, "rdi": 112,
            "rip": 128, "rsp": 152}
    found = dict(wide)
    for name, at in wide.items():
        if name[1:].isdigit():
            found |= {name + end: at for end in ("d", "w", "b")}
        else:
            found |= {"e" + name[1:]: at, name[1:]: at, name[1:] + "l": at}
            if name.endswith("x"):
                found[name[1] + "l"] = at
    return found


def _arm() -> dict[str, int]:
    return _numbered("r", 13, step=4) | {"fp": 44, "ip": 48, "sp": 52, "lr": 56, "pc": 60}


def _riscv() -> dict[str, int]:
    return ({"pc": 0, "ra": 8, "sp": 16, "gp": 24, "tp": 32, "s0": 64, "s1": 72}
            | _numbered("t", 3, 40) | _numbered("a", 8, 80)
            | {f"s{i}": 144 + 8 * (i - 2) for i in range(2, 12)}
            | {f"t{i}": 224 + 8 * (i - 3) for i in range(3, 7)})


def _operands(*rows: tuple[str, int]) -> tuple[tuple[re.Pattern[str], int], ...]:
    return tuple((re.compile(pattern + "$"), kind) for pattern, kind in rows)


N = r"(?P<value>[-+]?(?:0[xX][0-9a-fA-F]+|\d+))"
X86 = _operands(
    (rf"{N}?\(%(?P<register>\w+),%(?P<index_register>\w+),(?P<scale>[1248])\)", SIB),
    (rf"{N}?\(%(?P<register>\w+),%(?P<index_register>\w+)\)", SIB),
    (rf"{N}?\(%(?P<register>\w+)\)", REG_DEREF),
    (r"%(?P<register>\w+)", REG),
    (rf"\${N}", CONST),
)
MACHINES: dict[int, _Machine] = {
    EM_X86_64: _Machine(_x86_64(), X86),
    EM_AARCH64: _Machine(_numbered("x", 31) | {"sp": 248}, _operands(
        (rf"\[(?P<register>\w+),\s*{N}\]", REG_DEREF), (r"\[(?P<register>\w+)\]", REG_DEREF),
        (N, CONST), (r"(?P<register>[a-z]\w*)", REG))),
    EM_ARM: _Machine(_arm(), _operands(
        (rf"\[(?P<register>\w+),\s*#{N}\]", REG_DEREF), (r"\[(?P<register>\w+)\]", REG_DEREF),
        (rf"#{N}", CONST), (r"(?P<register>[a-z]\w*)", REG))),
    EM_S390: _Machine(_numbered("r", 16, 24), _operands(
        (rf"{N}?\(%(?P<register>\w+)\)", REG_DEREF), (r"%(?P<register>\w+)", REG), (N, CONST))),
    EM_RISCV: _Machine(_riscv(), _operands(
        (rf"{N}?\((?P<register>\w+)\)", REG_DEREF), (N, CONST), (r"(?P<register>[a-z]\w*)", REG))),
}
#: one argument: `size@operand`, where an operand in brackets may have spaces in it
ARGUMENT = re.compile(r"\s*(?P<size>-?\d+)(?P<float>f?)@(?P<operand>\[[^\]]*\]|\S+)(?:\s+|$)")


def parse(text: str, machine: int) -> tuple[Arg, ...]:
    """All arguments of a probe. Raises BpfError (EINVAL, E2BIG), NotSupported for a machine."""
    rules = MACHINES.get(machine)
    if rules is None and text.strip():
        raise NotSupported(f"arguments of USDT probes on ELF machine {machine}")
    found: list[Arg] = []
    at = 0
    while rules is not None and text[at:].strip():
        if len(found) >= MAX_ARGS:
            log.fail(errno.E2BIG, f"usdt: too many USDT arguments (> {MAX_ARGS}) in args spec "
                                  f"'{text}'")
        match = ARGUMENT.match(text, at)
        if match is None or match["float"]:
            raise_unrecognized(len(found), text[at:])
        found.append(_argument(rules, len(found), match))
        at = match.end()
    return tuple(found)


def raise_unrecognized(number: int, text: str) -> NoReturn:
    log.fail(errno.EINVAL, f"usdt: unrecognized arg #{number} spec '{text}'")


def _argument(rules: _Machine, number: int, match: re.Match[str]) -> Arg:
    size = int(match["size"])
    if abs(size) not in (1, 2, 4, 8):
        log.fail(errno.EINVAL, f"usdt: unsupported arg #{number} (spec '{match[0].strip()}') size: "
                               f"{size}")
    for pattern, kind in rules.operands:
        found = pattern.match(match["operand"])
        if found is not None:
            return _operand(rules, Arg(abs(size), size < 0, kind), found.groupdict())
    raise_unrecognized(number, match[0].strip())


def _operand(rules: _Machine, arg: Arg, parts: dict[str, str | None]) -> Arg:
    read: dict[str, Callable[[str], Any]] = {
        "value": lambda text: int(text, 0), "register": lambda text: _register(rules, text),
        "index_register": lambda text: _register(rules, text),
        "scale": lambda text: int(text).bit_length() - 1}
    return arg._replace(**{name: read[name](text) for name, text in parts.items() if text})


def _register(rules: _Machine, name: str) -> int:
    if name not in rules.registers:
        log.fail(errno.EINVAL, f"usdt: unrecognized register '{name}'")
    return rules.registers[name]


def spec_bytes(args: tuple[Arg, ...], cookie: int = 0) -> bytes:
    """`struct __bpf_usdt_spec` of bpf/usdt.bpf.h, a value of the map `__bpf_usdt_specs`."""
    rows = [struct.pack("=QIhBB", a.value & uapi.U64, _kind_word(a), a.register, a.signed,
                        a.bitshift) for a in args]
    return b"".join(rows).ljust(16 * MAX_ARGS, b"\0") + struct.pack("=Qhxxxxxx", cookie, len(args))


def _kind_word(arg: Arg) -> int:
    """Bit fields: kind, index and scale, as C of either byte order lays them out."""
    if sys.byteorder == "little":
        return arg.kind | arg.index_register << 8 | arg.scale << 20
    return arg.kind | arg.scale << 8 | arg.index_register << 12
