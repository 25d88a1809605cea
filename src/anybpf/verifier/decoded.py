"""Instructions taken apart once, for the walk that meets them many times (struct bpf_insn)."""

from __future__ import annotations

from anybpf import uapi
from anybpf.isa.insn import LD_IMM64, Insn, is_pseudo_call
from anybpf.verifier.cfg import successors


class Decoded:
    """One instruction's fields, and where it leads. `raw` is the instruction itself.

    `next` and `jump` are the slots that may come next inside the function, the following one
    first; -1 where there is none.
    """

    def __init__(self, insn: Insn, after: tuple[int, ...]) -> None:
        self.raw = insn
        self.code, self.dst, self.src, self.off, self.imm = insn
        self.cls, self.op, self.mode = insn.cls, insn.op, insn.mode
        self.uses_reg, self.size_bytes = insn.uses_reg, insn.size_bytes
        self.is_ld_imm64 = insn.code == LD_IMM64
        self.is_pseudo_call = is_pseudo_call(insn)
        self.next = after[0] if after else -1
        self.jump = after[1] if len(after) > 1 else -1
        #: its fields were found to be good
        self.checked = False


def decode(insns: list[Insn]) -> list[Decoded]:
    """All slots; the second halves of 64-bit loads are there and mean nothing."""
    return [Decoded(insn, successors(insns, idx)) for idx, insn in enumerate(insns)]


def imm_u64(insn: Decoded) -> int:
    """The immediate as instructions extend it: signed, to 64 bits."""
    return insn.imm & uapi.U64
