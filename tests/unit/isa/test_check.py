"""What the shape of a program must be."""

from __future__ import annotations

import errno

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.isa import build as b
from anybpf.isa import check
from anybpf.isa.asm import assemble
from anybpf.isa.insn import Insn
from unit.isa.host import PROLOGUE, ask

#: slots to insert, the kernel's text, the error number, the index of the slot that is blamed
REFUSED = [
    ([Insn(0x8D, 1)], "unknown opcode 8d", errno.EINVAL, 0),
    ([Insn(0x60, 1)], "unknown opcode 60", errno.EINVAL, 0),
    ([Insn(0x99, 1, 10, -8)], "unknown opcode 99", errno.EINVAL, 0),
    ([Insn(0xC1, 1, 10, -8)], "BPF_LDX uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x61, 1, 10, -8, 1)], "BPF_LDX uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x63, 10, 1, -8, 1)], "BPF_STX uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x62, 10, 1, -8, 1)], "BPF_ST uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x07, 1, 2, 0, 3)], "BPF_ALU uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x0F, 1, 2, 0, 3)], "BPF_ALU uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x07, 1, 0, 1, 3)], "BPF_ALU uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x37, 1, 0, 2, 3)], "BPF_ALU uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xB7, 1, 2)], "BPF_MOV uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xBF, 1, 2, 24)], "BPF_MOV uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xBC, 1, 2, 32)], "BPF_MOV uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xBC, 1, 2, 1, 1)], "BPF_MOV uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xBF, 1, 2, 1, 5)],
     "addr_space_cast insn can only convert between address space 1 and 0", errno.EINVAL, 0),
    ([Insn(0x87, 1, 0, 0, 1)], "BPF_NEG uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xD4, 1, 0, 0, 8)], "BPF_END uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xD7, 1, 3, 0, 16)], "BPF_END uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x37, 1)], "div by zero", errno.EINVAL, 0),
    ([Insn(0x94, 1)], "div by zero", errno.EINVAL, 0),
    ([Insn(0x67, 1, 0, 0, 64)], "invalid shift 64", errno.EINVAL, 0),
    ([Insn(0xC4, 1, 0, 0, 32)], "invalid shift 32", errno.EINVAL, 0),
    ([Insn(0x77, 1, 0, 0, -1)], "invalid shift -1", errno.EINVAL, 0),
    ([Insn(0x05, 1)], "BPF_JA uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x06, 0, 0, 1)], "BPF_JA uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x15, 1, 2)], "BPF_JMP/JMP32 uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x1E, 1, 2, 0, 4)], "BPF_JMP/JMP32 uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xE5, 0, 0, 0, 9)], "invalid may_goto imm 9", errno.EINVAL, 0),
    ([Insn(0x85, 1, 0, 0, 7)], "BPF_CALL uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x85, 0, 3, 0, 7)], "BPF_CALL uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x85, 0, 0, 1, 7)], "BPF_CALL uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x20, 0, 1)], "BPF_LD_[ABS|IND] uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x40, 1, 2)], "BPF_LD_[ABS|IND] uses reserved fields", errno.EINVAL, 0),
    ([Insn(0x18, 1)], "invalid bpf_ld_imm64 insn", errno.EINVAL, 0),
    ([Insn(0x18, 1), Insn(0, 1)], "invalid bpf_ld_imm64 insn", errno.EINVAL, 0),
    ([Insn(0x18, 1, 7), Insn(0)], "unrecognized bpf_ld_imm64 insn", errno.EINVAL, 0),
    ([Insn(0x18, 1, 1), Insn(0, 0, 0, 0, 1)], "unrecognized bpf_ld_imm64 insn", errno.EINVAL, 0),
    ([Insn(0x18, 1, 0, 1), Insn(0)], "BPF_LD_IMM64 uses reserved fields", errno.EINVAL, 0),
    ([Insn(0xDB, 10, 1, -8, 0x20)], "BPF_ATOMIC uses invalid atomic opcode 20", errno.EINVAL, 0),
    ([Insn(0xDB, 10, 1, -8, 0xE0)], "BPF_ATOMIC uses invalid atomic opcode e0", errno.EINVAL, 0),
    ([Insn(0xCB, 10, 1, -8)], "invalid atomic operand size", errno.EINVAL, 0),
    ([Insn(0xB7, 11)], "R11 is invalid", errno.EINVAL, 0),
    ([Insn(0xBF, 1, 12)], "R12 is invalid", errno.EINVAL, 0),
    ([Insn(0x61, 15, 10, -8)], "R15 is invalid", errno.EINVAL, 0),
    ([Insn(0x63, 11, 1, -8)], "R11 is invalid", errno.EINVAL, 0),
    ([Insn(0x1D, 11, 1)], "R11 is invalid", errno.EINVAL, 0),
    ([Insn(0x40, 0, 11)], "R11 is invalid", errno.EINVAL, 0),
    ([Insn(0x18, 11), Insn(0)], "R11 is invalid", errno.EINVAL, 0),
    ([Insn(0xDB, 10, 11, -8)], "R11 is invalid", errno.EINVAL, 0),
    ([Insn(0xB7, 10)], "frame pointer is read only", errno.EACCES, 0),
    ([Insn(0x07, 10)], "frame pointer is read only", errno.EACCES, 0),
    ([Insn(0x61, 10, 10, -8)], "frame pointer is read only", errno.EACCES, 0),
    ([Insn(0x05, 0, 0, 5)], "jump out of range from insn 8 to 14", errno.EINVAL, 0),
    ([Insn(0x06, imm=-100)], "jump out of range from insn 8 to -91", errno.EINVAL, 0),
    ([Insn(0x85, 0, 1, 0, 50)], "call to invalid destination", errno.EINVAL, 0),
    ([Insn(0x18, 2, 4, 0, -50), Insn(0)], "call to invalid destination", errno.EINVAL, 0),
    ([Insn(0x85, 0, 1, 0, 0)], "last insn is not an exit or jmp", errno.EINVAL, 0),
]  # fmt: skip


