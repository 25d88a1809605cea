"""Which attach types a program may expect (bpf_prog_load_check_attach in kernel/bpf/syscall.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.proto.progs import BY_TYPE


def check(prog_type: int, expected: int, btf_id: int, on_target: bool) -> None:
    """EINVAL where type, expected attach type and target do not go together.

    A type that does not exist is refused later, when more has been read.
    """
    row = BY_TYPE.get(prog_type)
    if btf_id and (btf_id > uapi.BTF_MAX_TYPE or row is None or not row.btf_target):
        raise BpfError(EINVAL, "attach_btf_id is not for this program type")
    if on_target and (row is None or not row.prog_target):
        raise BpfError(EINVAL, "attach_prog_fd is not for this program type")
    if row is not None and not row.accepts(expected):
        raise BpfError(EINVAL, f"expected_attach_type {expected} is not for this program type")
