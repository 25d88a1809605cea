"""One instruction and its eight bytes (include/uapi/linux/bpf.h, struct bpf_insn).

`Insn` is one slot of eight bytes; the 64-bit immediate load takes two slots, the second with
code 0. Nothing here judges an instruction: `isa.check` does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from anybpf import uapi
from anybpf.bits import s32, s64
from anybpf.errors import LoadError

ByteOrder = Literal["little", "big"]

#: bytes of one slot
SLOT = 8
LD_IMM64 = uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW
#: size bits of an opcode -> bytes accessed
SIZE_BYTES = {uapi.BPF_B: 1, uapi.BPF_H: 2, uapi.BPF_W: 4, uapi.BPF_DW: 8}

JMP_CLASSES = frozenset({uapi.BPF_JMP, uapi.BPF_JMP32})
#: operations of the jump classes that do not compare
_NO_COMPARE = frozenset({uapi.BPF_JA, uapi.BPF_CALL, uapi.BPF_EXIT})

_FORMAT: dict[ByteOrder, struct.Struct] = {
    "little": struct.Struct("<BBhi"),
    "big": struct.Struct(">BBhi"),
}


class InsnError(LoadError):
    """Bytes that are no instructions, or an instruction that fits no bytes; `offset` in bytes."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset=offset)


class Insn(NamedTuple):
    """One slot: opcode, destination and source register, 16-bit offset, 32-bit immediate."""

    code: int
    dst: int = 0
    src: int = 0
    #: signed 16 bits
    off: int = 0
    #: signed 32 bits
    imm: int = 0

    @property
    def cls(self) -> int:
        """The instruction class: `uapi.BPF_LD` .. `uapi.BPF_ALU64`."""
        return self.code & 0x07

    @property
    def op(self) -> int:
        """The operation of an arithmetic or jump instruction: `uapi.BPF_ADD`, `uapi.BPF_JA`, ..."""
        return self.code & 0xF0

    @property
    def uses_reg(self) -> bool:
        """For arithmetic and jumps: the second operand is a register (`BPF_X`)."""
        return bool(self.code & uapi.BPF_X)

    @property
    def size(self) -> int:
        """The size bits of a load or store: `uapi.BPF_B` .. `uapi.BPF_DW`."""
        return self.code & 0x18

    @property
    def size_bytes(self) -> int:
        """How many bytes a load or store touches."""
        return SIZE_BYTES[self.size]

    @property
    def mode(self) -> int:
        """The mode of a load or store: `uapi.BPF_MEM`, `uapi.BPF_ATOMIC`, ..."""
        return self.code & 0xE0


def decode(data: bytes | bytearray | memoryview, byteorder: ByteOrder = "little") -> list[Insn]:
    """The slots in `data`; raises `InsnError` when its length is no multiple of eight.

    The register nibbles change places with the byte order, as C bit fields do.
    """
    if len(data) % SLOT:
        offset = len(data) // SLOT * SLOT
        raise InsnError(f"truncated instruction of {len(data) - offset} bytes", offset)
    rows = _FORMAT[byteorder].iter_unpack(data)
    if byteorder == "little":
        fields = ((code, regs & 15, regs >> 4, off, imm) for code, regs, off, imm in rows)
    else:
        fields = ((code, regs >> 4, regs & 15, off, imm) for code, regs, off, imm in rows)
    return list(map(Insn._make, fields))


def encode(insns: Iterable[Insn], byteorder: ByteOrder = "little") -> bytes:
    """The bytes of `insns`; raises `InsnError` naming the first field that does not fit."""
    pack = _FORMAT[byteorder].pack
    out = bytearray()
    for insn in insns:
        try:
            out += pack(insn.code, _registers(insn, byteorder), insn.off, insn.imm)
        except struct.error as err:
            text = f"insn {len(out) // SLOT}: field out of range: {tuple(insn)}"
            raise InsnError(text, len(out)) from err
    return bytes(out)


def _registers(insn: Insn, byteorder: ByteOrder) -> int:
    """The byte of the two register nibbles, or -1 (which packs nowhere) when one is too big."""
    if not (0 <= insn.dst <= 15 and 0 <= insn.src <= 15):
        return -1
    if byteorder == "little":
        return insn.src << 4 | insn.dst
    return insn.dst << 4 | insn.src


def is_ld_imm64(insn: Insn) -> bool:
    """The slot starts a 64-bit immediate load, so the next slot is its second half."""
    return insn.code == LD_IMM64


def imm64(lo: Insn, hi: Insn) -> int:
    """The unsigned 64-bit immediate spread over the two slots of a 64-bit immediate load."""
    return (hi.imm & uapi.U32) << 32 | lo.imm & uapi.U32


def split_imm64(value: int) -> tuple[int, int]:
    """A 64-bit number (either sign) as the two signed immediates, low half first."""
    value = s64(value)
    return s32(value), s32(value >> 32)


def is_jump(insn: Insn) -> bool:
    """The instruction may go elsewhere than to the next slot (not: calls and exit)."""
    return insn.cls in JMP_CLASSES and insn.op not in (uapi.BPF_CALL, uapi.BPF_EXIT)


def is_conditional_jump(insn: Insn) -> bool:
    """The instruction compares and may jump (`may_goto` counts as a comparison)."""
    return insn.cls in JMP_CLASSES and insn.op not in _NO_COMPARE


def jump_offset(insn: Insn) -> int:
    """How many slots past the next one the jump goes: `gotol` keeps that in `imm`."""
    return insn.imm if insn.code == uapi.BPF_JMP32 | uapi.BPF_JA else insn.off


def is_call(insn: Insn) -> bool:
    """Any call: helper, bpf-to-bpf, or kernel function."""
    return insn.code & ~uapi.BPF_X == uapi.BPF_JMP | uapi.BPF_CALL


def is_helper_call(insn: Insn) -> bool:
    """A call of the helper whose number is in `imm`."""
    return insn.code == uapi.BPF_JMP | uapi.BPF_CALL and insn.src == 0


def is_pseudo_call(insn: Insn) -> bool:
    """A call of the subprogram `imm` slots past the next one."""
    return insn.code == uapi.BPF_JMP | uapi.BPF_CALL and insn.src == uapi.BPF_PSEUDO_CALL


def is_kfunc_call(insn: Insn) -> bool:
    """A call of the kernel function whose BTF id is in `imm` (module BTF index in `off`)."""
    return insn.code == uapi.BPF_JMP | uapi.BPF_CALL and insn.src == uapi.BPF_PSEUDO_KFUNC_CALL


def is_pseudo_func(insn: Insn) -> bool:
    """A 64-bit immediate load of a subprogram's address, `imm` slots past the next one."""
    return insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC


def slots(insns: Sequence[Insn]) -> Iterator[tuple[int, Insn]]:
    """Index and first slot of each instruction: second halves of 64-bit loads are passed over."""
    second = False
    for index, insn in enumerate(insns):
        if second:
            second = False
            continue
        second = insn.code == LD_IMM64
        yield index, insn
