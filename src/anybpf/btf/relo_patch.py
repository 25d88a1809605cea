"""Putting a CO-RE answer into an instruction (tools/lib/bpf/relo_core.c, bpf_core_patch_insn)."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from anybpf import uapi
from anybpf.bits import s32
from anybpf.btf.relo_spec import bad, in_kernel, refused, tell
from anybpf.btf.relo_value import Answer
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn

#: "bad relo": the number of no helper, so that the verifier refuses the program if it gets there
POISON = 0xBAD2310
POISON_INSN = Insn(uapi.BPF_JMP | uapi.BPF_CALL, imm=POISON)
MAX_OFFSET = 0x7FFF
BPF_SIZES = {1: uapi.BPF_B, 2: uapi.BPF_H, 4: uapi.BPF_W, 8: uapi.BPF_DW}
BYTES = {size: count for count, size in BPF_SIZES.items()}
SIZE_MASK = 0x18
ZERO_SLOT = (0, 0, 0, 0)


def patch(insns: list[Insn], index: int, answer: Answer, where: str) -> None:
    """Change the instruction at `index` to what the answer says. `where` begins the messages.

    Raises CoreError: EINVAL (not the instruction that the record is for), ERANGE.
    """
    insn = insns[index]
    if answer.poison:
        poison(insns, index, where)
        return
    apply = PATCH.get(insn.code & 7)
    if apply is None:
        raise refused(where, f"trying to relocate unrecognized insn #{index}, "
                      f"code:{insn.code:#x}, src:{insn.src:#x}, dst:{insn.dst:#x}, "
                      f"off:{insn.off:#x}, imm:{insn.imm:#x}")
    apply(insns, index, answer, where)


def poison(insns: list[Insn], index: int, where: str) -> None:
    """Make the instruction one that must not be reached."""
    both = isa.is_ld_imm64(insns[index]) and index + 1 < len(insns)
    slots = (index, index + 1) if both else (index,)
    for slot in reversed(slots) if in_kernel() else slots:
        _poison_one(insns, slot, where)


def _poison_one(insns: list[Insn], index: int, where: str) -> None:
    tell("%s: substituting insn #%d w/ invalid insn", where, index)
    insns[index] = POISON_INSN


def _alu(insns: list[Insn], index: int, answer: Answer, where: str) -> None:
    insn = insns[index]
    if insn.code & uapi.BPF_X:
        # nobody logs this one
        raise bad(f"{where}: insn #{index} (ALU/ALU64) takes a register")
    _expect(answer, index, "ALU/ALU64", insn.imm, where)
    tell("%s: patched insn #%d (ALU/ALU64) imm %d -> %d", where, index,
         insn.imm & uapi.U64, answer.new)
    insns[index] = insn._replace(imm=s32(answer.new))


def _expect(answer: Answer, index: int, form: str, held: int, where: str) -> None:
    """The instruction still holds what the compiler knew."""
    if answer.validate and held & uapi.U64 != answer.old:
        shown = held & (uapi.U64 if form == "LDIMM64" else uapi.U32)
        raise refused(where, f"unexpected insn #{index} ({form}) value: got {shown}, "
                      f"exp {answer.old} -> {answer.new}")


def _memory(insns: list[Insn], index: int, answer: Answer, where: str) -> None:
    insn = insns[index]
    _expect(answer, index, "LDX/ST/STX", insn.off, where)
    if answer.new > MAX_OFFSET:
        raise refused(where, f"insn #{index} (LDX/ST/STX) value too big: {answer.new}",
                      errno.ERANGE)
    if answer.bad_size:
        tell("%s: insn #%d (LDX/ST/STX) accesses field incorrectly. Make sure you are "
             "accessing pointers, unsigned integers, or fields of matching type and size.",
             where, index, level=logging.WARNING)
        poison(insns, index, where)
        return
    tell("%s: patched insn #%d (LDX/ST/STX) off %d -> %d", where, index,
         insn.off & uapi.U64, answer.new)
    insns[index] = insn._replace(off=answer.new, code=_resized(insn.code, index, answer, where))


def _resized(code: int, index: int, answer: Answer, where: str) -> int:
    """The opcode with the width of the target's field."""
    if answer.old_size == answer.new_size:
        return code
    held = BYTES[code & SIZE_MASK]
    if held != answer.old_size:
        raise refused(where, f"insn #{index} (LDX/ST/STX) unexpected mem size: got {held}, "
                      f"exp {answer.old_size}")
    size = BPF_SIZES.get(answer.new_size)
    if size is None:
        raise refused(where, f"insn #{index} (LDX/ST/STX) invalid new mem size: "
                      f"{answer.new_size}")
    tell("%s: patched insn #%d (LDX/ST/STX) mem_sz %d -> %d", where, index,
         answer.old_size, answer.new_size)
    return code & ~SIZE_MASK | size


def _load_imm64(insns: list[Insn], index: int, answer: Answer, where: str) -> None:
    low, high = insns[index], insns[index + 1] if index + 1 < len(insns) else isa.Insn(0xFF)
    plain = isa.is_ld_imm64(low) and not low.src and not low.off
    if not plain or (high.code, high.dst, high.src, high.off) != ZERO_SLOT:
        raise refused(where, f"insn #{index} (LDIMM64) has unexpected form")
    held = isa.imm64(low, high)
    _expect(answer, index, "LDIMM64", held, where)
    tell("%s: patched insn #%d (LDIMM64) imm64 %d -> %d", where, index, held, answer.new)
    first, second = isa.split_imm64(answer.new)
    insns[index], insns[index + 1] = low._replace(imm=first), high._replace(imm=second)


PATCH: dict[int, Callable[[list[Insn], int, Answer, str], None]] = {
    uapi.BPF_LD: _load_imm64,
    uapi.BPF_LDX: _memory,
    uapi.BPF_ST: _memory,
    uapi.BPF_STX: _memory,
    uapi.BPF_ALU: _alu,
    uapi.BPF_ALU64: _alu,
}
