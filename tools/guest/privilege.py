"""Calls in the guest by a task with fewer capabilities (kernel/capability.c)."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Iterator

from guest.remote import Remote

CAPSET = 126
VERSION = 0x20080522
UNPRIVILEGED = "/proc/sys/kernel/unprivileged_bpf_disabled"
HALF = 0xFFFFFFFF


def permitted(there: Remote) -> int:
    """The mask of the capabilities that the calling task could hold."""
    found = re.search(rb"CapPrm:\s+(\w+)", there.read_file("/proc/self/status"))
    return int(found[1], 16) if found else 0


def hold(there: Remote, effective: int) -> None:
    """Make the calling task hold only these, for all that it calls from now on."""
    may = permitted(there)
    data = struct.pack("<6I", effective & HALF, may & HALF, 0, effective >> 32, may >> 32, 0)
    there.syscall(CAPSET, struct.pack("<II", VERSION, 0), data)


@contextlib.contextmanager
def holding(there: Remote, capabilities: Iterable[int] = ()) -> Iterator[None]:
    """Calls in this block are made by a task with these capabilities (CAP_*) alone."""
    hold(there, sum(1 << number for number in capabilities))
    try:
        yield
    finally:
        hold(there, permitted(there))


@contextlib.contextmanager
def open_to_all(there: Remote, setting: int = 0) -> Iterator[None]:
    """`kernel.unprivileged_bpf_disabled` is 0 (or 2) in this block: 1 could not be undone."""
    before = there.read_file(UNPRIVILEGED)
    there.write_file(UNPRIVILEGED, b"%d\n" % setting)
    try:
        yield
    finally:
        there.write_file(UNPRIVILEGED, before)
