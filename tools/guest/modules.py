"""Loading the package's kernel modules into the guest (kernel/module/main.c)."""

from __future__ import annotations

import contextlib
import errno
import lzma
import os
from collections.abc import Iterator

from anybpf.btf.elf import find_section
from anybpf.errors import BpfError
from guest.fetch import Kernel
from guest.remote import DELETE_MODULE, INIT_MODULE, Remote, text
from guest.wire import Segment

SUFFIX = ".ko.xz"


class Modules:
    """The modules of one kernel; `load` brings a module in after what it depends on."""

    def __init__(self, kernel: Kernel) -> None:
        self._files = {plain(path.name.removesuffix(SUFFIX)): path
                       for path in kernel.modules.rglob(f"*{SUFFIX}")}

    @property
    def names(self) -> list[str]:
        """All that there are."""
        return sorted(self._files)

    def image(self, name: str) -> bytes:
        """A module's ELF file. Raises KeyError."""
        return lzma.decompress(self._files[plain(name)].read_bytes())

    def load(self, there: Remote, name: str) -> list[str]:
        """The names of what was loaded. Raises BpfError with init_module(2)'s error, KeyError."""
        done: list[str] = []
        self._load(there, plain(name), done)
        return done

    def _load(self, there: Remote, name: str, done: list[str]) -> None:
        image = self.image(name)
        for other in depends(image):
            if other not in done:
                self._load(there, other, done)
        with contextlib.suppress(Present):
            insert(there, image)
            done.append(name)


class Present(Exception):
    """The module is loaded already."""


def insert(there: Remote, image: bytes) -> None:
    """init_module(2). Raises Present, BpfError."""
    try:
        there.syscall(INIT_MODULE, Segment(image), len(image), text(""))
    except BpfError as e:
        if e.errno == errno.EEXIST:
            raise Present from None
        raise


def remove(there: Remote, name: str) -> None:
    """delete_module(2); nothing if there is no such module. Raises BpfError (EBUSY)."""
    try:
        there.syscall(DELETE_MODULE, text(plain(name)), os.O_NONBLOCK)
    except BpfError as e:
        if e.errno != errno.ENOENT:
            raise


def plain(name: str) -> str:
    """A module's name as the kernel has it."""
    return name.replace("-", "_")


def information(image: bytes) -> Iterator[tuple[str, str]]:
    """What a module says of itself, such as ("license", "GPL")."""
    for word in (find_section(image, ".modinfo") or b"").split(b"\0"):
        key, equals, value = word.decode(errors="replace").partition("=")
        if equals:
            yield key, value


def depends(image: bytes) -> list[str]:
    """The modules that a module needs."""
    return [plain(name) for key, value in information(image) if key == "depends"
            for name in value.split(",") if name]


