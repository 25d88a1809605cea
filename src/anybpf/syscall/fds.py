"""A Machine's file descriptors (fs/file.c): small numbers for open kernel objects."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from errno import EBADF, EMFILE
from typing import NamedTuple

from anybpf.errors import BpfError
from anybpf.syscall.ids import KernelObject

#: what an open file allows
CAN_READ = 1
CAN_WRITE = 2
#: the numbers below are the caller's standard streams
FIRST = 3
LIMIT = 1 << 20


class Stream(KernelObject):
    """Standard input, output or error of the caller: open, and nothing that bpf(2) can use."""


class File(NamedTuple):
    """An open object and what may be done through this descriptor (CAN_* bits)."""

    object: KernelObject
    mode: int = CAN_READ | CAN_WRITE


class FileTable:
    """Lowest free number first, as a process has it; every entry holds a reference."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {fd: File(Stream()) for fd in range(FIRST)}
        self._free: list[int] = []
        self._next = FIRST

    def __len__(self) -> int:
        return len(self._files) - FIRST

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(fd for fd in self._files if fd >= FIRST))

    def install(self, object: KernelObject, mode: int = CAN_READ | CAN_WRITE) -> int:
        """Open `object`, taking a reference, and return its number. EMFILE when there is none."""
        if not self._free and self._next >= LIMIT:
            raise BpfError(EMFILE)
        fd = heapq.heappop(self._free) if self._free else self._next
        self._next = max(self._next, fd + 1)
        self._files[fd] = File(object, mode)
        object.opened()
        return fd

    def __getitem__(self, fd: int) -> File:
        """The open file; EBADF where there is none."""
        try:
            return self._files[fd]
        except KeyError:
            raise BpfError(EBADF, f"no open file {fd}") from None

    def dup(self, fd: int) -> int:
        """Another number for the same file."""
        file = self[fd]
        return self.install(file.object, file.mode)

    def close(self, fd: int) -> None:
        """Close one number; EBADF where it is not open."""
        file = self[fd]
        if isinstance(file.object, Stream):
            raise BpfError(EBADF, f"{fd} is the caller's own")
        del self._files[fd]
        heapq.heappush(self._free, fd)
        file.object.closed()

    def close_all(self) -> None:
        """Close every number, in order."""
        for fd in list(self):
            self.close(fd)
