"""This process's own memory at any address, without a crash (mm/process_vm_access.c)."""

from __future__ import annotations

import ctypes
import os
from functools import cache

PAGE = 4096


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _move(name: str, address: int, buffer: ctypes.Array[ctypes.c_char], size: int) -> int:
    """How many of `size` bytes were moved between `buffer` and `address`; 0 if none can be."""
    near = _Vector(ctypes.addressof(buffer), size)
    far = _Vector(address, size)
    done = getattr(_libc(), name)(os.getpid(), ctypes.byref(near), ctypes.c_ulong(1),
                                  ctypes.byref(far), ctypes.c_ulong(1), ctypes.c_ulong(0))
    return max(int(done), 0)


def read(address: int, size: int) -> bytes:
    """Up to `size` bytes: as many as are mapped."""
    if not size:
        return b""
    buffer = (ctypes.c_char * size)()
    done = 0
    while done < size:                      # what is moved at once may end at any page
        piece = (ctypes.c_char * (size - done)).from_buffer(buffer, done)
        moved = _move("process_vm_readv", address + done, piece, size - done)
        if not moved:
            break
        done += moved
    return ctypes.string_at(buffer, done)


def write(address: int, data: bytes) -> bool:
    """Write as much as can be written; whether that was all."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return _move("process_vm_writev", address, buffer, len(data)) == len(data)


def string(address: int, limit: int) -> bytes:
    """The bytes up to and with the first zero byte: at most `limit`, and what is mapped."""
    found = b""
    while len(found) < limit:
        to_page = PAGE - (address + len(found)) % PAGE
        piece = read(address + len(found), min(to_page, limit - len(found)))
        found += piece
        if not piece or b"\0" in piece:
            break
    end = found.find(b"\0")
    return found if end < 0 else found[:end + 1]


def extent(address: int, size: int) -> int:
    """How many of `size` bytes from `address` on are mapped, without touching them all."""
    if not size or not read(address, 1):
        return 0
    if read(address + size - 1, 1):
        return size
    good, bad = 0, size - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if read(address + middle, 1) else (good, middle)
    return good + 1
