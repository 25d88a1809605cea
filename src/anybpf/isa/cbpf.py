"""Classic BPF: read, check, and turn into eBPF (net/core/filter.c).

A classic filter has an accumulator A, an index register X, sixteen words M[], and forward jumps
only. It runs through `convert`, whose eBPF means the same for a program of type socket filter:
what the packet does not have ends the filter with 0. `isa.cbpf_asm` reads and writes its text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import EINVAL
from typing import NamedTuple

from anybpf import uapi
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.isa import build as b
from anybpf.isa.insn import ByteOrder, Insn

#: bytes of one classic instruction
SLOT = 8


class SockFilter(NamedTuple):
    """One classic instruction (struct sock_filter): opcode, two jump distances, and a number."""

    code: int
    #: how many instructions to skip when the condition holds, 0..255
    jt: int = 0
    #: and when it does not
    jf: int = 0
    #: unsigned 32 bits
    k: int = 0

    @property
    def cls(self) -> int:
        """The class: `uapi.BPF_LD` .. `uapi.BPF_JMP`, `uapi.BPF_RET`, `uapi.BPF_MISC`."""
        return self.code & 0x07

    @property
    def op(self) -> int:
        """The operation of arithmetic and jumps."""
        return self.code & 0xF0


Filter = Sequence[SockFilter]


class BadFilter(BpfError):
    """The kernel would refuse the filter: the instruction's `index`, and why in our words."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        self.message = message
        super().__init__(EINVAL, f"classic insn {index}: {message}")


# -- bytes and numbers


