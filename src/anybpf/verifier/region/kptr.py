"""Pointers that live in map values and objects (check_map_kptr_access, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES, EINVAL

from anybpf import uapi
from anybpf.btf.fields import Field
from anybpf.btf.parse import Btf
from anybpf.errors import Bug
from anybpf.proto import kinds
from anybpf.proto.kinds import (
    KIND_MASK,
    MEM_ALLOC,
    MEM_PERCPU,
    MEM_RCU,
    PTR_MAYBE_NULL,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
)
from anybpf.verifier import btf_walk, records, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region import btf_ptr, ctx
from anybpf.verifier.region.access import Access
from anybpf.verifier.state import Reg, mark_pointer

#: structs of the kernel that RCU protects, so that a pointer in a map is good inside a section
RCU_PROTECTED = frozenset({"prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct",
                           "bpf_crypto_ctx"})
UNREFERENCED, OWNED, PERCPU = "kptr_untrusted", "kptr", "percpu_kptr"
#: a pointer to a page of user space, which the kernel keeps in memory
USER = "uptr"


def target(env: Env, field: Field, btf: Btf | None) -> tuple[Btf, int]:
    """The struct that the pointer points to; `btf` are the types of its owner."""
    if field.kernel_type:
        return field.module or btf_ptr.kernel(env), field.kernel_type
    if btf is None:
        raise Bug("a map with typed pointers and without types")
    return btf, field.value_type


def access(what: Access, field: Field, btf: Btf | None) -> None:
    """A load or store of a whole pointer."""
    env, insn = what.env, what.insn
    name = field.special.name
    if insn.mode != uapi.BPF_MEM:
        raise env.reject(EACCES, "kptr in map can only be accessed using BPF_MEM instruction mode")
    if what.write and name != UNREFERENCED:
        owned = "uptr" if name == USER else "referenced kptr"
        raise env.reject(EACCES, f"store to {owned} disallowed")
    if what.loads is not None and name == USER:
        _load_user(env, what.loads, field, btf)
    elif what.loads is not None:
        types, type_id = target(env, field, btf)
        btf_ptr.point(env, what.loads, types, type_id, loaded_flags(env, field, types, type_id))
    elif insn.cls == uapi.BPF_STX:
        reg = env.regs[what.value]
        if reg.kind != kinds.SCALAR_VALUE or reg.vm or reg.vv:
            check_match(env, reg, what.value, field, btf)
    elif insn.imm:
        raise env.reject(EACCES, "BPF_ST imm must be 0 when storing to kptr at "
                                 f"off={field.offset}")


def _load_user(env: Env, into: Reg, field: Field, btf: Btf | None) -> None:
    """Plain memory of a struct's size (mark_uptr_ld_reg)."""
    types, type_id = target(env, field, btf)
    mark_pointer(into, kinds.PTR_TO_MEM | PTR_MAYBE_NULL)
    into.mem_size = types.size_of(type_id)
    into.id = env.new_id()


def loaded_flags(env: Env, field: Field, types: Btf, type_id: int) -> int:
    """How far a pointer that was read from a map is trusted (btf_ld_kptr_type)."""
    name = field.special.name
    own = not btf_walk.is_kernel(types, env.facts.kernel_btf)
    safe = name == PERCPU or (name == OWNED and (
        own or types.type(type_id).name in RCU_PROTECTED))
    if not safe or not btf_ptr.in_rcu(env):
        return PTR_MAYBE_NULL | PTR_UNTRUSTED
    flags = PTR_MAYBE_NULL | MEM_RCU
    if name == PERCPU:
        flags |= MEM_PERCPU
    elif own:
        flags |= MEM_ALLOC
    if own and records.has_node(types, type_id):
        flags |= kinds.NON_OWN_REF
    return flags


def check_match(env: Env, reg: Reg, regno: int, field: Field, btf: Btf | None) -> None:
    """The register may be stored as this pointer (map_kptr_match_type)."""
    types, type_id = target(env, field, btf)
    said = ""
    if reg.kind & KIND_MASK == kinds.PTR_TO_BTF_ID and not _flags_misfit(env, reg, field):
        ctx.check_unmoved(env, reg, regno, True)
        match = btf_walk.matches(btf_ptr.types_of(reg), reg.btf_id, reg.off, types, type_id,
                                 field.special.name != UNREFERENCED)
        if match.good:
            return
        said = match.said
    raise env.reject(EACCES, said + _mismatch(env, reg, regno, field, types.type(type_id).name))


def _flags_misfit(env: Env, reg: Reg, field: Field) -> bool:
    if btf_walk.is_kernel(btf_ptr.types_of(reg), env.facts.kernel_btf):
        good = PTR_MAYBE_NULL | PTR_TRUSTED | MEM_RCU
        if field.special.name == UNREFERENCED:
            good |= PTR_UNTRUSTED
    else:
        good = PTR_MAYBE_NULL | MEM_ALLOC
        if field.special.name == PERCPU:
            good |= MEM_PERCPU
    return bool(reg.kind & ~KIND_MASK & ~good)


def _mismatch(env: Env, reg: Reg, regno: int, field: Field, wanted: str) -> str:
    typed = reg.kind & KIND_MASK == kinds.PTR_TO_BTF_ID and not _flags_misfit(env, reg, field)
    name = btf_ptr.types_of(reg).type(reg.btf_id).name if typed else ""
    text = (f"invalid kptr access, R{regno} type={regtype.text(reg.kind)}{name} "
            f"expected=ptr_{wanted}")
    if field.special.name == UNREFERENCED:
        text += f" or untrusted_ptr_{wanted}"
    return text


def check_destination(env: Env, reg: Reg, regno: int) -> tuple[Field, Btf | None]:
    """The pointer that bpf_kptr_xchg() writes to (process_kptr_func)."""
    if reg.kind & MEM_ALLOC:
        btf: Btf | None = btf_ptr.types_of(reg)
        fields = records.fields_of(btf_ptr.types_of(reg), reg.btf_id, env.facts.kernel_btf,
                                   env.facts.modules)
    elif reg.map is not None:
        if not reg.map.has_btf:
            raise env.reject(EINVAL, f"map '{reg.map.name}' has to have BTF in order to use "
                                     "bpf_kptr_xchg")
        btf, fields = reg.map.btf, reg.map.fields
    if reg.vm:
        raise env.reject(EINVAL, f"R{regno} doesn't have constant offset. kptr has to be at the "
                                 "constant offset")
    pointers = [one for one in fields if one.special.pointer and one.special.name != USER]
    if not pointers:
        raise env.reject(EINVAL, f"R{regno} has no valid kptr")
    at = reg.off + reg.vv
    found = next((one for one in pointers if one.offset == at), None)
    if found is None:
        raise env.reject(EACCES, f"off={at} doesn't point to kptr")
    if found.special.name not in (OWNED, PERCPU):
        raise env.reject(EACCES, f"off={at} kptr isn't referenced kptr")
    return found, btf
