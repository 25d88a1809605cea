"""BPF_PROG_TEST_RUN (bpf_prog_test_run in kernel/bpf/syscall.c, net/bpf/test_run.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.errors import BpfError
from anybpf.syscall.attr import Attr
from anybpf.syscall.objects import ProgObject
from anybpf.syscall.state import State


def prog_test_run(state: State, attr: Attr) -> int:
    """BPF_PROG_TEST_RUN."""
    if bool(attr["test.ctx_size_in"]) != bool(attr["test.ctx_in"]):
        raise BpfError(EINVAL, "ctx_in and ctx_size_in must be given together")
    if bool(attr["test.ctx_size_out"]) != bool(attr["test.ctx_out"]):
        raise BpfError(EINVAL, "ctx_out and ctx_size_out must be given together")
    prog = state.object(attr["test.prog_fd"], ProgObject)
    raise NotImplementedError(prog)
