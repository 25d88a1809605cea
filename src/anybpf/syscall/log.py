"""The log that PROG_LOAD and BTF_LOAD write for the caller (kernel/bpf/log.c).

The caller's buffer keeps the end of the text: it is written round and round, and turned so that it
begins where the text does when all is said (BPF_LOG_FIXED: it keeps the beginning). The verifier
takes text back when a path ends well; what the buffer has lost by then stays lost.
"""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOSPC

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.syscall.memory import UserMemory

MASK = (uapi.BPF_LOG_LEVEL1 | uapi.BPF_LOG_LEVEL2 | uapi.BPF_LOG_STATS | uapi.BPF_LOG_FIXED)
MAX_SIZE = uapi.U32 >> 2


class Log:
    """A caller's buffer of `size` bytes at `address`, and what is written into it."""

    def __init__(self, level: int, address: int, size: int) -> None:
        """Raises EINVAL where the three do not go together."""
        if bool(address) != bool(size) or (address and not level):
            raise BpfError(EINVAL, "log_buf, log_size and log_level must be given together")
        if level & ~MASK or size > MAX_SIZE:
            raise BpfError(EINVAL, "log_level or log_size is out of range")
        self.level = level
        self.address = address
        self.size = size
        self.fixed = bool(level & uapi.BPF_LOG_FIXED)
        #: what the buffer holds as far as it was written
        self._buffer = bytearray()
        #: the part of the text that the buffer holds: from `_start` to `end`
        self._start = 0
        self.end = 0
        #: the size of the whole text when it was longest, with its NUL
        self.longest = 0

    def write(self, text: bytes) -> None:
        """Add text, at any level but 0."""
        if not self.level or not text:
            return
        data = text + b"\0"
        self.longest = min(max(self.longest, self.end + len(data)), uapi.U32)
        if self.fixed:
            self._append(data)
        else:
            self._turn(data)

    def _append(self, data: bytes) -> None:
        """As much as there is room for."""
        kept = data[:max(self.size - self.end, 0)]
        if kept:
            self._put(self.end, kept[:-1] + b"\0")
        self.end += len(data) - 1

    def _turn(self, data: bytes) -> None:
        """All of it, over what was written first."""
        end = self.end + len(data)
        self._start = max(self._start, end - self.size)
        self.end = end - 1
        if not self.size:
            return
        kept = data[-self.size:]
        at = (end - len(kept)) % self.size
        room = self.size - at
        self._put(at, kept[:room])
        self._put(0, kept[room:])

    def cut(self, position: int) -> None:
        """Take all text after `position` back (bpf_vlog_reset)."""
        if not self.level:
            return
        self.end = position
        self._start = min(self._start, position)
        at = position + 1 if self.fixed else position % (self.size or 1)
        if at < self.size:
            self._put(at, b"\0")

    def _put(self, at: int, data: bytes) -> None:
        self._buffer.extend(bytes(max(at - len(self._buffer), 0)))
        self._buffer[at:at + len(data)] = data

    def finish(self, memory: UserMemory) -> tuple[int, int]:
        """Deliver. Returns the size that the whole text needs (with NUL) and 0 or an errno."""
        if not self.level or not self.address:
            return self.longest, 0
        shift = self._start % self.size
        try:
            memory.write(self.address, bytes(self._buffer[shift:] + self._buffer[:shift]))
        except BpfError:
            return self.longest, EFAULT
        return self.longest, ENOSPC if self.longest > self.size else 0
