"""Arguments and results of what is traced (btf_ctx_access, kernel/bpf/btf.c)."""

from __future__ import annotations

from errno import EACCES
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK, PTR_MAYBE_NULL, PTR_TRUSTED
from anybpf.verifier import fmodel, prototypes, ranges
from anybpf.verifier.env import Env
from anybpf.verifier.facts import Attachment
from anybpf.verifier.region import btf_ptr
from anybpf.verifier.region.access import Access
from anybpf.verifier.state import Reg, mark_pointer, mark_unknown
from anybpf.verifier.step import resources

WORD = 8
#: arguments of a function whose types say something else than its code
ANY_ARGS = 5
#: where programs run that see what the function gives
_SEE_RESULT = frozenset({uapi.BPF_TRACE_FEXIT, uapi.BPF_LSM_MAC, uapi.BPF_LSM_CGROUP})
_TAGS = {"user": kinds.MEM_USER, "percpu": kinds.MEM_PERCPU}


class _Invalid(Exception):
    """No such argument; the kernel's line about it, if it has one."""


class _Value(NamedTuple):
    """What is loaded; of a pointer to a struct its type."""

    kind: int = kinds.SCALAR_VALUE
    type_id: int = 0
    is_result: bool = False


def access(what: Access, target: Attachment) -> None:
    """A load of an argument or result."""
    env, off, size = what.env, what.off, what.size
    try:
        value = _what(what, target)
    except _Invalid as invalid:
        if str(invalid):
            env.log.say(str(invalid))
        raise env.reject_then_line(
            EACCES, f"invalid bpf_context access off={off} size={size}") from None
    env.max_ctx_offset = max(env.max_ctx_offset, off + size)
    ref = _reference(env, target, off)
    if what.loads is not None:
        _load(env, what.loads, target, value)
        what.loads.ref = ref


def _reference(env: Env, target: Attachment, off: int) -> int:
    """The reference of an argument that must be given back, and was not yet; 0 of others."""
    ref = env.arg_refs.get(_index(target, off), 0) if target.held else 0
    if ref and not resources.is_held(env.state, ref):
        raise env.reject_then_line(EACCES, f"invalid bpf_context access off={off}. Reference may "
                                           "already be released")
    return ref


def _load(env: Env, into: Reg, target: Attachment, value: _Value) -> None:
    base = value.kind & KIND_MASK
    if value.is_result and target.results is not None:
        _result_of_hook(into, target.results)
    elif base == kinds.SCALAR_VALUE:
        mark_unknown(into)
    elif base == kinds.PTR_TO_BTF_ID:
        btf = env.facts.kernel_btf if target.context else target.btf
        assert btf is not None
        btf_ptr.point(env, into, btf, _promoted(target, value.type_id),
                      value.kind & ~KIND_MASK)
    else:
        mark_pointer(into, value.kind)
        into.id = env.new_id() if value.kind & PTR_MAYBE_NULL else 0


def _promoted(target: Attachment, type_id: int) -> int:
    """The struct that the argument points to in truth."""
    if target.ops is None or not target.ops.promotes:
        return type_id
    name = target.ops.promotes.get(target.btf.type(type_id).name)
    return target.btf.find(name, uapi.BTF_KIND_STRUCT) if name else type_id


def _given(target: Attachment, off: int) -> int:
    """The struct that the kernel says the argument points to, however it is loaded; or 0."""
    if target.ops is None or not target.ops.typed:
        return 0
    name = target.ops.typed.get((target.name, _index(target, off)))
    return target.btf.find(name, uapi.BTF_KIND_STRUCT) if name else 0


def _result_of_hook(into: Reg, results: tuple[int, int]) -> None:
    mark_unknown(into)
    into.smin, into.smax = into.s32min, into.s32max = results
    ranges.sync(into)


def _check_place(what: Access) -> None:
    """A load of whole, aligned bytes (tracing_prog_is_valid_access); LSM programs are not asked."""
    if what.env.facts.type == uapi.BPF_PROG_TYPE_LSM:
        return
    if not 0 <= what.off < WORD * fmodel.MAX_ARGS or what.write or what.off % what.size:
        raise _Invalid


def _what(what: Access, target: Attachment) -> _Value:
    given = 0 if what.write else _given(target, what.off)
    if given:
        return _Value(kinds.PTR_TO_BTF_ID | PTR_TRUSTED, given)
    _check_place(what)
    return _value(what.env, target, what.off, what.size)


def _value(env: Env, target: Attachment, off: int, size: int) -> _Value:
    """What lies at `off`."""
    name, btf = target.name, target.btf
    if off % WORD:
        raise _Invalid(f"func '{name}' offset {off} is not multiple of 8")
    number, count = _index(target, off), _count(target)
    if number > count:
        raise _Invalid(f"func '{name}' doesn't have {number + 1}-th argument")
    if number == count:
        return _result(env, target, number, size)
    if target.proto is None:
        return _Value()
    params = target.proto.params[target.skipped:]
    return _typed(env, target, number, btf.resolve(params[number].type), size)