def decode(data: bytes, byteorder: ByteOrder = "little") -> list[SockFilter]:
    """The filter in `data`; raises `LoadError` when its length is no multiple of eight."""
    if len(data) % SLOT:
        raise LoadError("truncated classic instruction", offset=len(data) // SLOT * SLOT)
    layout = "<HBBI" if byteorder == "little" else ">HBBI"
    return [SockFilter(*row) for row in struct.iter_unpack(layout, data)]


def encode(insns: Iterable[SockFilter], byteorder: ByteOrder = "little") -> bytes:
    """The bytes of a filter; raises `LoadError` where a field does not fit."""
    layout = "<HBBI" if byteorder == "little" else ">HBBI"
    out = bytearray()
    for insn in insns:
        try:
            out += struct.pack(layout, *insn)
        except struct.error as err:
            raise LoadError(f"field out of range: {tuple(insn)}", offset=len(out)) from err
    return bytes(out)


def parse_numbers(text: str) -> list[SockFilter]:
    """A filter as numbers: of `tcpdump -ddd`, of tc and iptables (`2,48 0 0 9,6 0 0 1`), or in C.

    The count in front is optional, but when it is there it must be right. Raises `LoadError`.
    """
    rows = [row for row in map(_numbers, _rows(text)) if row]
    if rows and len(rows[0]) == 1:
        count = rows.pop(0)[0]
        if count != len(rows):
            raise LoadError(f"{count} instructions are announced and {len(rows)} given")
    return [_number_row(index, row) for index, row in enumerate(rows)]


def _numbers(text: str) -> list[int]:
    found = re.findall(r"0[xX][0-9a-fA-F]+|[0-9]+", text)
    # twenty digits are too many for any field, and said to be so later
    return [int(x[:20], 16 if x[:2] in ("0x", "0X") else 10) for x in found]


def _rows(text: str) -> list[str]:
    """One text for each instruction: braces part them in C, commas for tc, else lines."""
    braced = re.findall(r"\{([^{}]*)\}", text)
    return braced or re.split(r"[,\n]", text)


def _number_row(index: int, row: list[int]) -> SockFilter:
    limits = (0xFFFF, 0xFF, 0xFF, uapi.U32)
    if len(row) != 4 or any(x > limit for x, limit in zip(row, limits, strict=False)):
        raise LoadError(f"classic insn {index}: not four numbers that fit", offset=index * SLOT)
    return SockFilter(*row)


# -- ancillary data: loads from beyond SKF_AD_OFF

#: offset from SKF_AD_OFF -> name, as bpf_asm spells it
ANCILLARY = {
    uapi.SKF_AD_PROTOCOL: "proto",
    uapi.SKF_AD_PKTTYPE: "type",
    uapi.SKF_AD_IFINDEX: "ifidx",
    uapi.SKF_AD_NLATTR: "nla",
    uapi.SKF_AD_NLATTR_NEST: "nlan",
    uapi.SKF_AD_MARK: "mark",
    uapi.SKF_AD_QUEUE: "queue",
    uapi.SKF_AD_HATYPE: "hatype",
    uapi.SKF_AD_RXHASH: "rxhash",
    uapi.SKF_AD_CPU: "cpu",
    uapi.SKF_AD_ALU_XOR_X: "xor_x",
    uapi.SKF_AD_VLAN_TAG: "vlan_tci",
    uapi.SKF_AD_VLAN_TAG_PRESENT: "vlan_avail",
    uapi.SKF_AD_PAY_OFFSET: "poff",
    uapi.SKF_AD_RANDOM: "rand",
    uapi.SKF_AD_VLAN_TPID: "vlan_tpid",
}
_AD_BASE = uapi.SKF_AD_OFF & uapi.U32
_PACKET_SIZES = (uapi.BPF_W, uapi.BPF_H, uapi.BPF_B)
_ABS_LOADS = frozenset(uapi.BPF_LD | uapi.BPF_ABS | size for size in _PACKET_SIZES)
_IND_LOADS = frozenset(uapi.BPF_LD | uapi.BPF_IND | size for size in _PACKET_SIZES)


def ancillary(insn: SockFilter) -> str | None:
    """The name of the ancillary data that a load takes, or None for what is in the packet."""
    if insn.code not in _ABS_LOADS or insn.k < _AD_BASE:
        return None
    return ANCILLARY.get(insn.k - _AD_BASE)


# -- the check

_LD_IMM, _LD_MEM, _LD_LEN = uapi.BPF_LD, uapi.BPF_LD | uapi.BPF_MEM, uapi.BPF_LD | uapi.BPF_LEN
_LDX_IMM, _LDX_MEM, _LDX_LEN = (code | uapi.BPF_LDX for code in (_LD_IMM, _LD_MEM, _LD_LEN))
_LDX_MSH = uapi.BPF_LDX | uapi.BPF_MSH | uapi.BPF_B
_TAX, _TXA = uapi.BPF_MISC | uapi.BPF_TAX, uapi.BPF_MISC | uapi.BPF_TXA
_RET_K, _RET_A = uapi.BPF_RET, uapi.BPF_RET | uapi.BPF_A
_JA = uapi.BPF_JMP | uapi.BPF_JA
_SHIFTS = frozenset({uapi.BPF_LSH, uapi.BPF_RSH})
_DIVISIONS = frozenset({uapi.BPF_DIV, uapi.BPF_MOD})
_BINARY = frozenset(
    {uapi.BPF_ADD, uapi.BPF_SUB, uapi.BPF_MUL, uapi.BPF_AND, uapi.BPF_OR, uapi.BPF_XOR}
    | _SHIFTS
    | _DIVISIONS
)
_COMPARES = frozenset({uapi.BPF_JEQ, uapi.BPF_JGE, uapi.BPF_JGT, uapi.BPF_JSET})

#: every opcode that a classic filter may have
OPCODES = frozenset(
    {uapi.BPF_ALU | op | source for op in _BINARY for source in (uapi.BPF_K, uapi.BPF_X)}
    | {uapi.BPF_JMP | op | source for op in _COMPARES for source in (uapi.BPF_K, uapi.BPF_X)}
    | {uapi.BPF_ALU | uapi.BPF_NEG, _JA, _RET_K, _RET_A, _TAX, _TXA, uapi.BPF_ST, uapi.BPF_STX}
    | {_LD_IMM, _LD_MEM, _LD_LEN, _LDX_IMM, _LDX_MEM, _LDX_LEN, _LDX_MSH}
    | _ABS_LOADS
    | _IND_LOADS
)
_WORD_LOADS = frozenset({_LD_MEM, _LDX_MEM})
_WORD_STORES = frozenset({uapi.BPF_ST, uapi.BPF_STX})


def check(insns: Filter) -> None:
    """What bpf_check_classic refuses raises `BadFilter` (EINVAL)."""
    if not 0 < len(insns) <= uapi.BPF_MAXINSNS:
        raise BadFilter(0, f"a filter has 1 to {uapi.BPF_MAXINSNS} instructions")
    for index, insn in enumerate(insns):
        problem = _problem(insn, len(insns) - index - 1)
        if problem:
            raise BadFilter(index, problem)
    if insns[-1].code not in (_RET_K, _RET_A):
        raise BadFilter(len(insns) - 1, "the last instruction must return")
    _check_words(insns)


def _problem(insn: SockFilter, left: int) -> str | None:
    """What is wrong with one instruction that has `left` more after it."""
    if insn.code not in OPCODES:
        return f"unknown opcode {insn.code:#04x}"
    if insn.cls == uapi.BPF_ALU and not insn.code & uapi.BPF_X:
        return _constant_problem(insn)
    if insn.code in _WORD_LOADS | _WORD_STORES and insn.k >= uapi.BPF_MEMWORDS:
        return f"there is no M[{insn.k}]"
    if insn.cls == uapi.BPF_JMP:
        distances = [insn.k] if insn.code == _JA else [insn.jt, insn.jf]
        return "jump out of range" if max(distances) >= left else None
    if insn.code in _ABS_LOADS and insn.k >= _AD_BASE and ancillary(insn) is None:
        return "unknown ancillary load"
    return None


def _constant_problem(insn: SockFilter) -> str | None:
    if insn.op in _DIVISIONS and insn.k == 0:
        return "division by zero"
    return "invalid shift" if insn.op in _SHIFTS and insn.k >= 32 else None


def _check_words(insns: Filter) -> None:
    """No word of M[] is read before every path to there has written it.

    Jumps go forward, so one pass knows all: `arrive[i]` is the set of words (bits) that are
    written on all jumps to `i` seen so far.
    """
    arrive = [~0] * len(insns)
    valid = 0
    for index, insn in enumerate(insns):
        valid &= arrive[index]
        if insn.code in _WORD_STORES:
            valid |= 1 << insn.k
        elif insn.code in _WORD_LOADS and not valid >> insn.k & 1:
            raise BadFilter(index, f"M[{insn.k}] is read before it is written")
        elif insn.cls == uapi.BPF_JMP:
            for target in _targets(index, insn):
                arrive[target] &= valid
            valid = ~0


def _targets(index: int, insn: SockFilter) -> tuple[int, ...]:
    if insn.code == _JA:
        return (index + 1 + insn.k,)
    return (index + 1 + insn.jt, index + 1 + insn.jf)


# -- conversion

#: where the classic machine lives in eBPF: the accumulator, the index, the context, a spare
A, X, CTX, TMP = b.R0, b.R7, b.R6, b.R2

#: word fields of struct __sk_buff that ancillary loads come from
_SKB = {
    "len": 0, "type": 4, "mark": 8, "queue": 12, "proto": 16, "vlan_avail": 20, "vlan_tci": 24,
    "vlan_tpid": 28, "ifidx": 40, "rxhash": 68,
}  # fmt: skip
#: kept in network order in struct __sk_buff, given in host order to the filter
_NETWORK_ORDER = frozenset({"proto", "vlan_tpid"})
_HELPERS = {
    "cpu": uapi.BPF_FUNC_get_smp_processor_id,
    "rand": uapi.BPF_FUNC_get_prandom_u32,
}
#: what only the kernel's inside can answer: u32 f(context, A, X)
INTERNAL = ("poff", "nla", "nlan", "hatype")


class _Draft(NamedTuple):
    """eBPF whose jumps wait: slot -> index of the classic instruction to jump to."""

    insns: list[Insn]
    jumps: dict[int, int]
    internal: Mapping[str, int]

    def add(self, *insns: Insn) -> None:
        self.insns.extend(insns)

    def jump(self, insn: Insn, target: int) -> None:
        self.jumps[len(self.insns)] = target
        self.insns.append(insn)


def convert(insns: Filter, internal: Mapping[str, int] | None = None) -> list[Insn]:
    """The eBPF of a classic filter, which is checked first; r1 is a `struct __sk_buff`.

    What no path reaches is left out, so that a verifier takes the rest.
    The answers to `poff` (payload offset), `nla` and `nlan` (netlink attributes) and `hatype`
    (hardware type) lie in no field that a program may read: `internal` names helper numbers
    for them, called with (context, A, X). Without one, a filter that asks raises `NotSupported`.
    """
    check(insns)
    draft = _Draft([], {}, internal or {})
    draft.add(b.mov32_imm(A, 0), b.mov32_imm(X, 0), b.mov64_reg(CTX, b.R1))
    starts = {}
    for index in _reachable(insns):
        starts[index] = len(draft.insns)
        _CONVERTERS[insns[index].cls](draft, index, insns[index])
    for slot, target in draft.jumps.items():
        distance = starts[target] - slot - 1
        draft.insns[slot] = _aimed(draft.insns[slot], distance)
    return draft.insns


def _reachable(insns: Filter) -> Iterator[int]:
    """The instructions that some path reaches, in order: jumps only go forward."""
    wanted = {0}
    for index, insn in enumerate(insns):
        if index not in wanted:
            continue
        yield index
        if insn.cls == uapi.BPF_JMP:
            wanted.update(_targets(index, insn))
        elif insn.cls != uapi.BPF_RET:
            wanted.add(index + 1)


def _aimed(insn: Insn, distance: int) -> Insn:
    """A jump with its distance; one that is too long for 16 bits is unconditional (`k` is wide)."""
    if -0x8000 <= distance <= 0x7FFF:
        return insn._replace(off=distance)
    return b.jmp32_a(distance)


def _word(k: int) -> int:
    """The stack offset of M[k]."""
    return -4 * (uapi.BPF_MEMWORDS - k)


def _ld(draft: _Draft, index: int, insn: SockFilter) -> None:
    name = ancillary(insn)
    if name:
        _ld_ancillary(draft, name)
    elif insn.code in _ABS_LOADS:
        draft.add(b.ld_abs(insn.code & 0x18, insn.k))
    elif insn.code in _IND_LOADS:
        draft.add(b.ld_ind(insn.code & 0x18, X, insn.k))
    else:
        draft.add(_load_into(A, insn))


def _ldx(draft: _Draft, index: int, insn: SockFilter) -> None:
    if insn.code != _LDX_MSH:
        draft.add(_load_into(X, insn))
        return
    draft.add(b.mov64_reg(X, A), b.ld_abs(uapi.BPF_B, insn.k))
    draft.add(b.alu32_imm(uapi.BPF_AND, A, 0xF), b.alu32_imm(uapi.BPF_LSH, A, 2))
    draft.add(b.mov64_reg(TMP, X), b.mov64_reg(X, A), b.mov64_reg(A, TMP))


def _load_into(register: int, insn: SockFilter) -> Insn:
    """Loads that both registers have: a number, a word of M[], the packet's length."""
    mode = insn.code & 0xE0
    if mode == uapi.BPF_MEM:
        return b.ldx_mem(uapi.BPF_W, register, b.FP, _word(insn.k))
    if mode == uapi.BPF_LEN:
        return b.ldx_mem(uapi.BPF_W, register, CTX, _SKB["len"])
    return b.mov32_imm(register, insn.k)


def _ld_ancillary(draft: _Draft, name: str) -> None:
    if name == "xor_x":
        draft.add(b.alu32_reg(uapi.BPF_XOR, A, X))
    elif name == "ifidx":
        # without a device the filter ends, with what A holds
        draft.add(b.ldx_mem(uapi.BPF_W, TMP, CTX, _SKB[name]))
        draft.add(b.jmp_imm(uapi.BPF_JNE, TMP, 0, 1), b.exit_insn(), b.mov64_reg(A, TMP))
    elif name in _SKB:
        draft.add(b.ldx_mem(uapi.BPF_W, A, CTX, _SKB[name]))
        if name in _NETWORK_ORDER:
            draft.add(b.endian(uapi.BPF_TO_BE, A, 16))
    elif name in _HELPERS:
        draft.add(b.emit_call(_HELPERS[name]))
    else:
        _ld_internal(draft, name)


def _ld_internal(draft: _Draft, name: str) -> None:
    if name not in draft.internal:
        raise NotSupported(f"classic ancillary load {name}")
    draft.add(b.mov64_reg(b.R1, CTX), b.mov64_reg(b.R2, A), b.mov64_reg(b.R3, X))
    draft.add(b.emit_call(draft.internal[name]))


def _store(draft: _Draft, index: int, insn: SockFilter) -> None:
    source = A if insn.cls == uapi.BPF_ST else X
    draft.add(b.stx_mem(uapi.BPF_W, b.FP, source, _word(insn.k)))


def _alu(draft: _Draft, index: int, insn: SockFilter) -> None:
    if insn.op == uapi.BPF_NEG:
        draft.add(b.neg32(A))
    elif not insn.code & uapi.BPF_X:
        draft.add(b.alu32_imm(insn.op, A, insn.k))
    else:
        if insn.op in _DIVISIONS:
            _guard_division(draft)
        draft.add(b.alu32_reg(insn.op, A, X))


def _guard_division(draft: _Draft) -> None:
    """Dividing by zero ends a classic filter with 0."""
    draft.add(b.mov32_reg(X, X), b.jmp_imm(uapi.BPF_JNE, X, 0, 2))
    draft.add(b.mov32_imm(A, 0), b.exit_insn())


_INVERSE = {uapi.BPF_JEQ: uapi.BPF_JNE, uapi.BPF_JGT: uapi.BPF_JLE, uapi.BPF_JGE: uapi.BPF_JLT}


def _jmp(draft: _Draft, index: int, insn: SockFilter) -> None:
    if insn.code == _JA:
        draft.jump(b.jmp_a(0), index + 1 + insn.k)
        return
    yes, no = _targets(index, insn)
    compare = _comparison(draft, insn)
    if insn.jt == 0 and insn.op in _INVERSE:
        draft.jump(compare(_INVERSE[insn.op]), no)
        return
    draft.jump(compare(insn.op), yes)
    if insn.jf:
        draft.jump(b.jmp_a(0), no)


def _comparison(draft: _Draft, insn: SockFilter) -> Callable[[int], Insn]:
    """Makes the jump for an operation; numbers that eBPF would sign-extend go to a register."""
    if insn.code & uapi.BPF_X:
        return lambda op: b.jmp_reg(op, A, X, 0)
    if insn.k >> 31:
        draft.add(b.mov32_imm(TMP, insn.k))
        return lambda op: b.jmp_reg(op, A, TMP, 0)
    return lambda op: b.jmp_imm(op, A, insn.k, 0)


def _ret(draft: _Draft, index: int, insn: SockFilter) -> None:
    if insn.code == _RET_K:
        draft.add(b.mov32_imm(A, insn.k))
    draft.add(b.exit_insn())


def _misc(draft: _Draft, index: int, insn: SockFilter) -> None:
    draft.add(b.mov64_reg(X, A) if insn.code == _TAX else b.mov64_reg(A, X))


_CONVERTERS: dict[int, Callable[[_Draft, int, SockFilter], None]] = {
    uapi.BPF_LD: _ld,
    uapi.BPF_LDX: _ldx,
    uapi.BPF_ST: _store,
    uapi.BPF_STX: _store,
    uapi.BPF_ALU: _alu,
    uapi.BPF_JMP: _jmp,
    uapi.BPF_RET: _ret,
    uapi.BPF_MISC: _misc,
}
