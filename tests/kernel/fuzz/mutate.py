"""Programs changed here and there: fields flipped, instructions copied, dropped, exchanged."""

from __future__ import annotations

import random
from collections.abc import Callable

from anybpf import uapi
from anybpf.isa.insn import Insn, is_ld_imm64
from kernel.fuzz.shrink import without
from kernel.fuzz.world import Sample, with_types

Change = Callable[[random.Random, Insn, list[Insn]], Insn]

NUMBERS = (0, 1, -1, 2, 4, 7, 8, 16, 63, 64, 255, -8, 0x7FFFFFFF, -0x80000000)


def _dst(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(dst=r.randrange(11))


def _src(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(src=r.randrange(11))


def _off(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(off=max(-0x8000, min(0x7FFF, insn.off + r.choice((-8, -4, -1, 1, 2, 8)))))


def _imm(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(imm=r.choice(NUMBERS))


def _operation(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(code=insn.code & 0x0F | r.randrange(16) << 4)


def _class(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(code=insn.code & 0xF8 | r.randrange(8))


def _source(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return insn._replace(code=insn.code ^ 8)


def _other(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    return r.choice(all_)


def _call(r: random.Random, insn: Insn, all_: list[Insn]) -> Insn:
    """Another function that the program calls, with the same arguments."""
    calls = [one for one in all_ if one.code == insn.code and one.src != uapi.BPF_PSEUDO_CALL]
    if insn.code != uapi.BPF_JMP | uapi.BPF_CALL or insn.src == uapi.BPF_PSEUDO_CALL or not calls:
        return _off(r, insn, all_)
    return r.choice(calls)


CHANGES: tuple[Change, ...] = (_dst, _src, _src, _off, _off, _imm, _imm, _operation, _operation,
                               _class, _source, _other, _other, _call, _call)


def mutated(of: Sample, seed: int) -> Sample:
    """The sample with one to three changes that the seed says."""
    r = random.Random(seed ^ 0x5EED)
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        at = r.randrange(len(of.insns))
        of = without(of, [at]) or of if r.random() < 0.25 else _changed(of, at, r)
    return with_types(of)


def _changed(of: Sample, at: int, r: random.Random) -> Sample:
    insn = of.insns[at]
    if is_ld_imm64(insn) or insn.code == 0:
        return of
    new = r.choice(CHANGES)(r, insn, list(of.insns))
    return of._replace(insns=(*of.insns[:at], new, *of.insns[at + 1:]))
