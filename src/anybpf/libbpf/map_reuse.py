"""Maps that exist already: pinned ones, and those of other objects (tools/lib/bpf/libbpf.c).

A pinned map is used if it is what the object asks for in six attributes; the error says which one
is not.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf import bpf, log

if TYPE_CHECKING:
    from anybpf.libbpf.map import Map
    from anybpf.libbpf.spec import MapSpec

NAME_SIZE = uapi.BPF_OBJ_NAME_LEN - 1
#: the kernel adds a flag to these itself
DEVMAPS = frozenset({uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_DEVMAP_HASH})


def fd_of(given: object) -> int:
    """The descriptor of a map or number that a caller gave. Raises BpfError (EBADF)."""
    fd = given if isinstance(given, int) else getattr(given, "fd", None)
    if not isinstance(fd, int):
        raise BpfError(errno.EBADF, f"{given!r} has no file descriptor")
    return fd


# pinned maps

def find_pinned(backend: bpf.Backend, made: Map, path: str) -> None:
    """Use the map pinned at `path`, if there is one. Raises BpfError (EINVAL: another map)."""
    try:
        fd = bpf.obj_get(backend, path)
    except BpfError as e:
        if e.errno == errno.ENOENT:
            log.debug("found no pinned map to reuse at '%s'", path)
            return
        log.fail(e.errno or 0, f"couldn't retrieve pinned map '{path}': {log.reason(e)}")
    made.loaded(backend, fd)
    different = differences(made.spec, made.info())
    if different:
        log.fail(errno.EINVAL, f"couldn't reuse pinned map at '{path}': parameter mismatch "
                               f"({', '.join(different)})")
    made.pinned_at(path)
    log.debug("reused pinned map at '%s'", path)


def differences(spec: MapSpec, info: dict[str, int | bytes]) -> list[str]:
    """What keeps a map from being used for `spec`, in words: `max_entries is 1, not 3`."""
    found = dict(info)
    if spec.type in DEVMAPS and isinstance(found["map_flags"], int):
        found["map_flags"] &= ~uapi.BPF_F_RDONLY_PROG
    return [f"{fact} is {found[fact]!r}, not {wanted}"
            for fact, wanted in reuse_facts(spec).items() if found[fact] != wanted]


def reuse_facts(spec: MapSpec) -> dict[str, int]:
    """What must be the same, by members of `bpf_map_info`, to use a pinned map instead."""
    return {"type": spec.type, "key_size": spec.key_size, "value_size": spec.value_size,
            "max_entries": spec.max_entries, "map_flags": spec.flags & ~(
                uapi.BPF_F_RDONLY_PROG if spec.type in DEVMAPS else 0),
            "map_extra": spec.map_extra}


def auto_pin(made: Map, path: str) -> None:
    """Pin a map that was just created. Raises BpfError."""
    try:
        made.pin(path)
    except BpfError as e:
        log.fail(e.errno or 0, f"map '{made.name}': failed to auto-pin at '{path}': "
                               f"{log.number(e)} ({log.reason(e)})")


# adopted maps

def take_over(made: Map) -> None:
    """The definition becomes that of the map which `made` has got. Raises BpfError."""
    info = made.info()
    spec = made.spec
    for fact, field in (("type", "type"), ("key_size", "key_size"), ("value_size", "value_size"),
                        ("max_entries", "max_entries"), ("map_flags", "flags"),
                        ("map_extra", "map_extra")):
        setattr(spec, field, info[fact])
