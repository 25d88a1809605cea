"""Object names and licences (kernel/bpf/syscall.c, include/linux/license.h)."""

from __future__ import annotations

from errno import EINVAL

from anybpf.errors import BpfError
from anybpf.proto.progs import GPL_COMPATIBLE

#: letters are those of Latin-1, as the kernel's isalnum() knows them
_ALLOWED = frozenset(code for code in range(256) if code in b"_." or (
    chr(code).isalnum() and not 0x80 <= code < 0xC0))


def object_name(field: bytes) -> str:
    """The name in a fixed-size field. EINVAL if it has no end or other than letters, digits, _ ."""
    name, nul, _ = field.partition(b"\0")
    if not nul or not _ALLOWED.issuperset(name):
        raise BpfError(EINVAL, f"bad object name {field!r}")
    return name.decode("latin-1")


def is_gpl_compatible(licence: bytes) -> bool:
    """Whether a program under this licence may call helpers marked GPL-only."""
    return licence in GPL_COMPATIBLE
