"""Smaller programs that still differ: instructions go, jumps stay right."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from anybpf import uapi
from anybpf.isa.insn import Insn, is_jump, is_ld_imm64, is_pseudo_call, is_pseudo_func, jump_offset
from kernel.fuzz.world import Sample, with_types

Differs = Callable[[Sample], bool]
EXIT = Insn(uapi.BPF_JMP | uapi.BPF_EXIT)
ZERO = Insn(uapi.BPF_ALU64 | uapi.BPF_MOV | uapi.BPF_K)


def shrink(of: Sample, differs: Differs, tries: int = 400) -> Sample:
    """The smallest sample found for which `differs` is still true."""
    left = [tries]

    def holds(one: Sample | None) -> bool:
        left[0] -= 1
        return left[0] >= 0 and one is not None and differs(one)

    size = max(len(of.insns) // 2, 1)
    while left[0] > 0:
        smaller = _pass(of, size, holds)
        if len(smaller.insns) == len(of.insns) and size == 1:
            break
        of, size = smaller, max(size // 2, 1)
    for plain in (of._replace(flags=0), of._replace(lines=False)):
        if plain != of and differs(plain):
            of = of._replace(flags=plain.flags, lines=plain.lines)
    return of


def _pass(of: Sample, size: int, holds: Callable[[Sample | None], bool]) -> Sample:
    at = len(of.insns)
    while at > 0:
        at = max(at - size, 0)
        smaller = without(of, range(at, min(at + size, len(of.insns))))
        if holds(smaller):
            assert smaller is not None
            of = smaller
            at = min(at, len(of.insns))
    return of


def without(of: Sample, gone: Iterable[int]) -> Sample | None:
    """The sample without these slots; None where that leaves no program."""
    dead = _whole(of.insns, set(gone))
    where, made = _moved(of.insns, dead)
    if not made:
        return None
    out = []
    for old, insn in made:
        target = _target(insn, old)
        if target is None:
            out.append(insn)
            continue
        if not 0 <= target <= len(of.insns):
            return None
        out.append(_aim(insn, where[target] - len(out) - 1))
    starts = {where[slot]: name for slot, name in of.funcs if slot < len(where)}
    funcs = tuple(sorted((slot, name) for slot, name in starts.items() if slot < len(out)))
    return with_types(of._replace(insns=tuple(out), funcs=funcs))


def _whole(insns: tuple[Insn, ...], gone: set[int]) -> set[int]:
    """Both halves of a 64-bit load go, or none."""
    for i, insn in enumerate(insns):
        if is_ld_imm64(insn) and (i in gone or i + 1 in gone):
            gone |= {i, i + 1}
    return gone


def _moved(insns: tuple[Insn, ...],
           dead: set[int]) -> tuple[list[int], list[tuple[int, Insn]]]:
    """For each slot where it, or what follows it, is now; and what is left."""
    where, made = [], []
    for i, insn in enumerate(insns):
        where.append(len(made))
        if i not in dead:
            made.append((i, insn))
    where.append(len(made))
    return where, made


def _target(insn: Insn, at: int) -> int | None:
    if is_pseudo_call(insn) or is_pseudo_func(insn):
        return at + insn.imm + 1
    return at + jump_offset(insn) + 1 if is_jump(insn) else None


def _aim(insn: Insn, distance: int) -> Insn:
    if is_pseudo_call(insn) or is_pseudo_func(insn) or (
            insn.cls == uapi.BPF_JMP32 and insn.op == uapi.BPF_JA):
        return insn._replace(imm=distance)
    return insn._replace(off=distance)
