"""BPF_BTF_LOAD (btf_new_fd in kernel/bpf/btf.c)."""

from __future__ import annotations

from errno import E2BIG, EINVAL

from anybpf import uapi
from anybpf.btf.check import BadBtf, check
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.syscall.attr import Attr
from anybpf.syscall.log import Log
from anybpf.syscall.objects import BtfObject
from anybpf.syscall.state import State, refuse_token
from anybpf.verifier.log import encoded


def _parse(data: bytes, log: Log, kernel: Btf | None) -> Btf:
    """The checked and parsed BTF; the log has the kernel's words."""
    try:
        log.write(encoded(check(data, verbose=bool(log.level), kernel=kernel)))
    except BadBtf as error:
        log.write(encoded(error.log))
        raise
    return Btf(data)


def btf_load(state: State, attr: Attr) -> int:
    """BPF_BTF_LOAD: a descriptor of checked BTF."""
    if attr["btf_flags"] & ~uapi.BPF_F_TOKEN_FD:
        raise BpfError(EINVAL)
    if attr["btf_flags"] & uapi.BPF_F_TOKEN_FD:
        refuse_token(state, attr["btf_token_fd"])
    if attr["btf_size"] > uapi.BTF_MAX_SIZE:
        raise BpfError(E2BIG)
    log = Log(attr["btf_log_level"], attr["btf_log_buf"], attr["btf_log_size"])
    data = state.memory.read(attr["btf"], attr["btf_size"])
    btf = _logged(state, attr, log, data)
    return state.files.install(BtfObject(state.btfs, btf, data))


def _logged(state: State, attr: Attr, log: Log, data: bytes) -> Btf:
    """Parse, then deliver the log, whose failures win."""
    failure: BpfError | None = None
    try:
        kernel = next((one.btf for one in state.btfs if one.name == "vmlinux"), None)
        btf = _parse(data, log, kernel)
    except BpfError as error:
        failure = error
    size, errno = log.finish(state.memory)
    attr["btf_log_true_size"] = size
    if errno:
        raise BpfError(errno, "the log does not fit")
    if failure is not None:
        raise failure
    return btf
