"""Structs of the kernel and of the program's own (check_ptr_to_btf_access, verifier.c).

What a member gives depends on how far the pointer is trusted, and on lists of safe members, which
are structs in the kernel's types (`task_struct__safe_rcu`).
"""

from __future__ import annotations

from errno import EACCES, EFAULT, EINVAL

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.errors import Bug, NotSupported
from anybpf.proto import kinds
from anybpf.proto.kinds import MEM_RCU, PTR_MAYBE_NULL, PTR_TRUSTED, PTR_UNTRUSTED
from anybpf.verifier import btf_walk, log, records, regtype
from anybpf.verifier.btf_walk import Found
from anybpf.verifier.env import Env
from anybpf.verifier.region import writes
from anybpf.verifier.region.access import Access
from anybpf.verifier.state import Reg, mark_pointer, mark_unknown


def kernel(env: Env) -> Btf:
    """The kernel's types."""
    if env.facts.kernel_btf is None:
        raise NotSupported("typed pointers without the kernel's types (Facts.kernel_btf)")
    return env.facts.kernel_btf


def struct_id(env: Env, name: str) -> int:
    """The number of a struct of the kernel."""
    found = kernel(env).find(name, uapi.BTF_KIND_STRUCT)
    if not found:
        raise NotSupported(f"struct {name}, which the types given as the kernel's do not have")
    return found


def types_of(reg: Reg) -> Btf:
    """The types that the pointer's number belongs to."""
    if reg.btf is None:
        raise Bug("a typed pointer without types")
    return reg.btf


def is_allocated(reg: Reg) -> bool:
    """An object that the program allocated (type_is_ptr_alloc_obj)."""
    return bool(reg.kind & kinds.MEM_ALLOC)


def access(what: Access) -> None:
    """A load or store."""
    found = check(what.env, what.reg, what.regno, what.off, what.size, what.write)
    if what.loads is not None:
        load(what.env, what.loads, types_of(what.reg), found)


def check(env: Env, reg: Reg, regno: int, off: int, size: int, write: bool) -> Found:
    """The member that is accessed, with the flags of a pointer that is read there."""
    btf = types_of(reg)
    name = btf.type(reg.btf_id).name
    _check_pointer(env, reg, regno, name, off)
    if write and reg.kind & PTR_UNTRUSTED:
        raise env.reject(EACCES, "only read is supported")
    if write and not is_allocated(reg):
        writes.check(env, btf, reg.btf_id, off, size)
        return Found(btf_walk.SCALAR)
    if is_allocated(reg):
        _check_owned(env, reg)
        _check_special(env, reg, btf, off, size)
    try:
        found = btf_walk.access(btf, reg.btf_id, off, size, is_allocated(reg))
    except btf_walk.Misfit as misfit:
        raise env.reject(misfit.errno, misfit.text) from None
    if found.what == btf_walk.POINTER:
        return found._replace(flags=_trust(env, reg, btf, found))
    return found


def _check_owned(env: Env, reg: Reg) -> None:
    """The object is held, borrowed, or kept by RCU: after the section it may be gone."""
    if not reg.ref and not reg.kind & (kinds.NON_OWN_REF | MEM_RCU):
        raise env.reject(EFAULT,
                         "verifier bug: ref_obj_id for allocated object must be non-zero")


def _check_special(env: Env, reg: Reg, btf: Btf, off: int, size: int) -> None:
    """Locks, nodes and the like are not for loads and stores."""
    for one in records.fields_of(btf, reg.btf_id, env.facts.kernel_btf, env.facts.modules):
        if off < one.offset + one.special.size and one.offset < off + size:
            raise env.reject(EACCES, f"direct access to {one.special.word} is disallowed")


def _check_pointer(env: Env, reg: Reg, regno: int, name: str, off: int) -> None:
    if not env.facts.gpl and btf_walk.is_kernel(types_of(reg), env.facts.kernel_btf):
        raise env.reject(EINVAL, f"Cannot access kernel 'struct {name}' from non-GPL compatible "
                                 "program")
    if off < 0:
        raise env.reject(EACCES, f"R{regno} is ptr_{name} invalid negative access: off={off}")
    if reg.vm or reg.vv:
        bits = log.tnum_text(reg.vv, reg.vm)
        raise env.reject(EACCES, f"R{regno} is ptr_{name} invalid variable offset: off={off}, "
                                 f"var_off={bits}")
    for flag, memory in ((kinds.MEM_USER, "user"), (kinds.MEM_PERCPU, "percpu")):
        if reg.kind & flag:
            raise env.reject(EACCES, f"R{regno} is ptr_{name} access {memory} memory: off={off}")


def in_rcu(env: Env) -> bool:
    """What RCU protects cannot go away now (in_rcu_cs)."""
    return bool(env.state.rcu_locks or env.state.locks or not env.state.sleepable)


def _trust(env: Env, reg: Reg, btf: Btf, found: Found) -> int:
    """How far a pointer that is read from a struct is trusted."""
    if reg.kind & PTR_UNTRUSTED:
        return PTR_UNTRUSTED
    flags = found.flags
    old = flags & ~(regtype.TRUSTED | MEM_RCU)
    if not (regtype.is_trusted(reg.kind, bool(reg.ref)) or reg.kind & MEM_RCU):
        return old

    def safe(suffix: str) -> bool:
        return btf_walk.is_safe(btf, reg.btf_id, found.member, found.type_id, suffix)

    if safe("__safe_trusted"):
        return flags | PTR_TRUSTED
    if safe("__safe_trusted_or_null"):
        return flags | PTR_TRUSTED | PTR_MAYBE_NULL
    if not in_rcu(env) or reg.kind & PTR_MAYBE_NULL:
        return PTR_UNTRUSTED
    if safe("__safe_rcu"):
        return flags | MEM_RCU
    if safe("__safe_rcu_or_null"):
        return (flags | MEM_RCU | PTR_MAYBE_NULL) & ~PTR_UNTRUSTED
    if flags & MEM_RCU:
        return flags | PTR_MAYBE_NULL
    return flags if flags & (kinds.MEM_PERCPU | kinds.MEM_USER) else old


def load(env: Env, into: Reg, btf: Btf, found: Found) -> None:
    """What the register becomes that is loaded."""
    if found.what == btf_walk.SCALAR:
        mark_unknown(into)
        return
    if found.what == btf_walk.UNTYPED:
        mark_pointer(into, kinds.PTR_TO_MEM | kinds.MEM_RDONLY | PTR_UNTRUSTED)
        return
    point(env, into, btf, found.type_id, found.flags)


def point(env: Env, reg: Reg, btf: Btf, type_id: int, flags: int) -> None:
    """The register is a pointer to a struct (mark_btf_ld_reg)."""
    mark_pointer(reg, kinds.PTR_TO_BTF_ID | flags)
    reg.btf, reg.btf_id = btf, type_id
    if flags & PTR_MAYBE_NULL:
        reg.id = env.new_id()
