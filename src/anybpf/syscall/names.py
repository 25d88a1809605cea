"""Object names and licences (kernel/bpf/syscall.c, include/linux/license.h)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.errors import BpfError

_ALLOWED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")
_GPL_COMPATIBLE = frozenset((
    b"GPL", b"GPL v2", b"GPL and additional rights", b"Dual BSD/GPL", b"Dual MIT/GPL",
    b"Dual MPL/GPL",
))


def object_name(field: bytes) -> str:
    """The name in a fixed-size field; EINVAL unless it ends in the field and is [A-Za-z0-9_.]*."""
    name, nul, _ = field.partition(b"\0")
    if not nul or not _ALLOWED.issuperset(name):
        raise BpfError(EINVAL, f"bad object name {field!r}")
    return name.decode("ascii")


def is_gpl_compatible(licence: bytes) -> bool:
    """Whether a program under this licence may call helpers marked GPL-only."""
    return licence in _GPL_COMPATIBLE
