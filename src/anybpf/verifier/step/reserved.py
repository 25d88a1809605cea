"""Bad fields of an instruction, and what is said first (do_check_insn, check_reg_arg; verifier.c).

The kernel looks at fields and registers in turns: a register that holds nothing may be told before
a field that is not 0, or a register that there is not.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.isa.check import BadInsn, check_insn
from anybpf.isa.insn import Insn, is_ld_imm64
from anybpf.verifier.env import Env
from anybpf.verifier.step import regs

#: told when all registers were read
_LAST = ("div by zero", "invalid shift", "frame pointer")
#: program types that may use LD_ABS and LD_IND
_LD_PACKET = frozenset({uapi.BPF_PROG_TYPE_SOCKET_FILTER, uapi.BPF_PROG_TYPE_SCHED_CLS,
                        uapi.BPF_PROG_TYPE_SCHED_ACT})
_ALU = frozenset({uapi.BPF_ALU, uapi.BPF_ALU64})
_ALONE = frozenset({uapi.BPF_NEG, uapi.BPF_END})


def check(env: Env, insn: Insn) -> None:
    """Fields that must be 0, registers that there are not."""
    if insn.cls == uapi.BPF_LD and not is_ld_imm64(insn) and env.facts.type not in _LD_PACKET:
        raise env.reject(EINVAL, "BPF_LD_[ABS|IND] instructions not allowed for this program type")
    try:
        check_insn(insn, env.idx)
    except BadInsn as bad:
        if _atomic_writes(insn) and bad.message.startswith("frame pointer"):
            return  # told by `atomic` when its turn comes
        for number in _read_before(insn, bad.message):
            regs.read(env, number)
        raise env.reject(bad.errno or EINVAL, bad.message) from None


def _read_before(insn: Insn, message: str) -> tuple[int, ...]:
    """The registers that were read when `message` is said."""
    order = _reads(insn)
    if message.endswith("reserved fields"):
        return order[:1] if message.startswith("BPF_JMP/JMP32") else ()
    if message.endswith("is invalid"):
        bad = next((i for i, number in enumerate(order) if number >= uapi.MAX_BPF_REG), None)
        return order[:bad]
    return order if message.startswith(_LAST) else ()


def _atomic_writes(insn: Insn) -> bool:
    return (insn.cls == uapi.BPF_STX and insn.mode == uapi.BPF_ATOMIC
            and insn.imm != uapi.BPF_LOAD_ACQ)


def _reads(insn: Insn) -> tuple[int, ...]:
    """The registers that an instruction reads, in the kernel's order."""
    if insn.cls in _ALU:
        return _alu_reads(insn)
    if insn.cls == uapi.BPF_STX:
        loads = insn.mode == uapi.BPF_ATOMIC and insn.imm == uapi.BPF_LOAD_ACQ
        return (insn.src,) if loads else (insn.src, insn.dst)
    if insn.cls == uapi.BPF_LDX:
        return (insn.src,)
    if insn.cls in (uapi.BPF_JMP, uapi.BPF_JMP32):
        return (insn.dst, insn.src) if insn.uses_reg else (insn.dst,)
    return (insn.dst,) if insn.cls == uapi.BPF_ST else ()


def _alu_reads(insn: Insn) -> tuple[int, ...]:
    if insn.op in _ALONE:
        return (insn.dst,)
    if insn.op == uapi.BPF_MOV:
        return (insn.src,) if insn.uses_reg else ()
    return (insn.src, insn.dst) if insn.uses_reg else (insn.dst,)
