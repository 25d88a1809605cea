"""The tools of `tests/kernel/fuzz` that need no kernel: shrinking, changing, writing down."""

from __future__ import annotations

import random

from anybpf import uapi
from anybpf.isa.insn import Insn
from kernel.fuzz import objects, scenes
from kernel.fuzz.mutate import mutated
from kernel.fuzz.scoped import Scoped
from kernel.fuzz.shrink import shrink, without
from kernel.fuzz.world import sample, with_types

TEXT = """
    r0 = 0
    r1 = 1
    if r0 == 0 goto L
    r2 = 2
    r3 = array ll
    r4 = 4
L:
    r0 = 7
    exit
"""


def test_jumps_stay_right():
    of = sample(TEXT, uapi.BPF_PROG_TYPE_XDP)
    jump = next(i for i, insn in enumerate(of.insns) if insn.off)
    left = without(of, [jump + 1])
    assert left is not None
    assert left.insns[jump].off == of.insns[jump].off - 1
    assert left.insns[jump + 1 + left.insns[jump].off].imm == 7


def test_a_64_bit_load_goes_as_a_whole():
    of = sample(TEXT, uapi.BPF_PROG_TYPE_XDP)
    second = next(i for i, insn in enumerate(of.insns) if insn.code == 0)
    left = without(of, [second])
    assert left is not None
    assert len(left.insns) == len(of.insns) - 2


def test_shrinks_to_what_matters():
    of = sample(TEXT, uapi.BPF_PROG_TYPE_XDP)
    wanted = Insn(0xB7, 2, 0, 0, 2)
    assert shrink(of, lambda one: wanted in one.insns).insns == (wanted,)


def test_functions_that_nothing_calls_have_no_types():
    of = sample("call f_number\nexit\nf_number:\nr0 = 0\nexit", uapi.BPF_PROG_TYPE_XDP, lines=True)
    assert of.funcs == ((0, "main"), (2, "f_number"))
    assert with_types(of._replace(insns=of.insns[1:], funcs=((0, "main"), (1, "f_number")))).funcs \
        == ((0, "main"),)


def _typed(seed: int) -> Scoped:
    made = Scoped(random.Random(seed), scenes.SCENES[seed % len(scenes.SCENES)],
                  objects.PROFILES[seed % len(objects.PROFILES)])
    made.text(5)
    return made


def test_typed_programs_are_the_same_every_time():
    assert all(_typed(seed).lines == _typed(seed).lines for seed in range(20))


def test_typed_programs_give_up_what_they_keep():
    for made in map(_typed, range(60)):
        assert not made.values
        assert not made.owed
        assert not made.around
        assert sorted(made.free) == ["r7", "r8", "r9"]


def test_calls_are_exchanged():
    of = sample("call 5\ncall 7\nexit", uapi.BPF_PROG_TYPE_XDP)
    found = {tuple(insn.imm for insn in mutated(of, seed).insns) for seed in range(100)}
    assert {(7, 7, 0), (5, 5, 0)} <= found
