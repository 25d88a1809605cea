"""Where functions begin and end (add_subprog_and_kfunc, check_subprogs; kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import E2BIG, EINVAL

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.isa.check import BadInsn, check_subprogs
from anybpf.isa.insn import is_kfunc_call, is_pseudo_call, is_pseudo_func, slots
from anybpf.verifier import exceptions, kfuncs
from anybpf.verifier.env import Env, Subprog
from anybpf.verifier.facts import FuncArg
from anybpf.verifier.prototypes import Program, prototype
from anybpf.verifier.reject import Reject

_PACKET_LOADS = (uapi.BPF_ABS, uapi.BPF_IND)
MAX_SUBPROGS = 256


def find(env: Env) -> None:
    """Fill `env.subprogs`; no jump leaves its function and none falls off its end."""
    starts = _starts(env)
    ends = [*starts[1:], len(env.insns)]
    names = {f.insn: f for f in env.facts.funcs}
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        info = names.get(start)
        made = Subprog(start, end, info.name if info else "", bool(info and info.is_global))
        made.type_id = info.type_id if info else 0
        made.is_callback = made.is_async_callback = bool(number) and \
            number == env.exception_callback
        env.subprogs.append(made)
        if env.log.detailed:
            env.log.write(f"func#{number} @{start}\n")
    try:
        check_subprogs(env.insns, starts)
    except BadInsn as bad:
        raise Reject(bad.errno or EINVAL, bad.message, bad.index) from None
    _tail_calls(env)


def prototypes(env: Env) -> None:
    """Whether all that is called can be walked."""
    for _, insn in slots(env.insns):
        if is_kfunc_call(insn) and env.facts.kernel_btf is None:
            raise NotSupported("kernel functions without the kernel's types (Facts.kernel_btf)")


def arguments(env: Env, number: int) -> tuple[FuncArg, ...]:
    """What a function takes, or `Reject` if its prototype is none that can be used."""
    subprog = env.subprogs[number]
    if subprog.args is None:
        assert env.facts.btf is not None
        found = prototype(env.facts.btf, subprog.type_id,
                          Program(env.facts.type, env.facts.attach_type),
                          env.facts.kernel_btf)
        if found.errno:
            raise env.reject(found.errno, found.text)
        subprog.args = found.args
    return subprog.args


def _starts(env: Env) -> list[int]:
    starts = {0}
    try:
        _collect(env, starts)
        catches = exceptions.find(env)
        if catches:
            starts.add(catches)
            env.exception_callback = sorted(starts).index(catches)
    except Reject:
        # those found so far are told of
        env.subprogs = [Subprog(start) for start in sorted(starts)]
        raise
    return sorted(starts)


def _collect(env: Env, starts: set[int]) -> None:
    for index, insn in slots(env.insns):
        if is_kfunc_call(insn):
            kfuncs.add(env, index, insn)
        if is_pseudo_call(insn) or is_pseudo_func(insn):
            target = index + insn.imm + 1
            if not 0 <= target < len(env.insns):
                raise Reject(EINVAL, "call to invalid destination", index)
            if len(starts) >= MAX_SUBPROGS and target not in starts:
                raise Reject(E2BIG, "too many subprograms", index)
            starts.add(target)


def _tail_calls(env: Env) -> None:
    call = uapi.BPF_JMP | uapi.BPF_CALL
    for subprog in env.subprogs:
        subprog.has_tail_call = any(
            insn.code == call and insn.src == 0 and insn.imm == uapi.BPF_FUNC_tail_call
            for insn in env.insns[subprog.start:subprog.end])
        subprog.has_ld_abs = any(insn.cls == uapi.BPF_LD and insn.mode in _PACKET_LOADS
                                 for insn in env.insns[subprog.start:subprog.end])
