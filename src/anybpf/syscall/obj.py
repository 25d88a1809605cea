"""Commands on any object: ids, descriptors by id, info, pins (kernel/bpf/syscall.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL
from typing import Any

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported
from anybpf.syscall.attr import Attr
from anybpf.syscall.ids import INT_MAX, Ids, KernelObject
from anybpf.syscall.info import btf_info, map_info, prog_info
from anybpf.syscall.inode import PATH_MAX
from anybpf.syscall.map import file_mode
from anybpf.syscall.memory import read_string
from anybpf.syscall.objects import BtfObject, MapObject, ProgObject, StatsObject
from anybpf.syscall.state import State, refuse_token

_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
#: "file descriptor in bad state"; not every platform's errno module has it
EBADFD = 77

# -- ids


def _next_id(ids: Ids[Any], attr: Attr) -> int:
    """The id after start_id."""
    if attr["start_id"] >= INT_MAX:
        raise BpfError(EINVAL)
    attr["next_id"] = ids.after(attr["start_id"])
    return 0


def prog_get_next_id(state: State, attr: Attr) -> int:
    """BPF_PROG_GET_NEXT_ID."""
    return _next_id(state.progs, attr)


def map_get_next_id(state: State, attr: Attr) -> int:
    """BPF_MAP_GET_NEXT_ID."""
    return _next_id(state.maps, attr)


def btf_get_next_id(state: State, attr: Attr) -> int:
    """BPF_BTF_GET_NEXT_ID."""
    return _next_id(state.btfs, attr)


def link_get_next_id(state: State, attr: Attr) -> int:
    """BPF_LINK_GET_NEXT_ID: nothing attaches here yet, so there are no links."""
    return _next_id(Ids(), attr)


def _refuse_token(state: State, attr: Attr) -> None:
    """Nobody can make a token here: a descriptor given as one is closed or something else."""
    if attr["open_flags"] & uapi.BPF_F_TOKEN_FD:
        refuse_token(state, attr["fd_by_id_token_fd"])


def prog_get_fd_by_id(state: State, attr: Attr) -> int:
    """BPF_PROG_GET_FD_BY_ID."""
    return state.files.install(state.progs[attr["prog_id"]])


def map_get_fd_by_id(state: State, attr: Attr) -> int:
    """BPF_MAP_GET_FD_BY_ID; open_flags may restrict the descriptor."""
    flags = attr["open_flags"]
    if flags & ~(_ACCESS | uapi.BPF_F_TOKEN_FD):
        raise BpfError(EINVAL)
    mode = file_mode(flags)
    _refuse_token(state, attr)
    return state.files.install(state.maps[attr["map_id"]], mode)


def btf_get_fd_by_id(state: State, attr: Attr) -> int:
    """BPF_BTF_GET_FD_BY_ID."""
    if attr["open_flags"] & ~uapi.BPF_F_TOKEN_FD:
        raise BpfError(EINVAL)
    _refuse_token(state, attr)
    return state.files.install(state.btfs[attr["btf_id"]])


def link_get_fd_by_id(state: State, attr: Attr) -> int:
    """BPF_LINK_GET_FD_BY_ID: there are no links yet."""
    empty: Ids[Any] = Ids()
    return state.files.install(empty[attr["link_id"]])


# -- info

_TELLERS: dict[type, Callable[[State, Attr, Any], None]] = {
    ProgObject: prog_info, MapObject: map_info, BtfObject: btf_info,
}


def obj_get_info_by_fd(state: State, attr: Attr) -> int:
    """BPF_OBJ_GET_INFO_BY_FD."""
    try:
        object = state.files[attr["info.bpf_fd"]].object
    except BpfError:
        raise BpfError(EBADFD) from None
    teller = _TELLERS.get(type(object))
    if teller is None:
        raise BpfError(EINVAL, f"no info about a {type(object).__name__}")
    teller(state, attr, object)
    return 0


# -- pins


def _check_path(attr: Attr, flags: int) -> None:
    """The flags that go with a path; paths below an open directory are not modelled."""
    if attr["file_flags"] & ~(flags | uapi.BPF_F_PATH_FD):
        raise BpfError(EINVAL)
    if attr["path_fd"] and not attr["file_flags"] & uapi.BPF_F_PATH_FD:
        raise BpfError(EINVAL, "path_fd without BPF_F_PATH_FD")
    if attr["file_flags"] & uapi.BPF_F_PATH_FD:
        raise NotSupported("pins relative to a directory (BPF_F_PATH_FD)", "6.5")


def _pinnable(state: State, fd: int) -> KernelObject:
    """The program or map behind a descriptor; EINVAL for all else."""
    try:
        object = state.files[fd].object
    except BpfError:
        raise BpfError(EINVAL, "not open") from None
    if not isinstance(object, ProgObject | MapObject):
        raise BpfError(EINVAL, "only programs and maps can be pinned")
    return object


def _path(state: State, attr: Attr) -> str:
    """The path that the caller names; a too long one is cut, which is still too long."""
    return read_string(state.memory, attr["pathname"], PATH_MAX).decode("utf-8", "surrogateescape")


def obj_pin(state: State, attr: Attr) -> int:
    """BPF_OBJ_PIN."""
    _check_path(attr, 0)
    object = _pinnable(state, attr["bpf_fd"])
    state.bpffs.pin(_path(state, attr), object)
    return 0


def obj_get(state: State, attr: Attr) -> int:
    """BPF_OBJ_GET: a descriptor of a pinned object."""
    if attr["bpf_fd"]:
        raise BpfError(EINVAL)
    _check_path(attr, _ACCESS)
    path = _path(state, attr)
    mode = file_mode(attr["file_flags"])
    return state.files.install(state.bpffs.get(path), mode)


# -- statistics


def enable_stats(state: State, attr: Attr) -> int:
    """BPF_ENABLE_STATS: runs are counted while the descriptor is open."""
    if attr["enable_stats.type"] != uapi.BPF_STATS_RUN_TIME:
        raise BpfError(EINVAL)
    return state.files.install(StatsObject(state))
