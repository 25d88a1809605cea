"""The text of classic BPF."""

from __future__ import annotations

import random

import pytest

from anybpf import uapi
from anybpf.isa import cbpf
from anybpf.isa.cbpf import SockFilter
from anybpf.isa.cbpf_asm import CbpfAsmError, assemble, disasm
from unit.isa import classic

AD = uapi.SKF_AD_OFF & uapi.U32

LINES = [
    ("ld [12]", SockFilter(0x20, k=12)),
    ("ldh [12]", SockFilter(0x28, k=12)),
    ("ldb [x + 14]", SockFilter(0x50, k=14)),
    ("ldb [x]", SockFilter(0x50)),
    ("ldb [x - 1]", SockFilter(0x50, k=uapi.U32)),
    ("ld M[3]", SockFilter(0x60, k=3)),
    ("ld #0xdeadbeef", SockFilter(0x00, k=0xDEADBEEF)),
    ("ldi #5", SockFilter(0x00, k=5)),
    ("ld len", SockFilter(0x80)),
    ("ld #pktlen", SockFilter(0x80)),
    ("ld vlan_tci", SockFilter(0x20, k=AD + 44)),
    ("ldh #proto", SockFilter(0x28, k=AD)),
    ("ld vlan_pr", SockFilter(0x20, k=AD + 48)),
    ("ldx #5", SockFilter(0x01, k=5)),
    ("ldxi 5", SockFilter(0x01, k=5)),
    ("ldx M[15]", SockFilter(0x61, k=15)),
    ("ldx len", SockFilter(0x81)),
    ("ldxb 4*([14]&0xf)", SockFilter(0xB1, k=14)),
    ("ldx 4 * ([14] & 0xf)", SockFilter(0xB1, k=14)),
    ("st M[0]", SockFilter(0x02)),
    ("stx M[7]", SockFilter(0x03, k=7)),
    ("add #5", SockFilter(0x04, k=5)),
    ("sub x", SockFilter(0x1C)),
    ("mul #-1", SockFilter(0x24, k=uapi.U32)),
    ("rsh %x", SockFilter(0x7C)),
    ("neg", SockFilter(0x84)),
    ("tax", SockFilter(0x07)),
    ("txa", SockFilter(0x87)),
    ("ret #262144", SockFilter(0x06, k=262144)),
    ("ret a", SockFilter(0x16)),
    ("ret", SockFilter(0x16)),
]


@pytest.mark.parametrize(("text", "insn"), LINES)
def test_lines(text, insn):
    assert assemble(text) == [insn]


def test_jumps_and_labels():
    text = """
        ld #5          ; a comment
        jeq #1, yes, no
        jneq #2, yes   // both words for not equal
        jne x, yes
        jlt #3, yes
        jle #3, yes
        jgt #4, yes
        jge #4, yes
        jset #8, yes, no
        ja no
    yes: ret #1
    no: /* over
        two lines */ ret #0
    """
    assert assemble(text)[1:10] == [
        SockFilter(0x15, 8, 9, 1),
        SockFilter(0x15, 0, 7, 2),
        SockFilter(0x1D, 0, 6, 0),
        SockFilter(0x35, 0, 5, 3),
        SockFilter(0x25, 0, 4, 3),
        SockFilter(0x25, 3, 0, 4),
        SockFilter(0x35, 2, 0, 4),
        SockFilter(0x45, 1, 2, 8),
        SockFilter(0x05, 0, 0, 1),
    ]


def test_a_listing_of_tcpdump():
    listing = (
        "(000) ldh      [12]\n"
        "(001) jeq      #0x800           jt 2\tjf 5\n"
        "(002) ldb      [23]\n"
        "(003) jeq      #0x11            jt 4\tjf 5\n"
        "(004) ret      #262144\n"
        "(005) ret      #0\n"
    )
    insns = assemble(listing)
    assert insns[1] == SockFilter(0x15, 0, 3, 0x800)
    assert "\n".join(disasm(insns)) + "\n" == listing


def test_what_is_no_instruction_prints():
    assert list(disasm([SockFilter(0x16 | 0x08)])) == ["(000) unimp    0x1e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not a classic instruction"),
        ("ldh M[3]", "no such operand"),
        ("ldx [12]", "no such operand"),
        ("st #3", "M[k] is wanted"),
        ("add y", "a number is wanted"),
        ("add #0x100000000", "number does not fit 32 bits"),
        ("ret #" + "9" * 5000, "not a number"),
        ("ja " + "9" * 5000, "undefined label"),
        ("ja \u00b2", "undefined label"),
        ("neg x", "no operand is wanted"),
        ("jeq #1", "one or two labels are wanted"),
        ("jeq #1, nowhere", "undefined label nowhere"),
        ("jmp nowhere", "undefined label nowhere"),
        ("a: jmp a", "classic jumps go forward"),
        ("a: ret #0\na: ret #0", "label a is defined twice"),
        ("jeq #1, far\n" + "tax\n" * 256 + "far: ret #0", "reaches 255 instructions"),
    ],
)
def test_mistakes_are_told_with_their_line(text, message):
    with pytest.raises(CbpfAsmError) as caught:
        assemble("\n" + text)
    assert message in str(caught.value)
    assert caught.value.line >= 2


@pytest.mark.parametrize("seed", range(10))
def test_text_comes_back(seed):
    insns = classic.random_filter(random.Random(seed), 60)
    # jumps keep no number in k of theirs, and returns of A none at all
    plain = [x if x.code in WITH_NUMBER else x._replace(k=0) for x in insns]
    assert assemble("\n".join(disasm(plain))) == plain


WITH_NUMBER = cbpf.OPCODES - {
    0x07, 0x87, 0x16, 0x84, 0x80, 0x81, *range(0x0C, 0x100, 0x10), *range(0x1D, 0x100, 0x10),
}  # fmt: skip
