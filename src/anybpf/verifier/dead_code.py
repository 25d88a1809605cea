"""Functions that no path reached (opt_remove_dead_code, jit_subprogs; kernel/bpf/fixups.c)."""

from __future__ import annotations

from errno import EFAULT
from itertools import groupby

from anybpf.isa.insn import is_ld_imm64, is_pseudo_func, slots
from anybpf.verifier.env import Env, Subprog
from anybpf.verifier.reject import Reject

#: what the rewrites add behind a program for exceptions that nothing catches
CATCHER = 2


def functions(env: Env) -> list[Subprog]:
    """Those that some path reaches; all of a program that was not walked."""
    return [s for s in env.subprogs if env.aux[s.start].seen or not env.processed]


def check_functions(env: Env) -> None:
    """The address of a function that was removed may be of no function then.

    The kernel calls that a bug of its own. It tells the place after all rewrites; here it is the
    place after dead code went.
    """
    left = functions(env)
    added = CATCHER if env.throws and not env.exception_callback else 0
    if len(left) + bool(added) < 2:
        return
    runs = _removed(env)
    starts = {_moved(s.start, runs) for s in left}
    for index, insn in slots(env.insns):
        if not is_pseudo_func(insn) or not env.aux[index].seen:
            continue
        target = _moved(index + insn.imm + 1, runs)
        if target not in starts:
            end = len(env.insns) - sum(length for _, length in runs)
            target += added if target >= end else 0
            reject = Reject(
                EFAULT, f"verifier bug: No program to jit at insn {target} (subprog < 0)", index)
            reject.rewritten = True
            raise reject


def _removed(env: Env) -> list[tuple[int, int]]:
    """Where in the end nothing is left that no path reached, and how much was there."""
    reached = [env.aux[index].seen for index in range(len(env.insns))]
    for index, insn in slots(env.insns):
        if is_ld_imm64(insn):
            reached[index + 1] = reached[index]
    runs, index = [], 0
    for seen, group in groupby(reached):
        length = len(list(group))
        if not seen:
            runs.append((index, length))
        index += length if seen else 0
    return runs


def _moved(target: int, runs: list[tuple[int, int]]) -> int:
    """Where a jump leads then; one into what is removed is left as it is (bpf_adj_branches)."""
    for index, length in runs:
        if target >= index + length:
            target -= length
    return target
