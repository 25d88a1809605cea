"""The bpf file system, in memory (kernel/bpf/inode.c)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from errno import EACCES, EEXIST, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, EPERM

from anybpf.errors import BpfError
from anybpf.syscall.ids import KernelObject

#: where the file system is mounted
ROOT = "/sys/fs/bpf"
#: directories of other file systems, in which nothing can be pinned
_ELSEWHERE = frozenset(("/", "/sys", "/sys/fs", "/tmp", "/run"))
NAME_MAX = 255
PATH_MAX = 4096


def _absolute(path: str) -> str:
    """The path without `.`, `..` and doubled slashes. ENOENT or ENAMETOOLONG for what is none."""
    if not path:
        raise BpfError(ENOENT, "empty path")
    if len(path) >= PATH_MAX or any(len(name) > NAME_MAX for name in path.split("/")):
        raise BpfError(ENAMETOOLONG)
    return "/" + posixpath.normpath("/" + path).lstrip("/")


class BpfFs:
    """Directories and pinned objects by absolute path; every pin holds its object."""

    def __init__(self) -> None:
        self._pins: dict[str, KernelObject] = {}
        self._dirs: set[str] = {ROOT}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._pins))

    def _is_dir(self, path: str) -> bool:
        return path in self._dirs or path in _ELSEWHERE

    def _walk(self, path: str) -> None:
        """Raise unless everything above `path` is a directory."""
        above = posixpath.dirname(path)
        if above in self._pins:
            raise BpfError(ENOTDIR, above)
        if not self._is_dir(above):
            self._walk(above)
            raise BpfError(ENOENT, above)

    def _new(self, path: str, *, directory: bool) -> str:
        """The absolute path of a name that may be made."""
        found = _absolute(path)
        self._walk(found)
        if found in self._pins or self._is_dir(found):
            raise BpfError(EEXIST, path)
        if path.endswith("/") and not directory:
            raise BpfError(ENOENT, path)
        if posixpath.dirname(found) not in self._dirs:
            raise BpfError(EPERM, "not in a bpf file system")
        if "." in posixpath.basename(found):
            raise BpfError(EPERM, "names in the bpf file system have no dots")
        return found

    def mkdir(self, path: str) -> None:
        """Make a directory. EEXIST, ENOENT, ENOTDIR or EPERM as the kernel says."""
        self._dirs.add(self._new(path, directory=True))

    def pin(self, path: str, object: KernelObject) -> None:
        """Pin an object. The same errors as `mkdir`."""
        self._pins[self._new(path, directory=False)] = object
        object.opened()

    def get(self, path: str) -> KernelObject:
        """The pinned object. ENOENT, ENOTDIR, or EACCES for a directory."""
        found = _absolute(path)
        if self._is_dir(found):
            raise BpfError(EACCES, path)
        self._walk(found)
        if found not in self._pins:
            raise BpfError(ENOENT, path)
        if path.endswith("/"):
            raise BpfError(ENOTDIR, path)
        return self._pins[found]

    def unlink(self, path: str) -> None:
        """Remove a pin. The same errors as `get`."""
        object = self.get(path)
        del self._pins[_absolute(path)]
        object.closed()

    def rmdir(self, path: str) -> None:
        """Remove an empty directory. ENOENT, EPERM for the root, ENOTEMPTY."""
        found = _absolute(path)
        if found == ROOT:
            raise BpfError(EPERM, path)
        if found not in self._dirs:
            raise BpfError(ENOENT, path)
        if any(x.startswith(found + "/") for x in (*self._pins, *self._dirs)):
            raise BpfError(ENOTEMPTY, path)
        self._dirs.remove(found)

    def clear(self) -> None:
        """Remove everything."""
        pins, self._pins, self._dirs = self._pins, {}, {ROOT}
        for object in pins.values():
            object.closed()
