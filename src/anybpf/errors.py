"""The few exceptions that reach a caller.

Three kinds of trouble and no more: the kernel's answer (`BpfError`, with the verifier's as
`VerifierError`), a file that is not what it claims (`LoadError`), and what anybpf does not do yet
(`NotSupported`). `Bug` is a mistake of ours; nothing inside catches it.
"""

from __future__ import annotations

import errno as _errno
import os


class BpfError(OSError):
    """A bpf(2) call failed. `errno` is the kernel's (positive) error number; `name` its name."""

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(errno, message or os.strerror(errno))

    @property
    def name(self) -> str:
        """The symbolic name of the error number, such as `"EINVAL"`."""
        return _errno.errorcode.get(self.errno or 0, str(self.errno))


class VerifierError(BpfError):
    """The verifier refused a program: the kernel's `log` and the instruction index, if known.

    `program` and `object` name what was refused, where they have names.
    """

    def __init__(self, errno: int, log: str, insn: int | None = None, program: str = "",
                 object: str = "") -> None:
        self.log = log
        self.insn = insn
        self.program = program
        self.object = object
        where = f"object '{object}': " if object else ""
        super().__init__(errno, where + self._summary(log, program))

    @staticmethod
    def _summary(log: str, program: str, keep: int = 3) -> str:
        """The last useful lines of the log, and how many were kept back."""
        lines = [x for x in log.splitlines() if x.strip() and not x.startswith("processed ")]
        kept, hidden = lines[-keep:], len(lines) - keep
        more = f" ({hidden} more lines in .log)" if hidden > 0 else ""
        return f"{program or 'program'} rejected: " + ": ".join(kept) + more


class LoadError(ValueError):
    """A file is malformed: `section` names where (may be empty), `offset` is in bytes, or None."""

    def __init__(self, message: str, section: str = "", offset: int | None = None) -> None:
        self.message = message
        self.section = section
        self.offset = offset
        super().__init__(self._text())

    def _text(self) -> str:
        where = f"section '{self.section}'" if self.section else ""
        if self.offset is not None:
            where += f"{' ' if where else ''}offset {self.offset:#x}"
        return f"{where}: {self.message}" if where else self.message


class NotSupported(Exception):
    """anybpf does not model `feature` (yet); `since`: the kernel version that has it, if known."""

    def __init__(self, feature: str, since: str = "") -> None:
        self.feature = feature
        self.since = since
        when = f" (in Linux since {since})" if since else ""
        super().__init__(f"not supported: {feature}{when}")


class Fault(RuntimeError):
    """A checked run stopped: instruction index, address, size in bytes and the region's name."""

    def __init__(self, message: str, insn: int, address: int = 0, size: int = 0, region: str = "",
                 program: str = "") -> None:
        self.insn = insn
        self.address = address
        self.size = size
        self.region = region
        self.program = program
        super().__init__(message)


class Bug(Exception):
    """A mistake in anybpf itself. Please report it with the input that led here."""
