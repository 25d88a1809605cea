"""The table of opcodes against the kernel's own."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.isa import build as b
from anybpf.isa import opcodes as tab
from anybpf.isa.insn import Insn
from unit.isa.host import PROLOGUE, ask


def test_there_are_128_opcodes():
    assert len(tab.OPCODES) == 128


def test_examples_and_holes():
    assert {0x05, 0x06, 0x18, 0x20, 0x85, 0x95, 0xD7, 0xDB, 0xE5} <= tab.OPCODES
    assert not {0x00, 0x38, 0x60, 0x86, 0x8D, 0x96, 0x99, 0xDF, tab.NOSPEC} & tab.OPCODES


@pytest.mark.kernel
def test_the_kernel_knows_the_same_opcodes(linux):
    """A code is unknown to the kernel exactly when it is none of ours."""
    unknown = set()
    for code in range(256):
        # dst, src and off are chosen so that no earlier rule refuses
        off, src = (-8, 10) if code & 7 == uapi.BPF_LDX else (0, 0)
        tail = [Insn(0)] if code == 0x18 else []
        log = ask(linux, [*PROLOGUE, Insn(code, 1, src, off), *tail, b.exit_insn()], 1).log
        if f"unknown opcode {code:02x}" in log or "BPF_LDX uses reserved fields" in log:
            unknown.add(code)
    assert unknown == set(range(256)) - tab.OPCODES
