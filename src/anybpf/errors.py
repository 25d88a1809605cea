"""The few exceptions that reach a caller.

Three kinds of trouble and no more: the kernel's answer (`BpfError`, with the verifier's as
`VerifierError`), a file that is not what it claims (`LoadError`), and what anybpf does not do yet
(`NotSupported`). `Bug` is a mistake of ours; nothing inside catches it.
"""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: what the kernel says inside itself for "not supported"; bpf(2) lets it out
ENOTSUPP = 524

#: error numbers that the C library has no name for, since they should stay inside the kernel
KERNEL_ERRORS: dict[int, tuple[str, str]] = {
    512: ("ERESTARTSYS", "System call is to be restarted"),
    513: ("ERESTARTNOINTR", "System call is to be restarted in any case"),
    514: ("ERESTARTNOHAND", "System call is to be restarted if no handler ran"),
    515: ("ENOIOCTLCMD", "No such ioctl command"),
    516: ("ERESTART_RESTARTBLOCK", "System call is to be restarted by its own function"),
    517: ("EPROBE_DEFER", "Driver wants to be probed again later"),
    518: ("EOPENSTALE", "Stale entry was found on open"),
    519: ("ENOPARAM", "Parameter is not supported"),
    521: ("EBADHANDLE", "Illegal NFS file handle"),
    522: ("ENOTSYNC", "Update is out of step"),
    523: ("EBADCOOKIE", "Cookie is stale"),
    ENOTSUPP: ("ENOTSUPP", "Operation is not supported"),
    525: ("ETOOSMALL", "Buffer or request is too small"),
    526: ("ESERVERFAULT", "Server had an error that has no translation"),
    527: ("EBADTYPE", "Type is not supported by the server"),
    528: ("EJUKEBOX", "Request was begun and is not complete yet"),
    529: ("EIOCBQUEUED", "Request is queued and will complete later"),
    530: ("ERECALLCONFLICT", "Conflict with a recalled state"),
    531: ("ENOGRACE", "Server is out of its grace period"),
}


def error_name(number: int) -> str:
    """The symbolic name of a positive error number, the number itself if it has none."""
    kernel = KERNEL_ERRORS.get(number)
    return kernel[0] if kernel else _errno.errorcode.get(number, str(number))


def error_text(number: int) -> str:
    """What an error number says in words."""
    kernel = KERNEL_ERRORS.get(number)
    return kernel[1] if kernel else os.strerror(number)


class BpfError(OSError):
    """A bpf(2) call failed. `errno` is the kernel's (positive) error number; `name` its name."""

    #: what the kernel wrote into a log, where the caller had given it one
    log = ""

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(errno, message or error_text(errno))

    @property
    def name(self) -> str:
        """The symbolic name of the error number, such as `"EINVAL"` or `"ENOTSUPP"`."""
        return error_name(self.errno or 0)


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
        kept, hidden = [" ".join(x.split()) for x in lines[-keep:]], len(lines) - keep
        more = [f"({hidden} more lines in .log)"] if hidden > 0 else []
        return "\n  ".join([f"{program or 'program'} rejected:", *kept, *more])


class LoadError(ValueError):
    """A file is malformed: `section` names where (may be empty), `offset` is in bytes, or None.

    `file` is its name, where what was read has one.
    """

    def __init__(self, message: str, section: str = "", offset: int | None = None) -> None:
        self.message = message
        self.section = section
        self.offset = offset
        self.file = ""
        super().__init__(self._text())

    def name_file(self, file: str) -> None:
        """Say which file is meant, unless that is known already."""
        self.file = self.file or file
        self.args = (self._text(),)

    def _text(self) -> str:
        where = f"section '{self.section}'" if self.section else ""
        if self.offset is not None:
            where += f"{' ' if where else ''}offset {self.offset:#x}"
        return ": ".join(part for part in (self.file, where, self.message) if part)


@contextmanager
def reading(file: str | os.PathLike[str]) -> Iterator[None]:
    """A LoadError that leaves this block names `file`."""
    try:
        yield
    except LoadError as error:
        error.name_file(os.fspath(file))
        raise


class NotSupported(Exception):
    """anybpf does not model `feature` (yet); `since`: the kernel version that has it, if known."""

    def __init__(self, feature: str, since: str = "") -> None:
        self.feature = feature
        self.since = since
        when = f" (in Linux since {since})" if since else ""
        super().__init__(f"not supported: {feature}{when}")


class Fault(RuntimeError):
    """A checked run stopped: instruction index, address, size in bytes and the region's name.

    `source` is the place in the C source and its text, where the program's BTF has them:
    `firewall.bpf.c:31: if (ip->ihl != 5)`.
    """

    def __init__(self, message: str, insn: int, address: int = 0, size: int = 0, region: str = "",
                 program: str = "") -> None:
        self.insn = insn
        self.address = address
        self.size = size
        self.region = region
        self.program = program
        self.source = ""
        super().__init__(message)

    def name_source(self, source: str) -> None:
        """Say which source line the instruction was made from."""
        self.source = source
        self.args = (f"{self} ({source})",)


class Bug(Exception):
    """A mistake in anybpf itself. Please report it with the input that led here."""