@pytest.mark.parametrize(("slots", "text", "number", "offset"), REFUSED)
def test_refusals_have_the_kernels_words(slots, text, number, offset):
    program = [*PROLOGUE, *slots, b.exit_insn()]
    with pytest.raises(check.BadInsn) as caught:
        check.check_insns(program)
    bad = caught.value
    assert (bad.message, bad.errno, bad.index) == (text, number, len(PROLOGUE) + offset)
    assert isinstance(bad, BpfError)


@pytest.mark.kernel
def test_the_kernel_refuses_in_these_words(linux):
    answers = [(ask(linux, [*PROLOGUE, *slots, b.exit_insn()]), text, number)
               for slots, text, number, _ in REFUSED]
    for answer, text, number in answers:
        said = [x for x in answer.log if x and not x.startswith(("processed", "max_states"))]
        assert (said[-1], answer.errno) == (text, number)


GOOD = """
    r6 = r1
    w0 = *(u32 *)(r6 + 0)
    r1 = 0x1122334455667788 ll
    if r0 == 5 goto out
    r2 = callback ll
    call other
    gotol out
    may_goto out
    r0 = xchg_64(r10 - 8, r0)
    r3 = load_acquire((u64 *)(r10 - 8))
out:
    r0 = 0
    exit
other:
    exit
callback:
    goto other2
other2:
    exit
"""


def test_a_program_that_uses_everything_passes():
    program = assemble(GOOD)
    check.check_insns(program)
    assert check.check_subprogs(program) == [0, 14, 15]


def test_no_instructions_at_all():
    with pytest.raises(check.BadInsn) as caught:
        check.check_insns([])
    assert caught.value.errno == errno.E2BIG


def test_jumps_do_not_cross_subprograms():
    program = assemble("call f\nexit\nf: r0 = 0\ngoto -4")
    with pytest.raises(check.BadInsn, match="jump out of range from insn 3 to 0"):
        check.check_insns(program)


def test_a_subprogram_does_not_fall_into_the_next():
    program = assemble("call f\nr0 = 0\nf: r0 = 0\nexit")
    with pytest.raises(check.BadInsn, match="last insn is not an exit or jmp") as caught:
        check.check_insns(program)
    assert caught.value.index == 1


def test_no_jump_into_a_64_bit_immediate():
    program = assemble("if r1 == 0 goto +1\nr0 = 1 ll\nexit")
    with pytest.raises(check.BadInsn, match="jump into the middle of ldimm64 insn 1") as caught:
        check.check_insns(program)
    assert caught.value.index == 1


def test_ranges_are_judged_before_opcodes_and_opcodes_before_fields():
    fields, opcode, jump = Insn(0x07, 1, 2, 0, 3), Insn(0x60), b.jmp_a(99)
    messages = []
    for program in ([fields, opcode, jump], [fields, opcode], [fields]):
        with pytest.raises(check.BadInsn) as caught:
            check.check_insns([*program, b.exit_insn()])
        messages.append(caught.value.message)
    assert messages == [
        "jump out of range from insn 2 to 102", "unknown opcode 60", "BPF_ALU uses reserved fields",
    ]  # fmt: skip


def test_one_instruction_alone():
    check.check_insn(b.mov64_imm(0, 1))
    with pytest.raises(check.BadInsn) as caught:
        check.check_insn(b.mov64_imm(uapi.BPF_REG_10, 1), 7)
    assert caught.value.index == 7
