"""System calls in the guest, one at a time or many at once."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from anybpf.errors import BpfError
from guest import wire
from guest.initramfs import NoGuest
from guest.wire import Answer, Call, Segment

#: numbers of system calls on x86-64
READ, WRITE, OPEN, CLOSE, MMAP, MUNMAP, DUP, GETPID, FCNTL, MKDIR, UNLINK, READLINK = (
    0, 1, 2, 3, 9, 11, 32, 39, 72, 83, 87, 89)
MOUNT, INIT_MODULE, DELETE_MODULE, PERF_EVENT_OPEN, PROCESS_VM_READV, PROCESS_VM_WRITEV, BPF = (
    165, 175, 176, 298, 310, 311, 321)
AT_ONCE = 1 << 20
ECHO = struct.Struct("<IIQQ")
#: seconds: for a call, for a greeting; how often a greeting is tried
PATIENCE, GREETING, ATTEMPTS = 600, 5, 60


class GuestDied(Exception):
    """The guest, or the process in it that made the calls, is gone; what was open is lost."""


class Remote:
    """A client of the agent: `syscall(number, ...)` there is as it were here."""

    def __init__(self, path: Path, alive: Callable[[], bool] = lambda: True,
                 last_words: Callable[[], str] = str, attempts: int = ATTEMPTS) -> None:
        """`path` is the port's socket; `alive` and `last_words` tell about the machine.

        Raises NoGuest if nobody greets back.
        """
        self._alive, self._last_words = alive, last_words
        self._later: list[Call] = []
        #: what is known of open descriptors, by number
        self.files: dict[int, object] = {}
        self._nonce = int.from_bytes(os.urandom(6), "little") << 8
        self._socket = self._greeted(path, attempts)
        self._socket.settimeout(PATIENCE)

    def _greeted(self, path: Path, attempts: int) -> socket.socket:
        for _ in range(attempts):
            if not self._alive():
                break
            port = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                port.settimeout(GREETING)
                port.connect(str(path))
                self._greet(port)
                return port
            except (OSError, EOFError):
                port.close()
                time.sleep(0.5)
        raise NoGuest(f"no answer from a guest at {path}")

    def _greet(self, port: socket.socket) -> None:
        """Say hello and skip what an earlier client was told."""
        self._nonce += 256
        port.sendall(wire.HEAD.pack(wire.MAGIC, wire.HELLO, 0, self._nonce))
        wanted = wire.HEAD.pack(wire.MAGIC, wire.HELLO, 0, self._nonce + wire.VERSION)
        seen = b""
        while wanted not in seen:
            got = port.recv(AT_ONCE)
            if not got:
                raise EOFError
            seen = seen[-len(wanted):] + got

    def close(self) -> None:
        """Leave the guest: what this client has open there is closed."""
        self._socket.close()

    # -- calls

    def later(self, call: Call) -> None:
        """Make a call whose answer does not matter just before the next one."""
        self._later.append(call)

    def calls(self, wanted: Sequence[Call]) -> list[Answer]:
        """Make all calls, in their order, with one question. Raises GuestDied."""
        calls, self._later = [*self._later, *wanted], []
        self._nonce += 256
        try:
            self._socket.sendall(wire.request(calls, self._nonce))
            magic, kind, length, nonce = wire.HEAD.unpack(self._receive(wire.HEAD.size))
            body = self._receive(length)
        except OSError as e:
            raise self._died(f"the guest does not answer: {e}") from None
        if (magic, kind, nonce) != (wire.MAGIC, wire.CALLS, self._nonce):
            raise self._died("the process in the guest that makes the calls was killed")
        return list(wire.answers(calls, body))[len(calls) - len(wanted):]

    def _died(self, reason: str) -> GuestDied:
        return GuestDied(f"{reason}\n{self._last_words()}".strip())

    def _receive(self, size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size:
            got = self._socket.recv(min(size - len(pieces), AT_ONCE))
            if not got:
                raise self._died("the guest has ended")
            pieces += got
        return bytes(pieces)

    def ask(self, call: Call) -> Answer:
        """Make one call. Raises BpfError with the guest's error number."""
        answer = self.calls([call])[0]
        if -4096 < answer.value < 0:
            raise BpfError(-answer.value)
        return answer

    def syscall(self, number: int, *arguments: int | bytes | Segment) -> int:
        """One system call; bytes are sent. Raises BpfError."""
        return self.ask(Call(number, [Segment(a) if isinstance(a, bytes) else a
                                      for a in arguments])).value

    # -- files

    def read_file(self, path: str) -> bytes:
        """A file's content. Raises BpfError."""
        fd = self.syscall(OPEN, text(path), os.O_RDONLY | os.O_CLOEXEC, 0)
        try:
            return b"".join(iter(lambda: self.read(fd, AT_ONCE), b""))
        finally:
            self.syscall(CLOSE, fd)

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file (of the guest's proc, sys, tracefs ...) with one write(2). Raises BpfError.
        """
        fd = self.syscall(OPEN, text(path), os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT, 0o600)
        try:
            self.syscall(WRITE, fd, data, len(data))
        finally:
            self.syscall(CLOSE, fd)

    def read(self, fd: int, size: int) -> bytes:
        """read(2). Raises BpfError."""
        there = Segment(size=size, answered=True, counted=True)
        return self.ask(Call(READ, [fd, there, size])).memory[there]

    def readlink(self, path: str) -> str:
        """readlink(2), "" if that is no link."""
        there = Segment(size=256, answered=True, counted=True)
        with contextlib.suppress(BpfError):
            answer = self.ask(Call(READLINK, [text(path), there, 256]))
            return answer.memory[there].decode(errors="replace")
        return ""

    # -- the guest's memory

    def peek(self, address: int, size: int) -> bytes:
        """Bytes of the agent's memory. Raises BpfError EFAULT."""
        there = Segment(size=size, answered=True)
        return self._move(PROCESS_VM_READV, address, there).memory[there]

    def poke(self, address: int, data: bytes) -> None:
        """Write the agent's memory. Raises BpfError EFAULT."""
        self._move(PROCESS_VM_WRITEV, address, Segment(data))

    def _move(self, number: int, address: int, segment: Segment) -> Answer:
        near = Segment(bytes(8) + COUNT.pack(segment.size))
        far = Segment(COUNT.pack(address) + COUNT.pack(segment.size))
        patch = wire.Patch(near, 0, segment)
        call = Call(number, [self.pid, near, 1, far, 1, 0], [segment], [patch])
        answer = self.ask(call)
        if answer.value != segment.size:
            raise BpfError(errno.EFAULT)
        return answer

    @property
    def pid(self) -> int:
        """The process id of what makes the calls."""
        return self.syscall(GETPID)


COUNT = wire.COUNT


def text(string: str) -> Segment:
    """A string as system calls take it."""
    return Segment(os.fsencode(string) + b"\0")
