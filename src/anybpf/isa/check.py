"""What the shape of a program must be, path or no path (kernel/bpf/verifier.c).

Three passes in the kernel's order, each refusing in the kernel's words: where subprograms and
jumps may go (`check_subprogs`), which opcodes exist (`check_opcodes`), and which fields and
registers an instruction may use (`check_insn`). The kernel does the last only for instructions
that some path reaches, so code that is dead by its values escapes there and not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import E2BIG, EACCES, EINVAL

from anybpf import uapi
from anybpf.bits import s32
from anybpf.errors import BpfError
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import (
    JMP_CLASSES,
    LD_IMM64,
    Insn,
    is_jump,
    is_ld_imm64,
    is_pseudo_call,
    is_pseudo_func,
    jump_offset,
    slots,
)


class BadInsn(BpfError):
    """The instruction at slot `index` is refused; `errno` and `message` are the kernel's."""

    def __init__(self, index: int, errno: int, message: str) -> None:
        self.index = index
        self.message = message
        super().__init__(errno, message)


class _Refused(Exception):
    """A rule was broken; the index is known to the caller."""

    def __init__(self, message: str, errno: int = EINVAL) -> None:
        self.message = message
        self.errno = errno


def check_insns(insns: Sequence[Insn]) -> None:
    """All three passes; raises `BadInsn` for the first broken rule of the first failing pass."""
    if not insns:
        raise BadInsn(0, E2BIG, "empty program")
    check_subprogs(insns)
    check_opcodes(insns)
    # programs repeat themselves: what was right once is right again
    right: set[Insn] = set()
    for index, insn in slots(insns):
        if insn not in right:
            check_insn(insn, index)
            right.add(insn)
    check_jumps_into_imm64(insns)


# -- subprograms and jumps


def subprog_starts(insns: Sequence[Insn]) -> list[int]:
    """The first slots of all subprograms, sorted: 0, and what is called or has its address taken.

    Raises `BadInsn` when a call leaves the program.
    """
    starts = {0}
    for index, insn in enumerate(insns):
        if insn.src and (is_pseudo_call(insn) or is_pseudo_func(insn)):
            target = index + insn.imm + 1
            if not 0 <= target < len(insns):
                raise BadInsn(index, EINVAL, "call to invalid destination")
            starts.add(target)
    return sorted(starts)


def check_subprogs(insns: Sequence[Insn], starts: Sequence[int] = ()) -> Sequence[int]:
    """No jump leaves its subprogram and none falls off its end; gives the subprograms' starts.

    `starts` are those that calls alone do not tell; by default, those that calls tell.
    """
    starts = starts or subprog_starts(insns)
    for start, end in zip(starts, [*starts[1:], len(insns)], strict=True):
        for index in range(start, end):
            if insns[index].code & 7 in JMP_CLASSES:
                _check_target(index, insns[index], start, end)
        if insns[end - 1].code not in _ENDS:
            raise BadInsn(end - 1, EINVAL, "last insn is not an exit or jmp")
    return starts


_ENDS = frozenset(
    {uapi.BPF_JMP | uapi.BPF_EXIT, uapi.BPF_JMP | uapi.BPF_JA, uapi.BPF_JMP32 | uapi.BPF_JA}
)


def _check_target(index: int, insn: Insn, start: int, end: int) -> None:
    if not is_jump(insn):
        return
    target = index + jump_offset(insn) + 1
    if not start <= target < end:
        raise BadInsn(index, EINVAL, f"jump out of range from insn {index} to {s32(target)}")


def check_jumps_into_imm64(insns: Sequence[Insn]) -> None:
    """No jump lands on the second slot of a 64-bit immediate load."""
    seconds = {index + 1: index for index, insn in slots(insns) if is_ld_imm64(insn)}
    for index, insn in enumerate(insns):
        # the second slot of a load has code 0, which is no jump
        if insn.code & 7 not in JMP_CLASSES or not is_jump(insn):
            continue
        load = seconds.get(index + jump_offset(insn) + 1)
        if load is not None:
            raise BadInsn(load, EINVAL, f"jump into the middle of ldimm64 insn {load}")


# -- opcodes and 64-bit immediates


