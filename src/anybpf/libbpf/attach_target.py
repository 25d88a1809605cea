"""What a program attaches to, by BTF (tools/lib/bpf/libbpf.c, libbpf_find_attach_btf_id).

A function, hook or tracepoint of the kernel is found in its BTF (`fentry/do_exit`, or
`fentry/module:function`); a function of another program in that program's BTF.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf import bpf, log
from anybpf.libbpf.kernel_btf import VMLINUX, KernelBtf, own
from anybpf.libbpf.program import Program
from anybpf.proto import sections

PREFIXES = {uapi.BPF_TRACE_RAW_TP: ("btf_trace_", uapi.BTF_KIND_TYPEDEF),
            uapi.BPF_LSM_MAC: ("bpf_lsm_", uapi.BTF_KIND_FUNC),
            uapi.BPF_LSM_CGROUP: ("bpf_lsm_", uapi.BTF_KIND_FUNC),
            uapi.BPF_TRACE_ITER: ("bpf_iter_", uapi.BTF_KIND_FUNC)}


class AttachTarget(NamedTuple):
    """What BPF_PROG_LOAD is told: a program's fd or a module BTF's (0: vmlinux), and a BTF id."""

    fd: int = 0
    btf_id: int = 0


NOTHING = AttachTarget()


def attach_target(program: Program, kernel: KernelBtf) -> AttachTarget:
    """The target that the program's section, or what was set by hand, names.

    Raises BpfError: EINVAL (none is named), ESRCH (there is no such thing); NotSupported.
    """
    definition = program.definition
    if definition is None or not definition.flags & sections.ATTACH_BTF:
        return NOTHING
    name = program.attach_target
    if not name:
        log.fail(errno.EINVAL, f"prog '{program.name}': no BTF-based attach target is specified, "
                               "use set_attach_target()")
    if program.type == uapi.BPF_PROG_TYPE_EXT or program.attach_prog_fd:
        return in_program(program, kernel.backend, name)
    return in_kernel(program, kernel, name)


def in_kernel(program: Program, kernel: KernelBtf, name: str) -> AttachTarget:
    """In vmlinux's types, or in those of a module."""
    module_name, colon, function = name.rpartition(":")
    prefix, kind = PREFIXES.get(program.expected_attach_type, ("", uapi.BTF_KIND_FUNC))
    wanted = prefix + (function if colon else name)
    if module_name in ("", VMLINUX):
        found = kernel.vmlinux(f"attaching to '{name}'").find(wanted, kind)
        if found:
            return AttachTarget(0, found)
    for module in kernel.modules if module_name != VMLINUX else ():
        found = own(module.btf, wanted, kind) if module_name in ("", module.name) else 0
        if found:
            return AttachTarget(kernel.fd_of(module), found)
    return log.fail(errno.ESRCH, f"prog '{program.name}': failed to find kernel BTF type ID of "
                                 f"'{name}': {-errno.ESRCH}")


def in_program(program: Program, backend: bpf.Backend, name: str) -> AttachTarget:
    """The function in another program that an extension or fentry program means."""
    fd = program.attach_prog_fd
    if not fd:
        log.fail(errno.EINVAL, f"prog '{program.name}': attach program FD is not set")
    try:
        return AttachTarget(fd, function_in(backend, fd, name))
    except BpfError as e:
        message = (f"prog '{program.name}': failed to find BPF program (FD {fd}) BTF ID for "
                   f"'{name}': {log.number(e)}")
        log.warning("%s", message)
        raise BpfError(e.errno or 0, f"{message} ({e.strerror})") from None


def function_in(backend: bpf.Backend, fd: int, name: str) -> int:
    """The BTF id of a function of a loaded program. Raises BpfError: EINVAL, ENOENT."""
    btf_id = bpf.obj_info(backend, fd, "bpf_prog_info")["btf_id"]
    if not isinstance(btf_id, int) or not btf_id:
        log.fail(errno.EINVAL, "The target program doesn't have BTF")
    found = Btf(btf_bytes(backend, btf_id)).find(name, uapi.BTF_KIND_FUNC)
    if not found:
        log.fail(errno.ENOENT, f"{name} is not found in prog's BTF")
    return found


def btf_bytes(backend: bpf.Backend, btf_id: int) -> bytes:
    """The bytes of a loaded BTF by id."""
    fd = bpf.get_fd_by_id(backend, uapi.BPF_BTF_GET_FD_BY_ID, btf_id)
    try:
        return bpf.btf_bytes(backend, fd)
    finally:
        backend.close(fd)
