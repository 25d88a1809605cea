"""Arguments of global functions from BTF (btf_prepare_func_args, kernel/bpf/btf.c)."""

from __future__ import annotations

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.proto import contexts
from anybpf.verifier.facts import FuncArg

MAX_ARGS = 5


def arguments(btf: Btf, func_id: int, prog_type: int) -> tuple[FuncArg, ...] | None:
    """What a global function takes, or None where that is not modelled (tags, BTF pointers)."""
    func = btf.type(func_id)
    proto = btf.type(func.type) if isinstance(func, t.Func) else None
    if not isinstance(proto, t.FuncProto) or len(proto.params) > MAX_ARGS or _tagged(btf, func_id):
        return None
    if not isinstance(btf.type(btf.resolve(proto.type)), (t.Int, t.AnyEnum)):
        return None
    found = [_argument(btf, param.type, prog_type) for param in proto.params]
    return tuple(a for a in found if a is not None) if None not in found else None


def _tagged(btf: Btf, func_id: int) -> bool:
    return any(isinstance(found, t.DeclTag) and found.type == func_id for _, found in btf.types())


def _argument(btf: Btf, type_id: int, prog_type: int) -> FuncArg | None:
    found = btf.type(btf.resolve(type_id))
    if isinstance(found, (t.Int, t.AnyEnum)):
        return FuncArg("scalar")
    if not isinstance(found, t.Ptr):
        return None
    pointed = btf.type(btf.resolve(found.type))
    view = contexts.VIEWS.get(prog_type)
    if view is not None and isinstance(pointed, t.Struct) and pointed.name == view.context:
        return FuncArg("ctx")
    try:
        return FuncArg("mem", btf.size_of(found.type))
    except LoadError:
        return None