def check_opcodes(insns: Sequence[Insn]) -> None:
    """Every opcode exists and every 64-bit immediate load has its two slots and a known kind."""
    index = 0
    while index < len(insns):
        index += check_opcode(insns, index)


def check_opcode(insns: Sequence[Insn], index: int) -> int:
    """The same for one instruction; gives how many slots it takes."""
    try:
        return _check_opcode(insns, index)
    except _Refused as bad:
        raise BadInsn(index, bad.errno, bad.message) from None


def _check_opcode(insns: Sequence[Insn], index: int) -> int:
    """How many slots the instruction takes."""
    insn = insns[index]
    code = insn.code
    if code & 7 == uapi.BPF_LDX and (insn.mode not in _LOAD_MODES or insn.imm):
        raise _Refused("BPF_LDX uses reserved fields")
    if code == LD_IMM64:
        hi = insns[index + 1] if index + 1 < len(insns) else None
        _check_imm64(insn, hi)
        return 2
    if code not in tab.OPCODES:
        raise _Refused(f"unknown opcode {code:02x}")
    return 1


_LOAD_MODES = (uapi.BPF_MEM, uapi.BPF_MEMSX)


def _check_imm64(lo: Insn, hi: Insn | None) -> None:
    if hi is None or hi._replace(imm=0) != (0, 0, 0, 0, 0):
        raise _Refused("invalid bpf_ld_imm64 insn")
    if lo.src not in _IMM64_KINDS or (lo.src in _ONE_HALF and hi.imm):
        raise _Refused("unrecognized bpf_ld_imm64 insn")


_IMM64_KINDS = frozenset(range(uapi.BPF_PSEUDO_MAP_IDX_VALUE + 1))
#: kinds whose second immediate must be zero
_ONE_HALF = frozenset({uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_IDX})


# -- fields and registers of one instruction


def check_insn(insn: Insn, index: int = 0) -> None:
    """Reserved fields are zero and registers exist; raises `BadInsn`. The opcode must exist."""
    try:
        _CLASSES[insn.cls](insn)
    except _Refused as bad:
        raise BadInsn(index, bad.errno, bad.message) from None


def _read(*registers: int) -> None:
    for register in registers:
        if register >= uapi.MAX_BPF_REG:
            raise _Refused(f"R{register} is invalid")


def _write(register: int) -> None:
    _read(register)
    if register == uapi.BPF_REG_10:
        raise _Refused("frame pointer is read only", EACCES)


def _reserve(name: str, ok: bool) -> None:
    if not ok:
        raise _Refused(f"{name} uses reserved fields")


def _alu(insn: Insn) -> None:
    _ALU_RULES.get(insn.op, _binary)(insn)
    _write(insn.dst)


def _neg(insn: Insn) -> None:
    _reserve("BPF_NEG", not insn.uses_reg and insn[2:] == (0, 0, 0))
    _read(insn.dst)


def _end(insn: Insn) -> None:
    _reserve("BPF_END", insn[2:4] == (0, 0) and insn.imm in tab.END_BITS)
    _read(insn.dst)


def _mov(insn: Insn) -> None:
    if not insn.uses_reg:
        _reserve("BPF_MOV", insn[2:4] == (0, 0))
    elif insn.cls == uapi.BPF_ALU64 and insn.off == tab.ADDR_SPACE_CAST:
        _addr_space_cast(insn)
    else:
        widths = (0, 8, 16) if insn.cls == uapi.BPF_ALU else (0, 8, 16, 32)
        _reserve("BPF_MOV", insn.off in widths and insn.imm == 0)
    if insn.uses_reg:
        _read(insn.src)


def _addr_space_cast(insn: Insn) -> None:
    if insn.imm not in (1, 1 << 16):
        raise _Refused("addr_space_cast insn can only convert between address space 1 and 0")


def _binary(insn: Insn) -> None:
    offs = (0, 1) if insn.op in tab.DIVISIONS else (0,)
    unused = insn.imm if insn.uses_reg else insn.src
    _reserve("BPF_ALU", insn.off in offs and unused == 0)
    _read(*((insn.src, insn.dst) if insn.uses_reg else (insn.dst,)))
    if not insn.uses_reg:
        _check_constant(insn)


