"""Arguments of what is traced (tracing_prog_is_valid_access, btf_ctx_access; kernel/bpf/btf.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK, PTR_MAYBE_NULL, PTR_TRUSTED
from anybpf.verifier.env import Env
from anybpf.verifier.facts import Attachment
from anybpf.verifier.region import btf_ptr
from anybpf.verifier.region.access import Access
from anybpf.verifier.state import Reg, mark_pointer, mark_unknown
from anybpf.verifier.step import resources

#: arguments that a context may have
MAX_ARGS = 12
WORD = 8


class _Invalid(Exception):
    """No such argument; the kernel's line about it, if it has one."""


def access(what: Access, target: Attachment) -> None:
    """A load of an argument."""
    env, off, size = what.env, what.off, what.size
    try:
        kind, type_id = _argument(env, target, off, size, what.write)
    except _Invalid as invalid:
        if str(invalid):
            env.log.say(str(invalid))
        raise env.reject_then_line(
            EACCES, f"invalid bpf_context access off={off} size={size}") from None
    ref = _reference(env, target, off)
    if what.loads is not None:
        _load(env, what.loads, target, kind, type_id)
        what.loads.ref = ref


def _reference(env: Env, target: Attachment, off: int) -> int:
    """The reference of an argument that must be given back, and was not yet; 0 of others."""
    ref = env.arg_refs.get(_index(target, off), 0) if target.held else 0
    if ref and not resources.is_held(env.state, ref):
        raise env.reject_then_line(EACCES, f"invalid bpf_context access off={off}. Reference may "
                                           "already be released")
    return ref


def _load(env: Env, into: Reg, target: Attachment, kind: int, type_id: int) -> None:
    base = kind & KIND_MASK
    if base == kinds.SCALAR_VALUE:
        mark_unknown(into)
    elif base == kinds.PTR_TO_BTF_ID:
        btf_ptr.point(env, into, target.btf, _promoted(target, type_id), kind & ~KIND_MASK)
    else:
        mark_pointer(into, kind)
        into.id = env.new_id() if kind & PTR_MAYBE_NULL else 0


def _promoted(target: Attachment, type_id: int) -> int:
    """The struct that the argument points to in truth."""
    if target.ops is None or not target.ops.promotes:
        return type_id
    name = target.ops.promotes.get(target.btf.type(type_id).name)
    return target.btf.find(name, uapi.BTF_KIND_STRUCT) if name else type_id


def _given(target: Attachment, off: int) -> int:
    """The struct that the kernel says the argument points to, whatever its type; or 0."""
    if target.ops is None or not target.ops.typed:
        return 0
    name = target.ops.typed.get((target.name, _index(target, off)))
    return target.btf.find(name, uapi.BTF_KIND_STRUCT) if name else 0


def _argument(env: Env, target: Attachment, off: int, size: int, write: bool) -> tuple[int, int]:
    """Kind and type of the argument at `off`."""
    given = _given(target, off) if not write else 0
    if given:
        return kinds.PTR_TO_BTF_ID | PTR_TRUSTED, given
    if not 0 <= off < WORD * MAX_ARGS or write or off % size:
        raise _Invalid
    name = target.name
    if off % WORD:
        raise _Invalid(f"func '{name}' offset {off} is not multiple of 8")
    number, params = _index(target, off), target.proto.params[target.skipped:]
    if number >= len(params):
        raise _Invalid(f"func '{name}' doesn't have {number + 1}-th argument")
    found = target.btf.type(target.btf.resolve(params[number].type))
    if isinstance(found, (t.Int, t.AnyEnum, t.Composite)):
        return kinds.SCALAR_VALUE, 0
    if not isinstance(found, t.Ptr):
        raise _Invalid(f"func '{name}' arg{number} '{found.name or '(anon)'}' has type "
                       f"{found.kind_name}. Only pointer access is allowed")
    if size != WORD:
        raise _Invalid(f"func '{name}' size {size} must be 8")
    return _pointer(env, target, number, found)


def _pointer(env: Env, target: Attachment, number: int, found: t.Ptr) -> tuple[int, int]:
    special = target.kinds.get(number, 0)
    if special & KIND_MASK == kinds.PTR_TO_BUF:
        return special, 0
    btf, name = target.btf, target.name
    type_id = btf.resolve(found.type)
    made = btf.type(type_id)
    if found.type == 0 or _is_number_pointer(btf, found):
        return kinds.SCALAR_VALUE, 0
    if special:
        return special, type_id
    kind = kinds.PTR_TO_BTF_ID | PTR_TRUSTED
    param = target.proto.params[target.skipped + number]
    if param.name.endswith("__nullable") or number in target.nullable:
        kind |= PTR_MAYBE_NULL
    if not isinstance(made, t.Composite):
        raise _Invalid(f"func '{name}' arg{number} type {_kind(made)} is not a struct")
    env.log.write(f"func '{name}' arg{number} has btf_id {type_id} type {made.kind_name} "
                  f"'{made.name or '(anon)'}'\n")
    return kind, type_id


def _kind(made: t.Type) -> str:
    return "UNKNOWN" if isinstance(made, t.Void) else made.kind_name


def _is_number_pointer(btf: Btf, found: t.Ptr) -> bool:
    return isinstance(btf.type(btf.resolve(found.type)), t.Int)


def _index(target: Attachment, off: int) -> int:
    """The argument at `off`; the kernel counts in the ones that are skipped."""
    btf, end = target.btf, 0
    for number, param in enumerate(target.proto.params):
        end += _words(btf, param.type)
        if off < end:
            return number
    return len(target.proto.params) + (off >= end + _words(btf, target.proto.type))


def _words(btf: Btf, type_id: int) -> int:
    """The bytes of a context that an argument or result takes; nothing takes none."""
    made = btf.type(btf.resolve(type_id))
    if isinstance(made, t.Void):
        return 0
    size = made.size if isinstance(made, (t.Int, t.AnyEnum, t.Composite, t.Float)) else WORD
    return (size + WORD - 1) // WORD * WORD
