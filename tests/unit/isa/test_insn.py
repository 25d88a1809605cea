"""Slots and bytes, in both byte orders."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.errors import LoadError
from anybpf.isa import build as b
from anybpf.isa.insn import (
    Insn,
    InsnError,
    decode,
    encode,
    imm64,
    is_call,
    is_conditional_jump,
    is_helper_call,
    is_jump,
    is_kfunc_call,
    is_ld_imm64,
    is_pseudo_call,
    is_pseudo_func,
    jump_offset,
    slots,
    split_imm64,
)

STORE = Insn(0x7B, 10, 1, -8, 0)


def test_a_slot_has_the_kernels_layout():
    assert encode([STORE]) == bytes.fromhex("7b 1a f8ff 00000000")
    assert encode([Insn(0xB7, 3, 0, 0, -2)]) == bytes.fromhex("b7 03 0000 feffffff")


def test_big_endian_swaps_numbers_and_register_nibbles():
    assert encode([STORE], "big") == bytes.fromhex("7b a1 fff8 00000000")
    assert decode(bytes.fromhex("7b a1 fff8 00000001"), "big") == [Insn(0x7B, 10, 1, -8, 1)]


def test_decoding_a_truncated_program_says_where():
    with pytest.raises(InsnError) as caught:
        decode(encode([STORE]) + b"abc")
    assert caught.value.offset == 8
    assert isinstance(caught.value, LoadError)


@pytest.mark.parametrize(
    "bad",
    [
        Insn(256), Insn(-1), Insn(0xB7, 16), Insn(0xB7, 0, 16), Insn(0xB7, -1),
        Insn(0xB7, off=0x8000), Insn(0xB7, imm=1 << 31), Insn(0xB7, imm=-(1 << 31) - 1),
    ],
)  # fmt: skip
def test_a_field_that_does_not_fit_is_named(bad):
    with pytest.raises(InsnError) as caught:
        encode([STORE, bad])
    assert caught.value.offset == 8
    assert "insn 1" in str(caught.value)


@pytest.mark.parametrize("value", [0, 1, -1, uapi.U64, 1 << 63, -(1 << 63), 0x1122334455667788])
def test_a_64_bit_immediate_comes_back(value):
    lo, hi = b.ld_imm64(1, value)
    assert imm64(lo, hi) == value & uapi.U64
    assert split_imm64(value) == (lo.imm, hi.imm)


def test_kinds_of_calls():
    helper, local, kfunc = b.emit_call(1), b.call_rel(2), b.call_kfunc(77)
    assert [is_call(x) for x in (helper, local, kfunc, b.exit_insn())] == [True] * 3 + [False]
    assert [is_helper_call(x) for x in (helper, local, kfunc)] == [True, False, False]
    assert [is_pseudo_call(x) for x in (helper, local, kfunc)] == [False, True, False]
    assert [is_kfunc_call(x) for x in (helper, local, kfunc)] == [False, False, True]
    assert is_pseudo_func(b.ld_func(1, 5)[0])
    assert not is_pseudo_func(b.ld_imm64(1, 5)[0])


def test_kinds_of_jumps():
    always = [b.jmp_a(1), b.jmp32_a(1)]
    maybe = [b.jmp_imm(uapi.BPF_JEQ, 1, 0, 1), b.jmp32_reg(uapi.BPF_JSLT, 1, 2, 1), b.may_goto(1)]
    never = [b.emit_call(1), b.exit_insn(), b.mov64_imm(1, 1), b.ldx_mem(b.W, 1, 1, 0)]
    assert all(map(is_jump, always + maybe))
    assert not any(map(is_jump, never))
    assert all(map(is_conditional_jump, maybe))
    assert not any(map(is_conditional_jump, always + never))


def test_where_a_jump_goes_is_kept_in_off_but_for_gotol():
    assert jump_offset(b.jmp_a(-7)) == jump_offset(b.jmp32_a(-7)) == -7
    assert jump_offset(b.jmp32_imm(uapi.BPF_JEQ, 1, 99, 4)) == 4


def test_slots_pass_over_second_halves():
    program = b.program(b.ld_imm64(1, 5), b.mov64_imm(0, 0), b.ld_imm64(2, 6))
    assert [(i, is_ld_imm64(x)) for i, x in slots(program)] == [(0, True), (2, False), (3, True)]


def test_parts_of_an_opcode():
    load = Insn(uapi.BPF_LDX | uapi.BPF_MEMSX | uapi.BPF_H)
    assert (load.cls, load.mode, load.size, load.size_bytes) == (
        uapi.BPF_LDX, uapi.BPF_MEMSX, uapi.BPF_H, 2,
    )  # fmt: skip
    jump = Insn(uapi.BPF_JMP | uapi.BPF_JSGT | uapi.BPF_X)
    assert (jump.cls, jump.op, jump.uses_reg) == (uapi.BPF_JMP, uapi.BPF_JSGT, True)
