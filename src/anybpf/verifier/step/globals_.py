"""Arguments of functions by their types (btf_check_func_arg_match, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.errors import NotSupported
from anybpf.proto import kinds
from anybpf.proto.helpers import HELPERS
from anybpf.proto.kinds import PTR_MAYBE_NULL
from anybpf.verifier import regtype, subprogs
from anybpf.verifier.env import Env
from anybpf.verifier.facts import FuncArg
from anybpf.verifier.region import ctx
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
    if arg.kind == "dynptr":
        if reg.kind != kinds.PTR_TO_STACK:
            ctx.check_unmoved(env, reg, regno)
        dynptr.check_pointer(env, reg, number)
        dynptr.use(walk, reg, number, 0, True)
        return
    if arg.kind not in ("ctx", "mem"):
        raise NotSupported(f"{arg.kind} arguments of functions")
    if reg.kind & kinds.KIND_MASK not in args.AT_OFFSET:
        ctx.check_unmoved(env, reg, regno)
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
