"""The kernel's text, against known lines and against the kernel's own log."""

from __future__ import annotations

import random
import subprocess
from shutil import which

import pytest

from anybpf import uapi
from anybpf.isa import build as b
from anybpf.isa import disasm
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import Insn, encode
from anybpf.libbpf import bpf
from unit.isa.host import PROLOGUE, ask, texts

LINES = [
    (b.mov64_imm(1, -5), "(b7) r1 = -5"),
    (b.mov32_imm(1, 16), "(b4) w1 = 16"),
    (b.mov64_reg(1, 2), "(bf) r1 = r2"),
    (b.movsx64_reg(1, 2, 32), "(bf) r1 = (s32)r2"),
    (b.movsx32_reg(1, 2, 8), "(bc) w1 = (s8)w2"),
    (b.addr_space_cast(1, 2, 0, 1), "(bf) r1 = addr_space_cast(r2, 0, 1)"),
    (b.alu64_reg(uapi.BPF_MOV, 1, 2, -1), "(bf) r1 = &(void __percpu *)(r2)"),
    (b.alu64_imm(uapi.BPF_ADD, 1, 16), "(07) r1 += 16"),
    (b.alu64_reg(uapi.BPF_DIV, 1, 2, 1), "(3f) r1 s/= r2"),
    (b.alu32_imm(uapi.BPF_MOD, 1, 3, 1), "(94) w1 s%= 3"),
    (b.alu32_reg(uapi.BPF_ARSH, 1, 2), "(cc) w1 s>>= w2"),
    (b.neg64(3), "(87) r3 = -r3"),
    (b.neg32(3), "(84) w3 = -w3"),
    (b.endian(uapi.BPF_TO_LE, 1, 64), "(d4) r1 = le64 r1"),
    (b.endian(uapi.BPF_TO_BE, 1, 16), "(dc) r1 = be16 r1"),
    (b.bswap(1, 32), "(d7) r1 = bswap32 r1"),
    (b.ldx_mem(b.W, 1, 10, -8), "(61) r1 = *(u32 *)(r10 -8)"),
    (b.ldx_mem(b.DW, 1, 2, 0), "(79) r1 = *(u64 *)(r2 +0)"),
    (b.ldx_memsx(b.H, 1, 2, 4), "(89) r1 = *(s16 *)(r2 +4)"),
    (b.stx_mem(b.B, 10, 1, -1), "(73) *(u8 *)(r10 -1) = r1"),
    (b.st_mem(b.DW, 10, -8, -1), "(7a) *(u64 *)(r10 -8) = -1"),
    (Insn(tab.NOSPEC), "(c2) nospec"),
    (b.atomic_op(b.DW, uapi.BPF_XOR, 10, 1, -8), "(db) lock *(u64 *)(r10 -8) ^= r1"),
    (b.atomic_op(b.DW, uapi.BPF_ADD | uapi.BPF_FETCH, 10, 1, -8),
     "(db) r1 = atomic64_fetch_add((u64 *)(r10 -8), r1)"),
    (b.atomic_op(b.W, uapi.BPF_OR | uapi.BPF_FETCH, 10, 1, -8),
     "(c3) r1 = atomic_fetch_or((u32 *)(r10 -8), r1)"),
    (b.atomic_op(b.W, uapi.BPF_XCHG, 10, 1, -8), "(c3) r1 = atomic_xchg((u32 *)(r10 -8), r1)"),
    (b.atomic_op(b.DW, uapi.BPF_CMPXCHG, 10, 1, -8),
     "(db) r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)"),
    (b.load_acquire(b.B, 2, 10, -8), "(d3) r2 = load_acquire((u8 *)(r10 -8))"),
    (b.store_release(b.H, 10, 2, -8), "(cb) store_release((u16 *)(r10 -8), r2)"),
    (b.ld_abs(b.W, -4096), "(20) r0 = *(u32 *)skb[-4096]"),
    (b.ld_ind(b.B, 2, 5), "(50) r0 = *(u8 *)skb[r2 + 5]"),
    (b.jmp_a(0), "(05) goto pc+0"),
    (b.jmp32_a(-3), "(06) gotol pc-3"),
    (b.may_goto(2), "(e5) may_goto pc+2"),
    (b.jmp_imm(uapi.BPF_JSGT, 1, -3, 1), "(65) if r1 s> 0xfffffffd goto pc+1"),
    (b.jmp32_reg(uapi.BPF_JSET, 1, 2, -1), "(4e) if w1 & w2 goto pc-1"),
    (b.emit_call(uapi.BPF_FUNC_map_lookup_elem), "(85) call bpf_map_lookup_elem#1"),
    (b.emit_call(0), "(85) call bpf_unspec#0"),
    (b.emit_call(212), "(85) call unknown#212"),
    (b.emit_call(-1), "(85) call unknown#-1"),
    (b.call_rel(-2), "(85) call pc-2"),
    (b.call_kfunc(7), "(85) call kernel-function#7"),
    (b.exit_insn(), "(95) exit"),
    (Insn(0xDB, 10, 1, -8, 0x20), "BUG_db"),
    (Insn(0x99, 1, 2), "BUG_ldx_99"),
    (Insn(0xE7, 1, 2), "BUG_alu_e7"),
    (Insn(0x82, 1), "BUG_st_82"),
    (Insn(0x00), "BUG_ld_00"),
    (Insn(0xF5, 1), "(f5) if r1 (null) 0x0 goto pc+0"),
    (Insn(0xE5, 0, 1), "(e5) if r0 (null) 0x0 goto pc+0"),
]


