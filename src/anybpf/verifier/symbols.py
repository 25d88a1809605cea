"""Kernel variables and functions in 64-bit loads (check_pseudo_btf_id, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EINVAL, ENOENT
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.isa.insn import Insn, split_imm64
from anybpf.proto import kinds
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import Reg, mark_pointer

PERCPU = ".data..percpu"
#: where a symbol is, if nobody says
ADDRESS = 0xFFFF_FFFF_8200_0000


class Symbol(NamedTuple):
    """What a register becomes that is loaded with an address of the kernel."""

    kind: int
    size: int = 0
    btf: Btf | None = None
    type_id: int = 0

    def load(self, reg: Reg) -> None:
        mark_pointer(reg, self.kind)
        reg.mem_size, reg.btf, reg.btf_id = self.size, self.btf, self.type_id


def resolve(env: Env, index: int, insn: Insn) -> None:
    """Put the symbol into `aux`, and into the instruction the address that is printed."""
    btf = _types(env, env.insns[index + 1].imm, index)
    if not 0 <= insn.imm < len(btf):
        raise Reject(ENOENT, f"ldimm64 insn specifies invalid btf_id {insn.imm}.", index)
    found = btf.type(insn.imm)
    if not isinstance(found, t.Var | t.Func):
        raise Reject(EINVAL, f"pseudo btf_id {insn.imm} in ldimm64 isn't KIND_VAR or KIND_FUNC",
                     index)
    low, high = split_imm64(_address(env, found.name, index))
    env.insns[index] = insn._replace(imm=low)
    env.insns[index + 1] = env.insns[index + 1]._replace(imm=high)
    env.aux[index].symbol = _symbol(btf, insn.imm, found, index)


def _types(env: Env, fd: int, index: int) -> Btf:
    """The types that the number is one of: the kernel's, or those behind a descriptor."""
    if fd:
        try:
            return env.facts.btfs[fd].btf
        except (KeyError, BpfError):
            raise Reject(EINVAL, "invalid module BTF object FD specified.", index) from None
    if env.facts.kernel_btf is None:
        raise NotSupported("the kernel's variables without its types (Facts.kernel_btf)")
    return env.facts.kernel_btf


def _address(env: Env, name: str, index: int) -> int:
    known = env.facts.symbols
    if known is None:
        return ADDRESS
    if name not in known:
        raise Reject(ENOENT, f"ldimm64 failed to find the address for kernel symbol '{name}'.",
                     index)
    return known[name]


def _symbol(btf: Btf, number: int, found: t.Var | t.Func, index: int) -> Symbol:
    if isinstance(found, t.Func):
        return Symbol(kinds.PTR_TO_MEM | kinds.MEM_RDONLY)
    type_id = btf.skip_modifiers(found.type)
    if _is_percpu(btf, number):
        return Symbol(kinds.PTR_TO_BTF_ID | kinds.MEM_PERCPU, 0, btf, found.type)
    if isinstance(btf.type(type_id), t.Composite):
        return Symbol(kinds.PTR_TO_BTF_ID, 0, btf, found.type)
    return Symbol(kinds.PTR_TO_MEM | kinds.MEM_RDONLY, size_of(btf, type_id, index))


def _is_percpu(btf: Btf, number: int) -> bool:
    """Whether each CPU has its own; a module has a section besides vmlinux's."""
    sections = (btf.expect(one, t.Datasec) for one in btf.find_all(PERCPU, uapi.BTF_KIND_DATASEC))
    return any(var.type == number for section in sections for var in section.vars)


def size_of(btf: Btf, type_id: int, index: int) -> int:
    """The bytes of a variable."""
    try:
        return btf.size_of(type_id)
    except LoadError:
        name = btf.type(type_id).name
        raise Reject(EINVAL, f"ldimm64 unable to resolve the size of type '{name}': {-EINVAL}",
                     index) from None
