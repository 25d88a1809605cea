"""bpf(2) of a Machine: one function per command (kernel/bpf/syscall.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported
from anybpf.syscall import batch, btf, map, obj, prog, test_run
from anybpf.syscall.attr import Attr
from anybpf.syscall.inode import BpfFs
from anybpf.syscall.state import State

__all__ = ["COMMANDS", "BpfFs", "bpf", "is_supported"]

COMMANDS: dict[int, Callable[[State, Attr], int]] = {
    uapi.BPF_MAP_CREATE: map.map_create,
    uapi.BPF_MAP_LOOKUP_ELEM: map.map_lookup_elem,
    uapi.BPF_MAP_UPDATE_ELEM: map.map_update_elem,
    uapi.BPF_MAP_DELETE_ELEM: map.map_delete_elem,
    uapi.BPF_MAP_GET_NEXT_KEY: map.map_get_next_key,
    uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM: map.map_lookup_and_delete_elem,
    uapi.BPF_MAP_FREEZE: map.map_freeze,
    uapi.BPF_MAP_LOOKUP_BATCH: batch.map_lookup_batch,
    uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH: batch.map_lookup_and_delete_batch,
    uapi.BPF_MAP_UPDATE_BATCH: batch.map_update_batch,
    uapi.BPF_MAP_DELETE_BATCH: batch.map_delete_batch,
    uapi.BPF_PROG_LOAD: prog.prog_load,
    uapi.BPF_PROG_TEST_RUN: test_run.prog_test_run,
    uapi.BPF_PROG_BIND_MAP: map.prog_bind_map,
    uapi.BPF_BTF_LOAD: btf.btf_load,
    uapi.BPF_PROG_GET_NEXT_ID: obj.prog_get_next_id,
    uapi.BPF_MAP_GET_NEXT_ID: obj.map_get_next_id,
    uapi.BPF_BTF_GET_NEXT_ID: obj.btf_get_next_id,
    uapi.BPF_LINK_GET_NEXT_ID: obj.link_get_next_id,
    uapi.BPF_PROG_GET_FD_BY_ID: obj.prog_get_fd_by_id,
    uapi.BPF_MAP_GET_FD_BY_ID: obj.map_get_fd_by_id,
    uapi.BPF_BTF_GET_FD_BY_ID: obj.btf_get_fd_by_id,
    uapi.BPF_LINK_GET_FD_BY_ID: obj.link_get_fd_by_id,
    uapi.BPF_OBJ_GET_INFO_BY_FD: obj.obj_get_info_by_fd,
    uapi.BPF_OBJ_PIN: obj.obj_pin,
    uapi.BPF_OBJ_GET: obj.obj_get,
    uapi.BPF_ENABLE_STATS: obj.enable_stats,
}
_NAMES = {number: name for name, number in uapi.BPF_CMD if number != uapi.__MAX_BPF_CMD}


def is_supported(name: str) -> bool:
    """Whether the command with this name, such as `"BPF_MAP_CREATE"`, is modelled."""
    return getattr(uapi, name) in COMMANDS


def bpf(state: State, cmd: int, buffer: bytes | bytearray | memoryview) -> int:
    """One call. Raises BpfError with the kernel's errno, NotSupported for what is not modelled."""
    attr = Attr(buffer)
    run = COMMANDS.get(cmd)
    if run is None:
        if cmd in _NAMES:
            raise NotSupported(_NAMES[cmd])
        raise BpfError(EINVAL, f"no bpf(2) command {cmd}")
    attr.check(cmd)
    if cmd == uapi.BPF_PROG_TEST_RUN:
        return run(state, attr)
    with state.lock:
        return run(state, attr)
