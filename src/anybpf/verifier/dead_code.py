"""Functions that no path reached (opt_remove_dead_code, jit_subprogs; kernel/bpf/fixups.c)."""

from __future__ import annotations

from errno import EFAULT

from anybpf.isa.insn import is_pseudo_func, slots
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject


def check_functions(env: Env) -> None:
    """The address of a function that was removed, with none behind it, is of no function.

    The kernel calls that a bug of its own. It tells the end of the program after all rewrites; here
    it is the end of what was walked.
    """
    left = [s for s in env.subprogs if env.aux[s.start].seen]
    if len(left) < 2:
        return
    for index, insn in slots(env.insns):
        if not is_pseudo_func(insn) or not env.aux[index].seen:
            continue
        target = index + insn.imm + 1
        if target > left[-1].start:
            end = left[-1].end
            reject = Reject(
                EFAULT, f"verifier bug: No program to jit at insn {end} (subprog < 0)", index)
            reject.rewritten = True
            raise reject
