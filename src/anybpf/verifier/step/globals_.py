"""Arguments of functions by their types (btf_check_func_arg_match, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.proto import kinds
from anybpf.proto.helpers import HELPERS, Arg
from anybpf.proto.kinds import PTR_MAYBE_NULL
from anybpf.verifier import regtype, subprogs
from anybpf.verifier.env import Env
from anybpf.verifier.facts import FuncArg
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import Reg
from anybpf.verifier.step import args, dynptr, regs
from anybpf.verifier.walk import Walk


def check(walk: Walk, number: int) -> Reject | None:
    """What does not fit the prototype of function `number`, which is not asked again then.

    Of a static function nobody need know: the compiler may have changed what it takes.
    """
    env = walk.env
    subprog = env.subprogs[number]
    if not subprog.type_id:
        return None
    if subprog.unreliable:
        return env.reject(EINVAL, "")
    try:
        for i, arg in enumerate(subprogs.arguments(env, number)):
            _check(walk, i, env.regs[i + 1], arg)
    except Reject as reject:
        subprog.unreliable = True
        return reject
    return None


def tell(walk: Walk, number: int) -> None:
    """Say what does not fit a static function, and let it pass."""
    misfit = check(walk, number)
    if misfit is not None:
        walk.env.log.say(misfit.text)


def _check(walk: Walk, number: int, reg: Reg, arg: FuncArg) -> None:
    env, regno = walk.env, number + 1
    if arg.kind == "scalar":
        if reg.kind != kinds.SCALAR_VALUE:
            raise env.reject(EINVAL, f"R{regno} is not a scalar")
        return
    if arg.kind in _TYPED:
        _TYPED[arg.kind](walk, number, reg, arg)
        return
    args.check_moved(env, reg, regno)
    if arg.kind == "ctx":
        if reg.kind != kinds.PTR_TO_CTX:
            raise env.reject(EINVAL, f"arg#{number} expects pointer to ctx")
        return
    _check_memory(walk, env, number, reg, arg)


def _check_memory(walk: Walk, env: Env, number: int, reg: Reg, arg: FuncArg) -> None:
    if not regs.is_zero(reg):
        kind = reg.kind
        reg.kind &= ~PTR_MAYBE_NULL
        call = args.Call(walk, HELPERS[0])
        try:
            args.memory(call, number + 1, arg.size, False, True, False)
            args.memory(call, number + 1, arg.size, True, True, False)
        except Reject as reject:
            raise env.reject(EINVAL, reject.text) from None
        reg.kind = kind
    # the number 0 passes: a pointer is asked for its kind only
    if not arg.nullable and regtype.may_be_null(reg.kind):
        raise env.reject(EINVAL, f"arg#{number} is expected to be non-NULL")


# -- arguments with types of the kernel


def _anything(walk: Walk, number: int, reg: Reg, arg: FuncArg) -> None:
    """It is read as if it were an address that may be bad."""


def _check_arena(walk: Walk, number: int, reg: Reg, arg: FuncArg) -> None:
    if reg.kind not in (kinds.PTR_TO_ARENA, kinds.SCALAR_VALUE):
        raise walk.env.reject(EINVAL, f"R{number + 1} is not a pointer to arena or scalar.")


def _check_dynptr(walk: Walk, number: int, reg: Reg, arg: FuncArg) -> None:
    env = walk.env
    args.check_offset(env, reg, number + 1, Arg(kinds.ARG_PTR_TO_DYNPTR))
    dynptr.check_pointer(env, reg, number)
    dynptr.use(walk, reg, number, 0, constant=True)


def _check_trusted(walk: Walk, number: int, reg: Reg, arg: FuncArg) -> None:
    env = walk.env
    if regs.is_zero(reg) and arg.nullable:
        return
    null = PTR_MAYBE_NULL if arg.nullable else 0
    wanted = Arg(kinds.ARG_PTR_TO_BTF_ID | kinds.PTR_TRUSTED | null, btf_id=arg.type_id)
    args.check_kind(env, "", reg, number + 1, wanted)
    args.check_offset(env, reg, number + 1, wanted)


_TYPED = {"untrusted": _anything, "untrusted_btf": _anything, "arena": _check_arena,
          "dynptr": _check_dynptr, "trusted_btf": _check_trusted}
