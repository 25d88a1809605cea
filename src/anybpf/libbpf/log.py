"""What the loader says while it works (tools/lib/bpf/libbpf.c, libbpf_print).

The words are libbpf's, without its `libbpf: ` in front: `logging.getLogger("anybpf.libbpf")` says
at DEBUG what `bpftool -d` shows, at INFO and WARNING what libbpf's own levels of that name say.
Nothing is printed unless the application asks for it.
"""

from __future__ import annotations

import errno as _errno
import logging
import os
from typing import NoReturn

from anybpf.errors import BpfError

logger = logging.getLogger("anybpf.libbpf")
logger.addHandler(logging.NullHandler())


def printable(record: logging.LogRecord) -> bool:
    """Names in broken files need not be UTF-8; what handlers get is."""
    text = record.getMessage()
    if not text.isascii():
        record.msg, record.args = text.encode("utf-8", "backslashreplace").decode(), ()
    return True


logger.addFilter(printable)

debug, info, warning = logger.debug, logger.info, logger.warning


def fail(errno: int, message: str) -> NoReturn:
    """Warn as libbpf does, and raise the same as BpfError."""
    warning("%s", message)
    raise BpfError(errno, message)


def reason(error: BpfError) -> str:
    """The words for an error number, without what else the error says."""
    return os.strerror(error.errno or 0)


def number(error: BpfError) -> int:
    """The error number as C returns it: negative."""
    return -(error.errno or _errno.EINVAL)
