"""Instructions as function calls: each against its text."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.isa import build as b
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import InsnError, encode

SYMBOLS = {
    "map": Pseudo(1, 5), "value": Pseudo(2, 5, 8), "ksym": Pseudo(3, 99, 7), "f": Pseudo(4, -3),
    "map_idx": Pseudo(5, 1), "value_idx": Pseudo(6, 1, 16),
}  # fmt: skip

ONE_SLOT = [
    (b.alu64_reg(uapi.BPF_MUL, 1, 2), "r1 *= r2"),
    (b.alu64_imm(uapi.BPF_DIV, 1, 7, 1), "r1 s/= 7"),
    (b.alu32_reg(uapi.BPF_RSH, 1, 2), "w1 >>= w2"),
    (b.alu32_imm(uapi.BPF_OR, 1, 0xFFFFFFFF), "w1 |= -1"),
    (b.mov64_reg(b.R1, b.FP), "r1 = r10"),
    (b.mov64_imm(b.R1, -3), "r1 = -3"),
    (b.mov32_reg(1, 2), "w1 = w2"),
    (b.mov32_imm(1, 5), "w1 = 5"),
    (b.movsx64_reg(1, 2, 16), "r1 = (s16)r2"),
    (b.movsx32_reg(1, 2, 8), "w1 = (s8)w2"),
    (b.neg64(1), "r1 = -r1"),
    (b.neg32(1), "w1 = -w1"),
    (b.endian(uapi.BPF_TO_BE, 1, 32), "r1 = be32 r1"),
    (b.bswap(1, 64), "r1 = bswap64 r1"),
    (b.addr_space_cast(1, 2, 1, 0), "r1 = addr_space_cast(r2, 1, 0)"),
    (b.ldx_mem(b.H, 1, 2, -4), "r1 = *(u16 *)(r2 - 4)"),
    (b.ldx_memsx(b.B, 1, 2, -4), "r1 = *(s8 *)(r2 - 4)"),
    (b.stx_mem(b.W, 1, 2, 4), "*(u32 *)(r1 + 4) = w2"),
    (b.st_mem(b.B, 1, 4, 255), "*(u8 *)(r1 + 4) = 255"),
    (b.atomic_op(b.DW, uapi.BPF_AND, 1, 2, 0), "lock *(u64 *)(r1 + 0) &= r2"),
    (b.load_acquire(b.DW, 1, 2, 8), "r1 = load_acquire((u64 *)(r2 + 8))"),
    (b.store_release(b.DW, 1, 2, 8), "store_release((u64 *)(r1 + 8), r2)"),
    (b.ld_abs(b.H, 12), "r0 = *(u16 *)skb[12]"),
    (b.ld_ind(b.B, 7, 1), "r0 = *(u8 *)skb[r7 + 1]"),
    (b.jmp_reg(uapi.BPF_JSLE, 1, 2, 3), "if r1 s<= r2 goto +3"),
    (b.jmp_imm(uapi.BPF_JNE, 1, 2, -3), "if r1 != 2 goto -3"),
    (b.jmp32_reg(uapi.BPF_JLT, 1, 2, 3), "if w1 < w2 goto +3"),
    (b.jmp32_imm(uapi.BPF_JGE, 1, 2, 3), "if w1 >= 2 goto +3"),
    (b.jmp_a(4), "goto +4"),
    (b.jmp32_a(70000), "gotol +70000"),
    (b.may_goto(4), "may_goto +4"),
    (b.emit_call(25), "call bpf_perf_event_output"),
    (b.call_rel(-4), "call pc-4"),
    (b.call_kfunc(7, 2), "call kernel-function#7+2"),
    (b.exit_insn(), "exit"),
]
TWO_SLOTS = [
    (b.ld_imm64(1, 1 << 63), "r1 = 0x8000000000000000 ll"),
    (b.ld_map_fd(1, 5), "r1 = map ll"),
    (b.ld_map_value(1, 5, 8), "r1 = value ll"),
    (b.ld_btf_id(1, 99, 7), "r1 = ksym ll"),
    (b.ld_func(1, -3), "r1 = f ll"),
    (b.ld_map_idx(1, 1), "r1 = map_idx ll"),
    (b.ld_map_idx_value(1, 1, 16), "r1 = value_idx ll"),
]


@pytest.mark.parametrize(("insn", "text"), ONE_SLOT)
def test_one_slot(insn, text):
    assert [insn] == assemble(text)


@pytest.mark.parametrize(("pair", "text"), TWO_SLOTS)
def test_two_slots(pair, text):
    assert list(pair) == assemble(text, SYMBOLS)


def test_program_joins_slots_pairs_and_lists():
    program = b.program(b.ld_imm64(1, 2), b.mov64_imm(0, 0), [b.exit_insn(), b.exit_insn()])
    assert [x.code for x in program] == [0x18, 0, 0xB7, 0x95, 0x95]


@pytest.mark.parametrize("insn", [b.mov64_imm(0, 1 << 32), b.jmp_a(0x8000), b.mov64_imm(16, 0)])
def test_what_does_not_fit_shows_when_it_is_encoded(insn):
    with pytest.raises(InsnError):
        encode([insn])
