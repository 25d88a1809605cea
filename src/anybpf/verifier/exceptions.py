"""The function that catches exceptions (bpf_find_exception_callback_insn_off, verifier.c)."""

from __future__ import annotations

from errno import EEXIST, EINVAL, ENOENT

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.isa.insn import is_pseudo_call
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject

TAG = "exception_callback:"
GLOBAL = 1


def find(env: Env) -> int:
    """Where the function begins that the main function's tag names; 0: there is none."""
    btf, funcs = env.facts.btf, env.facts.funcs
    if btf is None or not funcs:
        return 0
    names = [found.name.removeprefix(TAG) for _, found in btf.types()
             if isinstance(found, t.DeclTag) and found.type == funcs[0].type_id
             and found.component == -1 and found.name.startswith(TAG)]
    if not names:
        return 0
    if len(names) > 1:
        raise Reject(EEXIST, "multiple exception callback tags for main subprog")
    number = btf.find(names[0], uapi.BTF_KIND_FUNC)
    if not number:
        raise Reject(ENOENT, f"exception callback '{names[0]}' could not be found in BTF")
    if btf.expect(number, t.Func).linkage != GLOBAL:
        raise Reject(EINVAL, f"exception callback '{names[0]}' must have global linkage")
    starts = [func.insn for func in funcs if func.type_id == number]
    if not starts:
        raise Reject(EINVAL, "exception callback type id not found in func_info")
    if not starts[-1]:
        raise Reject(EINVAL, "invalid exception callback insn_off in func_info: 0")
    if starts[-1] >= 1 << 31:
        # the kernel takes such a place for an errno
        raise refused_place(starts[-1])
    if starts[-1] >= len(env.insns):
        raise Reject(EINVAL, "call to invalid destination")
    return starts[-1]


def refused_place(place: int) -> Reject:
    """The errno that an unsigned place is where it is taken for a signed number."""
    made = Reject((1 << 32) - place, "")
    made.logged = True
    return made


def check_call(env: Env, idx: int, called: int) -> None:
    """Nothing calls the function directly (check_max_stack_depth)."""
    if called and called == env.exception_callback:
        # this text has no end of line
        raise Reject(EINVAL, f"insn {idx} cannot call exception cb directly", idx, end="")


def check_tail_calls(env: Env, number: int) -> None:
    """No tail call is below the function, if `number` is the one."""
    if number and number == env.exception_callback and _reaches_tail_call(env, number):
        raise Reject(EINVAL, "cannot tail call within exception cb")


def _reaches_tail_call(env: Env, number: int) -> bool:
    """A function that is called from this one, or from those, has a tail call."""
    todo, seen = [number], {number}
    for one in todo:
        subprog = env.subprogs[one]
        called = {env.subprog_at(idx + env.insns[idx].imm + 1)
                  for idx in range(subprog.start, subprog.end) if is_pseudo_call(env.insns[idx])}
        if any(env.subprogs[below].has_tail_call for below in called):
            return True
        todo += called - seen
        seen |= called
    return False
