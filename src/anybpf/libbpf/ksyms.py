"""What a program takes from the kernel: symbols, functions, targets (tools/lib/bpf/libbpf.c).

A backend may know its own BTF (`kernel_btf() -> bytes`), addresses (`symbol_address(name)`) and
configuration (`kernel_config() -> str`, `kernel_version`); what it does not offer is NotSupported.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from anybpf import uapi
from anybpf.btf import kernel
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, NotSupported
from anybpf.isa.insn import Insn, split_imm64
from anybpf.libbpf import bpf, kconfig
from anybpf.libbpf.program import Program
from anybpf.libbpf.spec import DataSection, ExternSpec, ObjectSpec

DEFAULT_VERSION = (6, 18, 0)
#: libbpf marks the call of a weak function that the kernel lacks; the verifier says "unreachable"
POISON_CALL_KFUNC_BASE = 2_002_000_000
PREFIXES = {uapi.BPF_TRACE_RAW_TP: ("btf_trace_", uapi.BTF_KIND_TYPEDEF),
            uapi.BPF_LSM_MAC: ("bpf_lsm_", uapi.BTF_KIND_FUNC),
            uapi.BPF_LSM_CGROUP: ("bpf_lsm_", uapi.BTF_KIND_FUNC),
            uapi.BPF_TRACE_ITER: ("bpf_iter_", uapi.BTF_KIND_FUNC)}

_KERNEL_BTF: WeakKeyDictionary[Any, Btf] = WeakKeyDictionary()


def kernel_types(backend: bpf.Backend, why: str) -> Btf:
    """The kernel's own BTF, parsed once for each backend. `why` names what needs it."""
    known = _KERNEL_BTF.get(backend)
    if known is None:
        source: Callable[[], bytes | None] | None = getattr(backend, "kernel_btf", None)
        data = source() if source else None
        if not data:
            raise NotSupported(f"{why} (backend {backend.name} offers no kernel BTF)")
        known = _KERNEL_BTF[backend] = kernel.shared(data)
    return known


# symbols and functions

def address_load(spec: ObjectSpec, backend: bpf.Backend, name: str,
                 insn: Insn) -> tuple[Insn, Insn]:
    """The two slots that load a kernel symbol: by BTF id if it has a type, else its address."""
    extern = spec.externs[name]
    if extern.is_func or extern.type_id:
        return _typed_load(extern, backend, insn)
    find: Callable[[str], int | None] | None = getattr(backend, "symbol_address", None)
    if find is None:
        raise NotSupported(f"kernel symbol '{name}' on backend {backend.name}")
    address = find(name)
    if address is None and not extern.is_weak:
        raise BpfError(errno.ESRCH, f"extern (ksym) '{name}' not found")
    low, high = split_imm64(address or 0)
    return insn._replace(src=0, imm=low), Insn(0, imm=high)


def _typed_load(extern: ExternSpec, backend: bpf.Backend, insn: Insn) -> tuple[Insn, Insn]:
    kind = uapi.BTF_KIND_FUNC if extern.is_func else uapi.BTF_KIND_VAR
    found = _kernel_id(extern, backend, kind)
    if not found:
        return insn._replace(src=0, imm=0), Insn(0)
    return insn._replace(src=uapi.BPF_PSEUDO_BTF_ID, imm=found), Insn(0)


def _kernel_id(extern: ExternSpec, backend: bpf.Backend, kind: int) -> int:
    """The kernel's BTF id, 0 for a weak symbol that it does not have."""
    name = extern.name.partition("___")[0]
    found = kernel_types(backend, f"kernel symbol '{name}'").find(name, kind)
    if not found and not extern.is_weak:
        raise BpfError(errno.ESRCH, f"extern (ksym) '{extern.name}' not found in kernel BTF")
    return found


def kernel_call(spec: ObjectSpec, backend: bpf.Backend, name: str, insn: Insn) -> Insn:
    """The call of a kernel function; of a missing weak one, a call that must not be reached."""
    extern = spec.externs[name]
    found = _kernel_id(extern, backend, uapi.BTF_KIND_FUNC)
    if not found:
        place = list(spec.externs).index(name)
        return insn._replace(dst=0, src=0, off=0, imm=POISON_CALL_KFUNC_BASE + place)
    return insn._replace(src=uapi.BPF_PSEUDO_KFUNC_CALL, off=0, imm=found)


# attach targets

def attach_btf_id(backend: bpf.Backend, program: Program) -> int:
    """The kernel's BTF id of what the section name says. Raises BpfError (ESRCH)."""
    target = program.spec.attach_target
    if not target:
        return 0
    prefix, kind = PREFIXES.get(program.expected_attach_type, ("", uapi.BTF_KIND_FUNC))
    types = kernel_types(backend, f"attaching to '{target}'")
    found = types.find(prefix + target, kind)
    if not found:
        raise BpfError(errno.ESRCH, f"program '{program.name}': '{prefix}{target}' is not found "
                                    "in kernel BTF")
    return found


def attach_program(backend: bpf.Backend, program: Program) -> tuple[int, int]:
    """(fd, BTF id) of the function in another program that an extension or fentry program means."""
    fd = program.attach_prog_fd
    btf_id = bpf.obj_info(backend, fd, "bpf_prog_info")["btf_id"]
    if not isinstance(btf_id, int) or not btf_id:
        raise BpfError(errno.EINVAL, f"program '{program.name}': its target has no BTF")
    types = Btf(btf_bytes(backend, btf_id))
    found = types.find(program.spec.attach_target, uapi.BTF_KIND_FUNC)
    if not found:
        raise BpfError(errno.ESRCH, f"program '{program.name}': its target has no function "
                                    f"'{program.spec.attach_target}'")
    return fd, found


def btf_bytes(backend: bpf.Backend, btf_id: int) -> bytes:
    """The bytes of a loaded BTF by id."""
    fd = bpf.get_fd_by_id(backend, uapi.BPF_BTF_GET_FD_BY_ID, btf_id)
    try:
        return bpf.btf_bytes(backend, fd)
    finally:
        backend.close(fd)


# .kconfig

def fill_kconfig(spec: ObjectSpec, data: DataSection, backend: bpf.Backend) -> None:
    """Values of .kconfig variables, from the spec's own configuration text and the backend's."""
    if spec.btf is None:
        return
    source: Callable[[], str] | None = getattr(backend, "kernel_config", None)
    config = kconfig.parse_config(source() if source else "") | kconfig.parse_config(spec.kconfig)
    version = getattr(backend, "kernel_version", DEFAULT_VERSION)
    kconfig.fill(data, spec.externs, spec.btf, kconfig.KernelFacts(version, config))