def _check_constant(insn: Insn) -> None:
    if insn.op in tab.DIVISIONS and insn.imm == 0:
        raise _Refused("div by zero")
    bits = 64 if insn.cls == uapi.BPF_ALU64 else 32
    if insn.op in tab.SHIFTS and not 0 <= insn.imm < bits:
        raise _Refused(f"invalid shift {insn.imm}")


_ALU_RULES = {uapi.BPF_NEG: _neg, uapi.BPF_END: _end, uapi.BPF_MOV: _mov}


def _ldx(insn: Insn) -> None:
    _read(insn.src)
    _write(insn.dst)


def _st(insn: Insn) -> None:
    _reserve("BPF_ST", insn.mode == uapi.BPF_MEM and insn.src == 0)
    _read(insn.dst)


def _stx(insn: Insn) -> None:
    if insn.mode == uapi.BPF_ATOMIC:
        _atomic(insn)
        return
    _reserve("BPF_STX", insn.mode == uapi.BPF_MEM and insn.imm == 0)
    _read(insn.src, insn.dst)


def _atomic(insn: Insn) -> None:
    if insn.imm not in tab.ATOMICS:
        raise _Refused(f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & uapi.U32:02x}")
    if insn.imm in tab.ATOMIC_RMW and insn.size not in (uapi.BPF_W, uapi.BPF_DW):
        raise _Refused("invalid atomic operand size")
    if insn.imm == uapi.BPF_LOAD_ACQ:
        _ldx(insn)
        return
    _read(insn.src, insn.dst)
    if insn.imm & uapi.BPF_FETCH and insn.imm != uapi.BPF_CMPXCHG:
        _write(insn.src)


def _ld(insn: Insn) -> None:
    if is_ld_imm64(insn):
        _reserve("BPF_LD_IMM64", insn.off == 0)
        _write(insn.dst)
        return
    absolute = insn.mode == uapi.BPF_ABS
    _reserve(
        "BPF_LD_[ABS|IND]",
        insn.dst == 0 and insn.off == 0 and not (absolute and insn.src),
    )
    if not absolute:
        _read(insn.src)


def _jmp(insn: Insn) -> None:
    rule = _JMP_RULES.get(insn.code, _compare)
    rule(insn)


def _call(insn: Insn) -> None:
    kinds = (0, uapi.BPF_PSEUDO_CALL, uapi.BPF_PSEUDO_KFUNC_CALL)
    off_ok = insn.src == uapi.BPF_PSEUDO_KFUNC_CALL or insn.off == 0
    _reserve("BPF_CALL", insn.dst == 0 and insn.src in kinds and off_ok)


def _ja(insn: Insn) -> None:
    unused = insn.imm if insn.cls == uapi.BPF_JMP else insn.off
    _reserve("BPF_JA", (insn.dst, insn.src, unused) == (0, 0, 0))


def _exit(insn: Insn) -> None:
    _reserve("BPF_EXIT", (insn.dst, insn.src, insn.imm) == (0, 0, 0))


def _may_goto(insn: Insn) -> None:
    if (insn.dst, insn.src, insn.imm) != (0, uapi.BPF_MAY_GOTO, 0):
        raise _Refused(f"invalid may_goto imm {insn.imm}")


def _compare(insn: Insn) -> None:
    _read(insn.dst)
    _reserve("BPF_JMP/JMP32", (insn.imm if insn.uses_reg else insn.src) == 0)
    if insn.uses_reg:
        _read(insn.src)


_Rule = Callable[[Insn], None]
_JMP_RULES: dict[int, _Rule] = {
    uapi.BPF_JMP | uapi.BPF_CALL: _call,
    uapi.BPF_JMP | uapi.BPF_JA: _ja,
    uapi.BPF_JMP32 | uapi.BPF_JA: _ja,
    uapi.BPF_JMP | uapi.BPF_EXIT: _exit,
    tab.MAY_GOTO: _may_goto,
}
_CLASSES: dict[int, _Rule] = {
    uapi.BPF_LD: _ld,
    uapi.BPF_LDX: _ldx,
    uapi.BPF_ST: _st,
    uapi.BPF_STX: _stx,
    uapi.BPF_ALU: _alu,
    uapi.BPF_JMP: _jmp,
    uapi.BPF_JMP32: _jmp,
    uapi.BPF_ALU64: _alu,
}
