"""Arguments of USDT probes as five machines write them."""

from __future__ import annotations

import errno
import struct

import pytest

from anybpf.errors import BpfError, NotSupported
from anybpf.libbpf import usdt_args as u
from anybpf.libbpf.usdt_args import CONST, REG, REG_DEREF, SIB, Arg

X86, ARM64, ARM, S390, RISCV = u.EM_X86_64, u.EM_AARCH64, u.EM_ARM, u.EM_S390, u.EM_RISCV


@pytest.mark.parametrize(("machine", "text", "arg"), [
    (X86, "-4@-20(%rbp)", Arg(4, True, REG_DEREF, -20, 32)),
    (X86, "8@(%rsp)", Arg(8, False, REG_DEREF, 0, 152)),
    (X86, "8@%rax", Arg(8, False, REG, register=80)),
    (X86, "4@%r9d", Arg(4, False, REG, register=64)),
    (X86, "-2@%dx", Arg(2, True, REG, register=96)),
    (X86, "1@%sil", Arg(1, False, REG, register=104)),
    (X86, "1@%bl", Arg(1, False, REG, register=40)),
    (X86, "-4@$-5", Arg(4, True, CONST, -5)),
    (X86, "8@$0x10", Arg(8, False, CONST, 16)),
    (X86, "1@-96(%rbp,%rax,8)", Arg(1, False, SIB, -96, 32, 80, 3)),
    (X86, "1@(%rbx,%r12)", Arg(1, False, SIB, 0, 40, 24, 0)),
    (ARM64, "-4@[sp, 60]", Arg(4, True, REG_DEREF, 60, 248)),
    (ARM64, "8@[x29]", Arg(8, False, REG_DEREF, 0, 232)),
    (ARM64, "8@x0", Arg(8, False, REG)),
    (ARM64, "-4@5", Arg(4, True, CONST, 5)),
    (ARM, "4@[fp, #-20]", Arg(4, False, REG_DEREF, -20, 44)),
    (ARM, "4@r1", Arg(4, False, REG, register=4)),
    (ARM, "-4@#7", Arg(4, True, CONST, 7)),
    (S390, "-4@160(%r15)", Arg(4, True, REG_DEREF, 160, 144)),
    (S390, "8@%r2", Arg(8, False, REG, register=40)),
    (S390, "4@5", Arg(4, False, CONST, 5)),
    (RISCV, "-8@-88(s0)", Arg(8, True, REG_DEREF, -88, 64)),
    (RISCV, "4@a7", Arg(4, False, REG, register=136)),
    (RISCV, "8@t6", Arg(8, False, REG, register=248)),
    (RISCV, "8@s11", Arg(8, False, REG, register=216)),
])
def test_operands(machine: int, text: str, arg: Arg) -> None:
    assert u.parse(text, machine) == (arg,)
    assert arg.bitshift == 64 - 8 * arg.size


def test_several() -> None:
    assert [a.value for a in u.parse("4@[x1, 4]  4@[x2, 8] 4@9", ARM64)] == [4, 8, 9]
    assert u.parse("", X86) == u.parse("", 12345) == ()


@pytest.mark.parametrize(("text", "number", "why"), [
    ("4@%rfoo", errno.EINVAL, "unrecognized register 'rfoo'"),
    ("4@foo(%rip,1", errno.EINVAL, "unrecognized arg #0 spec '4@foo(%rip,1'"),
    ("8@%rdi 4@", errno.EINVAL, "unrecognized arg #1 spec '4@'"),
    ("3@%rdi", errno.EINVAL, "unsupported arg #0 (spec '3@%rdi') size: 3"),
    ("-16@%rdi", errno.EINVAL, "size: -16"),
    ("8f@%xmm0", errno.EINVAL, "unrecognized arg #0"),
    ("4@%rdi " * 13, errno.E2BIG, "too many USDT arguments (> 12)"),
])
def test_what_cannot_be_read(text: str, number: int, why: str) -> None:
    with pytest.raises(BpfError) as caught:
        u.parse(text, X86)
    assert caught.value.errno == number
    assert why in str(caught.value)


def test_unknown_machines() -> None:
    with pytest.raises(NotSupported, match="ELF machine 8"):
        u.parse("4@$3", 8)


def test_the_map_value() -> None:
    raw = u.spec_bytes((Arg(4, True, REG_DEREF, -20, 32), Arg(1, False, SIB, 8, 40, 80, 3)), 7)
    assert len(raw) == 208
    assert struct.unpack_from("=qIhBB", raw) == (-20, REG_DEREF, 32, 1, 32)
    word = struct.unpack_from("=I", raw, 24)[0]
    assert (word & 0xFF, word >> 8 & 0xFFF, word >> 20 & 0xF) == (SIB, 80, 3)
    assert struct.unpack_from("=Qh", raw, 192) == (7, 2)
