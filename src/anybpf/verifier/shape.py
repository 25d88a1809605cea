"""What can be said of a program without walking it, for runs in the checked interpreter.

These stand-ins look at every instruction, reached or not, where the walk looks at those that some
path reaches.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf.isa.check import BadInsn, check_insn, check_jumps_into_imm64
from anybpf.isa.insn import is_helper_call, slots
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject
from anybpf.verifier.step import helper

#: what libbpf writes as helper number where code is dead: by CO-RE, for a map or kfunc left out
_POISON = (range(195_896_080, 195_896_081), range(2_001_000_000, 2_003_000_000))


def check(env: Env) -> None:
    """Fields and registers of every instruction, and the helpers that it calls."""
    try:
        for index, insn in slots(env.insns):
            check_insn(insn, index)
            if is_helper_call(insn) and not any(insn.imm in poison for poison in _POISON):
                env.idx = index
                helper.find(env, insn.imm)
        check_jumps_into_imm64(env.insns)
    except BadInsn as bad:
        raise Reject(bad.errno or EINVAL, bad.message, bad.index) from None