def _result(env: Env, target: Attachment, number: int, size: int) -> _Value:
    """What the function gives, for programs that run behind it."""
    where, btf, proto = env.facts.attach_type, target.btf, target.proto
    if proto is None and where in _SEE_RESULT:
        return _Value()
    if where == uapi.BPF_MODIFY_RETURN:
        if proto is None:
            raise _Invalid
        made = fmodel.resolved(btf, proto.type)
        if not isinstance(made, t.Int | t.AnyEnum):
            raise _Invalid(f"ret type {made.kind_name} not allowed for fmod_ret")
    elif proto is None or where not in _SEE_RESULT:
        raise _Invalid(f"func '{target.name}' doesn't have {number + 1}-th argument")
    found = _typed(env, target, number, btf.resolve(proto.type), size)
    return found._replace(is_result=where == uapi.BPF_LSM_MAC)


def _typed(env: Env, target: Attachment, number: int, type_id: int, size: int) -> _Value:
    name, found = target.name, target.btf.type(type_id)
    if isinstance(found, t.Int | t.AnyEnum | t.Composite):
        return _Value()
    if not isinstance(found, t.Ptr):
        raise _Invalid(f"func '{name}' arg{number} '{found.name or '(anon)'}' has type "
                       f"{found.kind_name}. Only pointer access is allowed")
    if size != WORD:
        raise _Invalid(f"func '{name}' size {size} must be 8")
    return _pointer(env, target, number, found)


def _pointer(env: Env, target: Attachment, number: int, found: t.Ptr) -> _Value:
    special = target.kinds.get(number, 0)
    if special & KIND_MASK == kinds.PTR_TO_BUF:
        return _Value(special)
    btf, name = target.btf, target.name
    type_id = btf.resolve(found.type)
    made = btf.type(type_id)
    if isinstance(made, t.Void | t.Int):
        return _Value()
    if special:
        return _Value(special, type_id)
    if target.context:
        return _context(env, target, number, found)
    if not isinstance(made, t.Composite):
        raise _Invalid(f"func '{name}' arg{number} type {made.kind_name} is not a struct")
    env.log.write(f"func '{name}' arg{number} has btf_id {type_id} type {made.kind_name} "
                  f"'{made.name or '(anon)'}'\n")
    if number in target.errors:
        # the kernel ends no line here
        env.log.write(f"marking pointer arg{number} as scalar as it may encode error")
        return _Value()
    return _Value(kinds.PTR_TO_BTF_ID | _flags(target, number, found), type_id)


def _context(env: Env, target: Attachment, number: int, found: t.Ptr) -> _Value:
    """A program's function takes the context, which is the kernel's own struct then."""
    btf = env.facts.kernel_btf
    type_id = prototypes.kernel_context(btf, target.context) if btf is not None else 0
    if not type_id or not prototypes.is_context(target.btf, found.type, target.context):
        raise _Invalid
    return _Value(kinds.PTR_TO_BTF_ID | _flags(target, number, found), type_id)


def _flags(target: Attachment, number: int, found: t.Ptr) -> int:
    """How far the pointer is to be trusted, and what it points to."""
    flags = PTR_TRUSTED if target.trusted else 0
    if _may_be_null(target, number):
        flags |= PTR_MAYBE_NULL
    tag = target.btf.type(found.type)
    if isinstance(tag, t.TypeTag) and not tag.kind_flag:
        flags |= _TAGS.get(tag.name, 0)
    return flags


def _may_be_null(target: Attachment, number: int) -> bool:
    params = target.proto.params[target.skipped:] if target.proto is not None else ()
    named = number < len(params) and params[number].name.endswith("__nullable")
    return named or number in target.nullable


def _count(target: Attachment) -> int:
    """How many arguments there are; as many as a call may have where the types say nothing."""
    return len(target.proto.params[target.skipped:]) if target.proto is not None else ANY_ARGS


def _index(target: Attachment, off: int) -> int:
    """The argument at `off`; the kernel counts in the ones that are skipped."""
    btf, end, off = target.btf, 0, off & uapi.U32
    if target.proto is None:
        return off // WORD
    for number, param in enumerate(target.proto.params):
        end += _words(btf, param.type)
        if off < end:
            return number
    return len(target.proto.params) + (off >= end + _words(btf, target.proto.type))


def _words(btf: Btf, type_id: int) -> int:
    """The bytes of a context that an argument or result takes; nothing takes none."""
    made = fmodel.resolved(btf, type_id)
    size = made.size if isinstance(made, t.Float) else fmodel.size(made)
    return (size + WORD - 1) // WORD * WORD if size >= 0 else WORD
