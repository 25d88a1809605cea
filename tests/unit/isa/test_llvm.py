"""LLVM's spelling, and text that assembles to the same bytes."""

from __future__ import annotations

import re
import subprocess
from shutil import which

import pytest

from anybpf import uapi
from anybpf.isa import build as b
from anybpf.isa import llvm
from anybpf.isa.asm import assemble
from anybpf.isa.insn import Insn, decode, encode, slots


def test_decimal_is_the_compilers_and_hexadecimal_objdumps():
    load = b.ldx_mem(b.W, 0, 1, -12)
    assert llvm.text(load) == "w0 = *(u32 *)(r1 - 12)"
    assert llvm.text(load, hexadecimal=True) == "w0 = *(u32 *)(r1 - 0xc)"
    assert llvm.text(b.mov64_imm(0, -16), hexadecimal=True) == "r0 = -0x10"


def test_no_spelling_is_none():
    assert llvm.text(Insn(0x60)) is None
    assert llvm.text(Insn(0xF5)) is None
    assert llvm.text(b.ld_imm64(1, 5)[0], None) is None


def test_source_has_labels_for_jumps_and_functions():
    program = assemble("""
        r2 = f ll
        if r1 == 0 goto end
        call f
    end: exit
    f:  goto f
    """)
    assert list(llvm.source(program)) == [
        "    r2 = func_5 ll",
        "    if r1 == 0 goto L4",
        "    call func_5",
        "L4:",
        "    exit",
        "func_5:",
        "    goto func_5",
    ]


@pytest.mark.parametrize(
    "insn",
    [
        Insn(0x60, 1, 2, 3, 4),
        b.mov64_imm(0, 1)._replace(src=3),
        b.ldx_mem(b.W, 0, 1, 0)._replace(imm=9),
        b.exit_insn()._replace(off=1),
        b.neg64(1)._replace(imm=-1),
        b.mov64_imm(11, 0),
        b.jmp_a(1)._replace(dst=1),
        b.endian(uapi.BPF_TO_BE, 1, 8),
        Insn(0x18, 1, 0, 5, 6),
    ],
)
def test_what_text_would_lose_is_kept(insn):
    assert assemble("\n".join(llvm.source([insn]))) == [insn]


def test_jumps_that_leave_the_program_keep_their_distance():
    program = [b.jmp_a(100), b.jmp_imm(uapi.BPF_JEQ, 1, 0, -100), b.call_rel(7), b.jmp32_a(-9)]
    lines = list(llvm.source(program))
    assert lines[0] == "    goto +100"
    assert assemble("\n".join(lines)) == program


def test_a_jump_into_a_64_bit_immediate_keeps_its_distance():
    program = b.program(b.jmp_a(1), b.ld_imm64(1, 5), b.exit_insn())
    assert assemble("\n".join(llvm.source(program))) == program


SOURCE = """
r0 = 5; r1 = -5; w1 = -5; r0 = r1; w0 = w1; r0 = (s8)r1; w0 = (s16)w1; r0 = (s32)r1
r0 += 4; r0 s/= r1; w0 s%= w1; r0 s>>= 3; w0 = -w0; r0 = -r0
r0 = be16 r0; r0 = le64 r0; r0 = bswap32 r0; r0 = 0x1122334455667788 ll; r0 = -1 ll
r0 = *(u32 *)(r1 + 4); r0 = *(s16 *)(r1 - 4); *(u16 *)(r1 + 0) = r2; *(u8 *)(r1 + 0) = -5
lock *(u64 *)(r1 + 8) += r2; lock *(u32 *)(r1 + 8) |= w2
r2 = atomic_fetch_add((u64 *)(r1 + 8), r2); w2 = atomic_fetch_xor((u32 *)(r1 - 8), w2)
r2 = xchg_64(r1 + 8, r2); w2 = xchg32_32(r1 + 8, w2)
r0 = cmpxchg_64(r1 + 8, r0, r2); w0 = cmpxchg32_32(r1 + 8, w0, w2)
r0 = *(u8 *)skb[5]; r0 = *(u32 *)skb[r1]
if r1 s> 5 goto +1; if w1 & -7 goto -2; if r1 == r2 goto -3; goto +4; gotol -8; may_goto +6
call 7; r0 = addr_space_cast(r1, 0, 1); exit
"""


def test_objdump_prints_the_same(tmp_path):
    if which("llvm-mc-19") is None or which("llvm-objdump-19") is None:
        pytest.skip("llvm-19 is not installed")
    source, made = tmp_path / "a.s", tmp_path / "a.o"
    source.write_text(SOURCE)
    subprocess.run(
        ["llvm-mc-19", "-triple", "bpfel", "-mcpu=v4", "-filetype=obj", source, "-o", made],
        check=True,
    )
    command = ["llvm-objdump-19", "-d", "--mcpu=v4", made]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    printed = [
        re.sub(r" <.*>", "", line.split("\t")[2])
        for line in listing.splitlines()
        if re.match(r"\s+\d+:\t", line)
    ]
    program = assemble(SOURCE)
    ours = [
        llvm.text(x, [*program, Insn(0)][i + 1], hexadecimal=True) for i, x in slots(program)
    ]
    assert ours == printed
    assert decode(encode(program)) == assemble(listing.partition(">:\n")[2])
