"""The caller's memory, as seen from the kernel (mm/maccess.c, lib/usercopy.c).

`UserMemory` is the seam: today the caller lives in this process, later it may be another one.
"""

from __future__ import annotations

import ctypes
import os
from errno import EFAULT, EPERM, ESRCH
from typing import Protocol

from anybpf.errors import BpfError

PAGE = 4096
ADDRESS_LIMIT = 1 << 47


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
        size = min(limit - len(found), PAGE - here % PAGE)
        chunk = memory.read(here, size)
        end = chunk.find(0)
        if end >= 0:
            return bytes(found + chunk[:end])
        found += chunk
    return bytes(found)


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_uint64), ("length", ctypes.c_size_t)]


def _unreachable(address: int, size: int) -> bool:
    """Whether the range is no user address at all (access_ok)."""
    return address < 0 or address + size > ADDRESS_LIMIT


class OwnMemory:
    """This process's own memory, copied by the host kernel so that bad addresses cannot crash."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._pid = os.getpid()

    def _transfer(self, name: str, local: int, remote: int, size: int) -> bool:
        """Copy between our buffer and the checked address; False where a page is missing."""
        done = 0
        while done < size:
            ours = _IoVec(local + done, size - done)
            theirs = _IoVec(remote + done, size - done)
            count = getattr(self._libc, name)(
                os.getpid(), ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
            if count <= 0:
                return self._failed(ctypes.get_errno())
            done += count
        return True

    @staticmethod
    def _failed(errno: int) -> bool:
        if errno in (EPERM, ESRCH):
            raise BpfError(errno, "the host forbids copying memory safely (process_vm_readv)")
        return False

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`; EFAULT where not all of them are mapped."""
        if size == 0:
            return b""
        if _unreachable(address, size):
            raise BpfError(EFAULT)
        buffer = ctypes.create_string_buffer(size)
        if not self._transfer("process_vm_readv", ctypes.addressof(buffer), address, size):
            raise BpfError(EFAULT)
        return buffer.raw

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at `address`; EFAULT where not all of it is writable."""
        if not data:
            return
        if _unreachable(address, len(data)):
            raise BpfError(EFAULT)
        buffer = ctypes.create_string_buffer(data, len(data))
        if not self._transfer("process_vm_writev", ctypes.addressof(buffer), address, len(data)):
            raise BpfError(EFAULT)
