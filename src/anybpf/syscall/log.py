"""The log that PROG_LOAD and BTF_LOAD write for the caller (kernel/bpf/log.c)."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOSPC

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.syscall.memory import UserMemory

MASK = (uapi.BPF_LOG_LEVEL1 | uapi.BPF_LOG_LEVEL2 | uapi.BPF_LOG_STATS | uapi.BPF_LOG_FIXED)
MAX_SIZE = uapi.U32 >> 2


class Refused(BpfError):
    """What a log belongs to is refused: the errno, and the line that the log gets."""

    def __init__(self, errno: int, text: str) -> None:
        self.text = text
        super().__init__(errno, text.strip())


class Log:
    """Collects text, then puts as much as fits into the caller's buffer."""

    def __init__(self, level: int, address: int, size: int) -> None:
        """Raises EINVAL where the three do not go together."""
        if bool(address) != bool(size) or (address and not level):
            raise BpfError(EINVAL, "log_buf, log_size and log_level must be given together")
        if level & ~MASK or size > MAX_SIZE:
            raise BpfError(EINVAL, "log_level or log_size is out of range")
        self.level = level
        self.address = address
        self.size = size
        self._parts: list[str] = []

    def write(self, text: str, levels: int = uapi.U32) -> None:
        """Add text (with its newline); kept only where the caller asked for one of `levels`."""
        if self.level & levels and text:
            self._parts.append(text)

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def _kept(self, data: bytes) -> bytes:
        """What the caller's buffer gets: the beginning (BPF_LOG_FIXED) or the end of the text."""
        if len(data) <= self.size:
            return data
        if self.level & uapi.BPF_LOG_FIXED:
            return data[:self.size - 1] + b"\0"
        return data[-self.size:]

    def finish(self, memory: UserMemory) -> tuple[int, int]:
        """Deliver. Returns the size that the whole text needs (with NUL) and 0 or an errno."""
        if not self._parts:
            return 0, 0
        data = self.text.encode(errors="surrogateescape") + b"\0"
        if not self.address:
            return len(data), 0
        try:
            memory.write(self.address, self._kept(data))
        except BpfError:
            return len(data), EFAULT
        return len(data), ENOSPC if len(data) > self.size else 0
