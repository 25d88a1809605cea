"""Context fields (check_ctx_access, kernel/bpf/verifier.c; rows in `proto.contexts`)."""

from __future__ import annotations

from errno import EACCES

from anybpf import uapi
from anybpf.proto import contexts, kinds
from anybpf.proto.contexts import Field
from anybpf.proto.kinds import KIND_MASK
from anybpf.verifier import log, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region import btf_ptr, traced
from anybpf.verifier.region.access import Access
from anybpf.verifier.state import Reg, mark_pointer, mark_unknown


def check_unmoved(env: Env, reg: Reg, regno: int, fixed_ok: bool = False) -> None:
    """The pointer is what it was when it was made (check_ptr_off_reg)."""
    if reg.off == 0 and reg.vm == 0 and reg.vv == 0:
        return
    name = regtype.text(reg.kind)
    if reg.off < 0:
        raise env.reject(EACCES, f"negative offset {name} ptr R{regno} off={reg.off} disallowed")
    if reg.off and not fixed_ok:
        raise env.reject(
            EACCES, f"dereference of modified {name} ptr R{regno} off={reg.off} disallowed")
    if reg.vm or reg.vv:
        bits = log.offset_text(reg.vv, reg.vm)
        raise env.reject(EACCES, f"variable {name} access var_off={bits} disallowed")


def access(what: Access) -> None:
    """A load or store of a field."""
    env = what.env
    check_unmoved(env, what.reg, what.regno)
    if env.target is not None:
        traced.access(what, env.target)
        return
    field = _field(what)
    if field is None and not _below_record(what):
        raise env.reject_then_line(
            EACCES, f"invalid bpf_context access off={what.off} size={what.size}")
    env.max_ctx_offset = max(env.max_ctx_offset, what.off + what.size)
    if what.loads is not None:
        _load(env, what.loads, field)


def _below_record(what: Access) -> bool:
    """The kernel takes a tracepoint record's offset for unsigned, so that none is too low."""
    return (what.env.facts.type == uapi.BPF_PROG_TYPE_TRACEPOINT and not what.write
            and what.off < 0 and what.off % what.size == 0)


def _field(what: Access) -> Field | None:
    env = what.env
    if env.view is None or (what.write and env.view.store_feature in env.facts.lacks):
        return None
    find = contexts.store if what.write else contexts.load
    found = find(env.view, what.off, what.size, env.facts.attach_type, env.bpf_capable)
    if found is not None and what.signed and regtype.is_any_packet(found.kind):
        return None  # a packet pointer is no signed number
    return found


def _load(env: Env, reg: Reg, field: Field | None) -> None:
    kind = kinds.SCALAR_VALUE if field is None else field.kind
    if kind == kinds.SCALAR_VALUE:
        mark_unknown(reg)
        return
    if kind & KIND_MASK == kinds.PTR_TO_BTF_ID and field is not None:
        btf = btf_ptr.kernel(env)
        btf_ptr.point(env, reg, btf, btf_ptr.struct_id(env, field.btf), kind & ~KIND_MASK)
        return
    mark_pointer(reg, kind)
    if regtype.may_be_null(kind):
        reg.id = env.new_id()
