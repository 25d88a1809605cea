"""The caller's memory, as seen from the kernel (mm/maccess.c, lib/usercopy.c).

`UserMemory` is the seam: today the caller lives in this process, later it may be another one.
"""

from __future__ import annotations

from errno import EFAULT
from typing import Protocol

from anybpf.core.memory import copy_from_user, copy_to_user
from anybpf.errors import BpfError

PAGE = 4096
#: user addresses lie below (TASK_SIZE of x86-64 and arm64 with 48 bits)
ADDRESS_LIMIT = 1 << 48


class UserMemory(Protocol):
    """Reads and writes at the caller's addresses; BpfError EFAULT where nothing is mapped."""

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`."""

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at `address`. What lies before the first bad page may be written."""


def read_string(memory: UserMemory, address: int, limit: int) -> bytes:
    """The bytes before the first NUL, `limit` at most (strncpy_from_user)."""
    found = bytearray()
    while len(found) < limit:
        here = address + len(found)
        chunk = memory.read(here, min(limit - len(found), PAGE - here % PAGE))
        text, nul, _ = chunk.partition(b"\0")
        found += text
        if nul:
            break
    return bytes(found)


def _reachable(address: int, size: int) -> bool:
    """Whether the range lies among user addresses (access_ok)."""
    return 0 <= address <= ADDRESS_LIMIT - size


class OwnMemory:
    """This process's own memory, copied so that bad addresses cannot crash it."""

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`; EFAULT where not all of them are mapped."""
        if not size:
            return b""
        if not _reachable(address, size):
            raise BpfError(EFAULT)
        return copy_from_user(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at `address`; EFAULT where not all of it is writable."""
        if not data:
            return
        if not _reachable(address, len(data)):
            raise BpfError(EFAULT)
        copy_to_user(address, data)
