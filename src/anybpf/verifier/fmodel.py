"""What the kernel can call around a function (btf_distill_func_proto, kernel/bpf/btf.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject

MAX_ARGS = 12
#: bytes of a struct that is given by value
MAX_STRUCT = 16
UNSIZED = -1


def check(env: Env, btf: Btf, proto: t.FuncProto, name: str) -> None:
    """The prototype is one that a trampoline can be made for. Raises Reject."""
    if len(proto.params) > MAX_ARGS:
        raise Reject(EINVAL, f"The function {name} has {len(proto.params)} arguments. Too many.")
    made = resolved(btf, proto.type)
    if size(made) < 0 or isinstance(made, t.Composite):
        raise Reject(EINVAL, f"The function {name} return type {_kind(made)} is unsupported.")
    for number, param in enumerate(proto.params):
        if number == len(proto.params) - 1 and not param.type:
            raise Reject(EINVAL, f"The function {name} with variable args is unsupported.")
        _check_argument(name, number, resolved(btf, param.type))


def _check_argument(name: str, number: int, made: t.Type) -> None:
    if not 0 <= size(made) <= MAX_STRUCT:
        raise Reject(EINVAL, f"The function {name} arg{number} type {_kind(made)} is unsupported.")
    if not size(made):
        raise Reject(EINVAL, f"The function {name} has malformed void argument.")


def resolved(btf: Btf, type_id: int) -> t.Type:
    """A type without typedefs, qualifiers and tags."""
    return btf.type(btf.resolve(type_id))


def size(made: t.Type) -> int:
    """The bytes of an argument or result; `UNSIZED` for what is passed otherwise."""
    if isinstance(made, t.Void):
        return 0
    if isinstance(made, t.Ptr):
        return 8
    return made.size if isinstance(made, (t.Int, t.AnyEnum, t.Composite)) else UNSIZED


def _kind(made: t.Type) -> str:
    return "UNKNOWN" if isinstance(made, t.Void) else made.kind_name
