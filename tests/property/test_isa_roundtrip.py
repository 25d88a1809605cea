"""Bytes -> text -> bytes, over all opcodes and operands; and texts that are none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import uapi
from anybpf.errors import Fault, LoadError, NotSupported
from anybpf.isa import cbpf, cbpf_asm, check, disasm, llvm
from anybpf.isa import opcodes as tab
from anybpf.isa.asm import assemble
from anybpf.isa.insn import LD_IMM64, Insn, decode, encode
from anybpf.isa.reference import run

EXAMPLES = 150


def numbers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


SLOTS = st.builds(
    Insn, st.integers(0, 255), st.integers(0, 15), st.integers(0, 15), numbers(16), numbers(32)
)
KNOWN = sorted(tab.OPCODES | {tab.CALLX, tab.NOSPEC})
#: operands that are right for every opcode that has them, and wrong for the others
OPERANDS = list(product((0, 10), (0, 1, 9), (0, 1, 8, -16), (0, 1, 16, -5, 0x51, 0x100)))


def whole(insn: Insn, high: int = 7) -> list[Insn]:
    """The instruction with its second slot, if it has one."""
    return [insn, Insn(0, imm=high)] if insn.code == LD_IMM64 else [insn]


@given(st.lists(SLOTS, max_size=20), st.sampled_from(["little", "big"]))
@settings(max_examples=EXAMPLES)
def test_slots_come_back_from_bytes(insns, byteorder):
    assert decode(encode(insns, byteorder), byteorder) == insns


@given(st.binary(max_size=64).map(lambda data: data[: len(data) // 8 * 8]))
@settings(max_examples=EXAMPLES)
def test_bytes_come_back_from_slots(data):
    for byteorder in ("little", "big"):
        assert encode(decode(data, byteorder), byteorder) == data


@pytest.mark.parametrize("code", range(256))
def test_every_opcode_comes_back_from_its_source_text(code):
    operands = OPERANDS if code in KNOWN else OPERANDS[::9]
    for dst, src, off, imm in operands:
        insns = whole(Insn(code, dst, src, off, imm))
        data = encode(insns)
        assert encode(assemble("\n".join(llvm.source(insns)))) == data


#: the kernel's own instructions, which no program may bring
INTERNAL = [Insn(tab.CALLX, 3), Insn(tab.NOSPEC)]


def legal(code: int) -> list[Insn]:
    """Instructions of this opcode that the kernel lets pass, no ignored field used."""
    more = [(0, 0, 0, 0), (2, 0, 0, 32), (3, 2, 16, 0), (1, 1, 32, 0)]
    found = []
    for dst, src, off, imm in [*OPERANDS, *more]:
        insn = Insn(code, dst, src, off, imm)
        ignored = code == uapi.BPF_JMP | uapi.BPF_EXIT and off
        if not ignored and accepted(insn):
            found.append(insn)
    return found


def accepted(insn: Insn) -> bool:
    try:
        check.check_opcodes(whole(insn, 0 if insn.src else 7))
        check.check_insn(insn)
    except check.BadInsn:
        return False
    return True


@pytest.mark.parametrize("code", sorted(tab.OPCODES))
def test_every_legal_instruction_has_a_text_of_its_own(code):
    insns = legal(code)
    assert insns
    for insn in insns:
        slots = whole(insn)
        (line,) = llvm.statement(*slots)
        assert not line.startswith(".insn")
        assert assemble(line) == slots


@pytest.mark.parametrize("insn", INTERNAL)
def test_internal_instructions_have_a_text_too(insn):
    (line,) = llvm.statement(insn)
    assert not line.startswith(".insn")
    assert assemble(line) == [insn]


@pytest.mark.parametrize("code", sorted(tab.OPCODES))
def test_the_kernels_text_comes_back(code):
    """It says of a 64-bit load only what the reader needs, so plain ones and maps are tried."""
    for insn in legal(code):
        if code in (LD_IMM64, 0x85) and insn.src > 1 and (insn.off or code != 0x85):
            continue
        slots = whole(insn, 0 if insn.src else 7)
        text = disasm.insn_text(insn, slots[-1], disasm.XLATED)
        assert assemble(text) == slots, text


@given(st.lists(SLOTS, max_size=12))
@settings(max_examples=EXAMPLES)
def test_any_program_comes_back_from_its_source_text(insns):
    assert assemble("\n".join(llvm.source(insns))) == insns


@given(st.lists(SLOTS, max_size=12))
@settings(max_examples=EXAMPLES)
def test_anything_prints(insns):
    lines = list(disasm.disasm(insns)) + list(disasm.xlated(insns))
    assert all(line.isprintable() for line in lines)


WORDS = (
    "r0 w1 r10 = += s>>= *(u32 *(s8*) (r1+4) if goto +3 L: L call exit ll 0x10 -5 lock skb[ ] le16 "
    "; # pc+1 1f (b7) 0: atomic_fetch_add ( ) , .insn 99999999999999999999"
)


Kinds = type[Exception] | tuple[type[Exception], ...]


def refusal(kind: Kinds, act: Callable[[], object]) -> str:
    """What it says when it refuses, or "fine"; any other exception is a failure of the test."""
    try:
        act()
    except kind as refused:
        return str(refused)
    return "fine"


SENTENCES = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)


@given(st.one_of(st.text(max_size=60), SENTENCES))
@settings(max_examples=400)
def test_any_text_is_assembled_or_refused(text):
    assert refusal(LoadError, lambda: encode(assemble(text)))


@given(st.lists(SLOTS, max_size=10))
@settings(max_examples=EXAMPLES)
def test_any_program_passes_the_check_or_is_refused(insns):
    assert refusal(check.BadInsn, lambda: check.check_insns(insns))


@given(st.lists(SLOTS.map(lambda x: x._replace(code=KNOWN[x.code % len(KNOWN)])), max_size=10))
@settings(max_examples=EXAMPLES)
def test_any_program_runs_or_faults(insns):
    assert refusal((Fault, NotSupported), lambda: run(insns, budget=200))


CLASSIC = st.builds(
    cbpf.SockFilter,
    st.one_of(st.sampled_from(sorted(cbpf.OPCODES)), st.integers(0, 0xFFFF)),
    st.integers(0, 3), st.integers(0, 3), st.one_of(st.integers(0, 20), st.integers(0, uapi.U32)),
)  # fmt: skip


@given(st.lists(CLASSIC, max_size=10))
@settings(max_examples=EXAMPLES)
def test_any_filter_prints_and_is_converted_or_refused(insns):
    assert cbpf.decode(cbpf.encode(insns)) == insns
    assert len(list(cbpf_asm.disasm(insns))) == len(insns)
    assert refusal((cbpf.BadFilter, NotSupported), lambda: check.check_insns(cbpf.convert(insns)))


@given(st.text(max_size=40))
@settings(max_examples=EXAMPLES)
def test_any_classic_text_is_read_or_refused(text):
    assert refusal(LoadError, lambda: cbpf.encode(cbpf_asm.assemble(text)))
    assert refusal(LoadError, lambda: cbpf.encode(cbpf.parse_numbers(text)))
