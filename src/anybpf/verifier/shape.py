"""What can be said of a program without walking it, for runs in the checked interpreter.

These stand-ins look at every instruction, reached or not, where the walk looks at those that some
path reaches.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf.isa.check import BadInsn, check_insn, check_jumps_into_imm64
from anybpf.isa.insn import is_helper_call, slots
from anybpf.proto import access
from anybpf.proto.helpers import BY_ID
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject

#: what libbpf writes as helper number where code is dead: by CO-RE, for a map or kfunc left out
_POISON = (range(195_896_080, 195_896_081), range(2_001_000_000, 2_003_000_000))


def check(env: Env) -> None:
    """Fields and registers of every instruction, and the helpers that it calls."""
    try:
        for index, insn in slots(env.insns):
            check_insn(insn, index)
            if is_helper_call(insn):
                _check_helper(env, insn.imm)
        check_jumps_into_imm64(env.insns)
    except BadInsn as bad:
        raise Reject(bad.errno or EINVAL, bad.message, bad.index) from None


def _check_helper(env: Env, number: int) -> None:
    """The helper exists, and type and licence of the program allow it."""
    if any(number in poison for poison in _POISON):
        return
    if number not in BY_ID:
        raise Reject(EINVAL, f"invalid func unknown#{number}")
    facts = env.facts
    helper = access.helper(number, facts.type, facts.attach_type, facts.caps,
                           sleepable=facts.sleepable)
    if helper is None:
        raise Reject(EINVAL, "program of this type cannot use helper "
                             f"bpf_{BY_ID[number].name}#{number}")
    if helper.gpl and not facts.gpl:
        raise Reject(EINVAL, "cannot call GPL-restricted function from non-GPL compatible program")
