"""What a program takes from the kernel by name: `.ksyms` (tools/lib/bpf/libbpf.c).

A typed variable or function is looked up in the kernel's BTF, vmlinux first and modules after it,
and must have a compatible type; `extern const void` is an address of /proc/kallsyms. A backend may
know its BTF (`kernel_btf() -> bytes`) and addresses (`symbol_addresses(names)`); what it does not
offer is NotSupported.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import relo_match
from anybpf.btf.parse import Btf
from anybpf.btf.relo_spec import essential_name
from anybpf.errors import NotSupported
from anybpf.isa.insn import Insn, split_imm64
from anybpf.libbpf import bpf, kconfig, log
from anybpf.libbpf.kernel_btf import KernelBtf, ModuleBtf
from anybpf.libbpf.log_fixup import POISON_KFUNC_BASE
from anybpf.libbpf.spec import DataSection, ExternSpec, ObjectSpec

DEFAULT_VERSION = (6, 18, 0)


#: the offset of a call counts module BTFs in 16 bits
MAX_MODULES = 0x7FFF


class Resolved(NamedTuple):
    """What the kernel has for an extern: a BTF id (and whose), or an address."""

    btf_id: int = 0
    module: ModuleBtf | None = None
    address: int = 0


MISSING = Resolved()


@dataclass
class Ksyms:
    """The externs of one object on one kernel; `resolve` first."""

    spec: ObjectSpec
    backend: bpf.Backend
    kernel: KernelBtf
    found: dict[str, Resolved] = field(default_factory=dict)
    modules: list[ModuleBtf] = field(default_factory=list)   #: place 1 of fd_array and so on

    def resolve(self, wanted: Iterable[str]) -> None:
        """Look up these externs. Raises BpfError (ESRCH: a strong one is missing, EINVAL: it has
        another type), NotSupported."""
        names = set(wanted)
        externs = [e for e in self.spec.externs.values()
                   if e.section == ".ksyms" and e.name in names]
        plain = [e for e in externs if not e.is_func and not e.type_id]
        self.found |= self._addresses(plain)
        for extern in externs:
            if extern.is_func:
                self.found[extern.name] = self._function(extern)
            elif extern.type_id:
                self.found[extern.name] = self._variable(extern)
        for extern in externs:
            if self.found.get(extern.name, MISSING) is MISSING:
                kconfig.unresolved(extern)

    # addresses

    def _addresses(self, externs: list[ExternSpec]) -> dict[str, Resolved]:
        if not externs:
            return {}
        names = [e.name for e in externs]
        source: Callable[[Iterable[str]], dict[str, list[int]]] | None = getattr(
            self.backend, "symbol_addresses", None)
        if source is None:
            raise NotSupported(f"kernel symbol '{names[0]}' on backend {self.backend.name}")
        return {name: self._address(name, addresses)
                for name, addresses in source(names).items()}

    @staticmethod
    def _address(name: str, addresses: list[int]) -> Resolved:
        first = addresses[0]
        other = next((a for a in addresses if a != first), first)
        if other != first:
            log.fail(errno.EINVAL, f"extern (ksym) '{name}': resolution is ambiguous: "
                                   f"0x{first:x} or 0x{other:x}")
        log.debug("extern (ksym) '%s': set to 0x%x", name, first)
        return Resolved(address=first)

    # types

    def _btf(self) -> Btf:
        assert self.spec.btf is not None              # externs come from it
        return self.spec.btf

    def _variable(self, extern: ExternSpec) -> Resolved:
        types, found, module = self.kernel.find(extern.name, uapi.BTF_KIND_VAR,
                                                f"kernel symbol '{extern.name}'")
        if not found:
            if not extern.is_weak:
                log.fail(errno.ESRCH, f"extern (var ksym) '{extern.name}': not found in kernel BTF")
            return MISSING
        # `const` and names for types do not count
        local, target = self._btf().resolve(extern.type_id), types.resolve(types.target(found))
        if not relo_match.compatible(self._btf(), local, types, target):
            log.fail(errno.EINVAL, f"extern (var ksym) '{extern.name}': incompatible types, "
                                   f"expected {_shown(self._btf(), local)}, but kernel has "
                                   f"{_shown(types, target)}")
        log.debug("extern (var ksym) '%s': resolved to [%d] var %s", extern.name, found,
                  types.type(found).name)
        return Resolved(found, module)

    def _function(self, extern: ExternSpec) -> Resolved:
        types, found, module = self.kernel.find(essential_name(extern.name), uapi.BTF_KIND_FUNC,
                                                f"kernel function '{extern.name}'")
        if not found:
            if not extern.is_weak:
                log.fail(errno.ESRCH, f"extern (func ksym) '{extern.name}': not found in kernel "
                                      "or module BTFs")
            return MISSING
        local, target = self._btf().target(extern.btf_id), types.target(found)
        if not relo_match.compatible(self._btf(), local, types, target):
            return self._incompatible(extern, local, target, module)
        if module is not None:
            self._add_module(extern, module)
        log.debug("extern (func ksym) '%s': resolved to %s [%d]", extern.name,
                  module.name if module else "vmlinux", found)
        return Resolved(found, module)

    @staticmethod
    def _incompatible(extern: ExternSpec, local: int, target: int,
                      module: ModuleBtf | None) -> Resolved:
        """A weak function of another shape counts as missing: flavours are told apart so."""
        if extern.is_weak:
            return MISSING
        return log.fail(errno.EINVAL, f"extern (func ksym) '{extern.name}': func_proto [{local}] "
                                      "incompatible with "
                                      f"{module.name if module else 'vmlinux'} [{target}]")

    def _add_module(self, extern: ExternSpec, module: ModuleBtf) -> None:
        if module in self.modules:
            return
        if len(self.modules) >= MAX_MODULES:
            log.fail(errno.E2BIG, f"extern (func ksym) '{extern.name}': module BTF FD index "
                                  f"{len(self.modules)} too big to fit in bpf_insn offset")
        self.modules.append(module)

    # instructions

    def fd_array(self) -> tuple[int, ...]:
        """What BPF_PROG_LOAD needs for calls of modules' functions; place 0 is vmlinux's."""
        return (0, *(self.kernel.fd_of(m) for m in self.modules)) if self.modules else ()

    def address_load(self, name: str, insn: Insn) -> tuple[Insn, Insn]:
        """The two slots that load a kernel symbol: by BTF id if it has a type, else its address."""
        found = self.found.get(name, MISSING)
        if not found.btf_id:
            low, high = split_imm64(found.address)
            return insn._replace(src=0, imm=low), Insn(0, imm=high)
        fd = self.kernel.fd_of(found.module) if found.module else 0
        return insn._replace(src=uapi.BPF_PSEUDO_BTF_ID, imm=found.btf_id), Insn(0, imm=fd)

    def kernel_call(self, name: str, insn: Insn) -> Insn:
        """The call of a kernel function; of a missing one, a call that must not be reached."""
        found = self.found.get(name, MISSING)
        if not found.btf_id:
            imm = POISON_KFUNC_BASE + list(self.spec.externs).index(name)
            return insn._replace(dst=0, src=0, off=0, imm=imm)
        off = self.modules.index(found.module) + 1 if found.module else 0
        return insn._replace(src=uapi.BPF_PSEUDO_KFUNC_CALL, off=off, imm=found.btf_id)


def _shown(btf: Btf, type_id: int) -> str:
    found = btf.type(type_id)
    return f"[{type_id}] {found.kind_name.lower()} {found.name or '(anon)'}"


# .kconfig

def fill_kconfig(spec: ObjectSpec, data: DataSection, backend: bpf.Backend) -> None:
    """Values of .kconfig variables, from the spec's own configuration text and the backend's."""
    if spec.btf is not None:
        kconfig.fill(data, spec.externs, spec.btf, kconfig.parse_config(spec.kconfig),
                     lambda: kernel_facts(backend))


def kernel_facts(backend: bpf.Backend) -> kconfig.KernelFacts:
    """Version and configuration; a backend that knows of none has an empty configuration."""
    source: Callable[[], str] | None = getattr(backend, "kernel_config", None)
    version = getattr(backend, "kernel_version", DEFAULT_VERSION)
    if source is None:
        return kconfig.KernelFacts(version, {})
    text = source()
    return kconfig.KernelFacts(version, kconfig.parse_config(text) if text else None)
