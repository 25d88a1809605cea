"""Typed pointers as arguments and results of helpers (check_reg_type, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES, EFAULT

from anybpf.btf import types as t
from anybpf.btf.fields import Field
from anybpf.btf.parse import Btf
from anybpf.proto import kinds
from anybpf.proto.helpers import Arg
from anybpf.proto.kinds import (
    KIND_MASK,
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    NON_OWN_REF,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
    PTR_TRUSTED,
)
from anybpf.verifier import btf_walk, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region import btf_ptr, kptr
from anybpf.verifier.state import Reg

_MEMORY = frozenset({kinds.ARG_PTR_TO_MAP_KEY, kinds.ARG_PTR_TO_MAP_VALUE, kinds.ARG_PTR_TO_MEM})
#: flags of typed pointers that may be passed at an offset
_AT_OFFSET = frozenset({0, MEM_ALLOC, PTR_TRUSTED, MEM_RCU, MEM_ALLOC | NON_OWN_REF,
                        MEM_ALLOC | NON_OWN_REF | MEM_RCU})
#: the one helper that takes any kind of socket back
_SK_RELEASE = "sk_release"


def at_offset(kind: int) -> bool:
    """A typed pointer that may have been moved by a fixed distance."""
    return kind & KIND_MASK == kinds.PTR_TO_BTF_ID and kind & ~KIND_MASK in _AT_OFFSET


#: what helpers check themselves, if at all
_OF_HELPERS = frozenset(kinds.PTR_TO_BTF_ID | flags for flags in (
    MEM_ALLOC, MEM_PERCPU | MEM_ALLOC, MEM_PERCPU, MEM_PERCPU | kinds.MEM_RCU,
    MEM_PERCPU | kinds.PTR_TRUSTED))
#: what a struct is compared with
_PLAIN = frozenset(kinds.PTR_TO_BTF_ID | flags | null for flags in (
    0, kinds.PTR_TRUSTED, kinds.MEM_RCU) for null in (0, PTR_MAYBE_NULL))


def check(env: Env, helper: str, reg: Reg, regno: int, arg: Arg,
          exchanged: tuple[Field, Btf | None] | None) -> None:
    """A typed pointer for an argument that its kind fits."""
    if arg.kind & KIND_MASK in _MEMORY:
        if not arg.kind & kinds.MEM_RDONLY:
            raise env.reject(EACCES, f"bpf_{helper}() may write into memory pointed by R{regno} "
                                     f"type={regtype.text(reg.kind)}")
        return
    if reg.kind in _OF_HELPERS:
        if exchanged is not None and regno == 2:
            kptr.check_match(env, reg, regno, *exchanged)
        return
    if reg.kind not in _PLAIN:
        raise env.reject(EFAULT, "verifier bug: invalid PTR_TO_BTF_ID register for type match")
    release = bool(arg.kind & OBJ_RELEASE)
    if regtype.may_be_null(reg.kind) and (not arg.kind & PTR_MAYBE_NULL or release):
        raise env.reject(EACCES, f"Possibly NULL pointer passed to helper arg{regno}")
    if exchanged is not None:
        kptr.check_match(env, reg, regno, *exchanged)
        return
    wanted = arg.btf_id or btf_ptr.struct_id(env, arg.btf or "sock_common")
    _check_struct(env, reg, regno, wanted, release and helper != _SK_RELEASE)


def _check_struct(env: Env, reg: Reg, regno: int, wanted: int, strict: bool) -> None:
    btf, kernel = btf_ptr.types_of(reg), btf_ptr.kernel(env)
    match = btf_walk.matches(btf, reg.btf_id, reg.off, kernel, wanted, strict)
    if not match.good:
        name, other = btf.type(reg.btf_id).name, kernel.type(wanted).name
        raise env.reject(EACCES, f"{match.said}R{regno} is of type {name} but {other} is expected")


#: how deep structs of nothing but numbers may be nested
MAX_SCALAR_STRUCT = 4


def is_plain_data(env: Env, btf: Btf, found: t.Type, depth: int = 0) -> bool:
    """A number, or a struct of nothing else (__btf_type_is_scalar_struct)."""
    if isinstance(found, (t.Int, t.AnyEnum)):
        return True
    if not isinstance(found, t.Composite):
        return False
    return all(_is_plain_member(env, btf, member.type, depth) for member in found.members)


def _is_plain_member(env: Env, btf: Btf, type_id: int, depth: int) -> bool:
    made = btf.type(btf.resolve(type_id))
    if isinstance(made, t.Array):
        if not made.nelems:
            return False
        made = btf.type(btf.resolve(made.type))
        return isinstance(made, (t.Int, t.AnyEnum))
    if isinstance(made, t.Composite):
        if depth + 1 >= MAX_SCALAR_STRUCT:
            env.log.write("max struct nesting depth exceeded\n")
            return False
        return is_plain_data(env, btf, made, depth + 1)
    return isinstance(made, (t.Int, t.AnyEnum))