@pytest.mark.parametrize(("insn", "line"), LINES)
def test_lines(insn, line):
    assert disasm.insn_text(insn) == line


def test_64_bit_immediates_take_the_next_slot():
    lo, hi = b.ld_imm64(1, 0x1122334455667788)
    assert disasm.insn_text(lo, hi) == "(18) r1 = 0x1122334455667788"
    assert disasm.insn_text(*b.ld_imm64(1, -1)) == "(18) r1 = 0xffffffffffffffff"


def test_every_combination_of_bits_prints():
    for code in range(256):
        for imm in (0, 1, 0x100, -1):
            assert disasm.insn_text(Insn(code, 1, 2, -1, imm), Insn(0)).isprintable()


def test_a_program_has_slot_numbers():
    program = b.program(b.ld_imm64(1, 5), b.exit_insn())
    assert list(disasm.disasm(program)) == ["0: (18) r1 = 0x5", "2: (95) exit"]


def test_the_caller_may_know_names():
    names = disasm.Callbacks(
        call=lambda insn: "bpf_iter_num_new#77" if insn.src == 2 else None,
        imm=lambda insn, number: "map[m]" if insn.src else None,
    )
    program = b.program(b.ld_map_fd(1, 9), b.ld_imm64(2, 9), b.call_kfunc(77), b.call_rel(1))
    assert [text for _, text in disasm.listing(program, names)] == [
        "(18) r1 = map[m]", "(18) r2 = 0x9", "(85) call bpf_iter_num_new#77", "(85) call pc+1",
    ]  # fmt: skip


def test_xlated_lines_are_bpftools():
    program = b.program(
        b.ld_map_fd(1, 50), b.ld_map_value(3, 49, 4), b.ld_func(2, -3), b.ld_imm64(4, 5)
    )
    assert list(disasm.xlated(program)) == [
        "   0: (18) r1 = map[id:50]",
        "   2: (18) r3 = map[id:49][0]+4",
        "   4: (18) r2 = subprog[-3]",
        "   6: (18) r4 = 0x5",
    ]


def test_helpers_by_name_and_number():
    assert disasm.helper_name(1) == "bpf_map_lookup_elem"
    assert disasm.helper_name(211) == "bpf_cgrp_storage_delete"
    assert disasm.helper_name(212) == disasm.helper_name(-1) == "unknown"
    assert disasm.helper_number("bpf_redirect_map") == disasm.helper_number("redirect_map") == 51
    assert disasm.helper_number("bpf_no_such_thing") is None


def random_insn(rng: random.Random) -> Insn:
    """Any known opcode with likely operands, right or wrong."""
    imms = (0, 1, 5, 7, 8, 16, 32, 64, -1, 0x41, 0x51, 0xA1, 0xE1, 0xF1, 0x100, 0x110, 0x20)
    memory = rng.random() < 0.5
    return Insn(
        rng.choice(sorted(tab.OPCODES)), rng.choice((1, 2, 10)), rng.choice((0, 0, 1, 2, 10)),
        rng.choice((-8, -16) if memory else (0, 0, 1, 8, 16, 32, -1)), rng.choice(imms),
    )  # fmt: skip


def names_a_kernel_object(insn: Insn) -> bool:
    return bool(insn.src) and insn.code in (0x18, 0x85)


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(3))
def test_the_kernels_log_says_the_same(linux, seed):
    rng, compared = random.Random(seed), 0
    for _ in range(300):
        insn = random_insn(rng)
        if names_a_kernel_object(insn):
            continue
        tail = [Insn(0, imm=rng.choice((0, 1, -1)))] if insn.code == 0x18 else []
        answer = ask(linux, [*PROLOGUE, insn, *tail, b.exit_insn()])
        for line in texts(answer, len(PROLOGUE))[:1]:
            assert line == disasm.insn_text(insn, *tail), insn
            compared += 1
    assert compared > 100


@pytest.mark.kernel
def test_bpftool_prints_a_loaded_program_the_same(linux):
    if which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    program = b.program(
        b.mov64_imm(0, 1),
        b.ld_imm64(2, 0x1122334455),
        b.jmp_imm(uapi.BPF_JSLT, 2, -7, 1),
        b.alu32_reg(uapi.BPF_XOR, 0, 2),
        b.st_mem(b.DW, 10, -8, 3),
        b.atomic_op(b.DW, uapi.BPF_ADD | uapi.BPF_FETCH, 10, 2, -8),
        b.exit_insn(),
    )
    loaded = bpf.prog_load(linux, bpf.ProgAttr(1, encode(program), "GPL", name="isa_disasm"))
    try:
        command = ["bpftool", "prog", "dump", "xlated", "name", "isa_disasm"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        linux.close(loaded.fd)
    assert printed.splitlines() == list(disasm.xlated(program))
