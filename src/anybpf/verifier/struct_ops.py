"""The function that a struct_ops program stands in for (check_struct_ops_btf_id, verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import NotSupported
from anybpf.proto import kinds
from anybpf.proto.struct_ops import VALUE_PREFIX, StructOps
from anybpf.verifier.env import Env
from anybpf.verifier.facts import Attachment
from anybpf.verifier.reject import ENOTSUPP, Reject

_NULLABLE = kinds.PTR_TO_BTF_ID | kinds.PTR_TRUSTED | kinds.PTR_MAYBE_NULL
_REFERENCED = kinds.PTR_TO_BTF_ID | kinds.PTR_TRUSTED


def find(env: Env) -> Attachment:
    """The member, its prototype and what its arguments are."""
    facts = env.facts
    if not facts.gpl:
        raise Reject(EINVAL, "struct ops programs must have a GPL compatible license")
    btf = facts.attach_btf
    if not facts.attach_btf_id or btf is None:
        raise Reject(ENOTSUPP, "", end="")
    struct = _registered(btf, facts.attach_btf_id)
    if struct is None:
        raise Reject(ENOTSUPP, f"attach_btf_id {facts.attach_btf_id} is not a supported struct")
    ops = facts.struct_ops.get(struct.name)
    if ops is None:
        raise NotSupported(f"programs for struct {struct.name} in the verifier")
    return _hook(env, btf, struct, ops)


def _registered(btf: Btf, number: int) -> t.Struct | None:
    """The struct, if the kernel takes programs for it (bpf_struct_ops_find)."""
    if not btf.start_id <= number < len(btf):
        return None
    struct = btf.type(number)
    if not isinstance(struct, t.Struct) or not struct.name:
        return None
    value = btf.find(VALUE_PREFIX + struct.name, uapi.BTF_KIND_STRUCT)
    members = btf.expect(value, t.Struct).members if value else ()
    return struct if [m.type for m in members[1:]] == [number] else None


def _hook(env: Env, btf: Btf, struct: t.Struct, ops: StructOps) -> Attachment:
    index = env.facts.attach_type
    if index >= len(struct.members):
        raise Reject(EINVAL, f"attach to invalid member idx {index} of struct {struct.name}")
    member = struct.members[index]
    proto = _function(btf, member.type)
    if proto is None:
        raise Reject(EINVAL, f"attach to invalid member {member.name}(@idx {index}) of struct "
                             f"{struct.name}")
    errno = _unsupported(env, ops, member.name)
    if errno:
        raise Reject(errno, f"attach to unsupported member {member.name} of struct {struct.name}")
    special, held = _arguments(btf, f"{struct.name}__{member.name}")
    if held and any(subprog.has_tail_call for subprog in env.subprogs):
        raise Reject(EINVAL, "program with __ref argument cannot tail call")
    return Attachment(member.name, btf, proto, kinds=special, trusted=True, ops=ops,
                      held=held)


def _function(btf: Btf, type_id: int) -> t.FuncProto | None:
    """What a pointer to a function points to."""
    pointer = btf.type(btf.resolve(type_id))
    proto = btf.type(btf.resolve(pointer.type)) if isinstance(pointer, t.Ptr) else None
    return proto if isinstance(proto, t.FuncProto) else None


def _unsupported(env: Env, ops: StructOps, member: str) -> int:
    """The errno for a member that no program stands in for, or none that sleeps; or 0."""
    if member not in ops.members:
        return ENOTSUPP
    awake = ops.sleepable is not None and member not in ops.sleepable
    return EINVAL if env.facts.sleepable and awake else 0


def _arguments(btf: Btf, name: str) -> tuple[dict[int, int], tuple[int, ...]]:
    """Arguments that the names of the function's own tell of, and which must be given back."""
    number = btf.find(name, uapi.BTF_KIND_FUNC)
    proto = btf.type(btf.expect(number, t.Func).type) if number else None
    if not isinstance(proto, t.FuncProto):
        return {}, ()
    names = [param.name for param in proto.params]
    nullable = {i: _NULLABLE for i, one in enumerate(names) if one.endswith("__nullable")}
    held = tuple(i for i, one in enumerate(names) if one.endswith("__ref"))
    return nullable | dict.fromkeys(held, _REFERENCED), held
