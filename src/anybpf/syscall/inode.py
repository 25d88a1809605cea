"""The bpf file system, in memory (kernel/bpf/inode.c)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from errno import EACCES, EEXIST, ENOENT, ENOTDIR, ENOTEMPTY, EPERM

from anybpf.errors import BpfError
from anybpf.syscall.ids import KernelObject

#: where the file system is mounted
ROOT = "/sys/fs/bpf"
_ABOVE = ("/", "/sys", "/sys/fs")


class BpfFs:
    """Directories and pinned objects by absolute path; every pin holds its object."""

    def __init__(self) -> None:
        self._pins: dict[str, KernelObject] = {}
        self._dirs: set[str] = {ROOT}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._pins))

    def _parent(self, path: str) -> None:
        """Raise unless a new name at `path` would lie in one of our directories."""
        parent = posixpath.dirname(path)
        if parent in self._pins:
            raise BpfError(ENOTDIR, path)
        if parent not in self._dirs:
            inside = parent.startswith(ROOT + "/")
            raise BpfError(ENOENT if inside else EPERM, path)

    def _new(self, path: str) -> str:
        """The normalised path of a name that may be made."""
        path = posixpath.normpath(path)
        if path in self._pins or path in self._dirs or path in _ABOVE:
            raise BpfError(EEXIST, path)
        self._parent(path)
        if "." in posixpath.basename(path):
            raise BpfError(EPERM, "names in the bpf file system have no dots")
        return path

    def mkdir(self, path: str) -> None:
        """Make a directory. EEXIST, ENOENT, ENOTDIR or EPERM as the kernel says."""
        self._dirs.add(self._new(path))

    def pin(self, path: str, object: KernelObject) -> None:
        """Pin an object. The same errors as `mkdir`."""
        self._pins[self._new(path)] = object
        object.opened()

    def get(self, path: str) -> KernelObject:
        """The pinned object; ENOENT, or EACCES for a directory."""
        path = posixpath.normpath(path)
        if path in self._dirs or path in _ABOVE:
            raise BpfError(EACCES, path)
        if path not in self._pins:
            raise BpfError(ENOENT, path)
        return self._pins[path]

    def unlink(self, path: str) -> None:
        """Remove a pin."""
        object = self.get(path)
        del self._pins[posixpath.normpath(path)]
        object.closed()

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        path = posixpath.normpath(path)
        if path not in self._dirs or path == ROOT:
            raise BpfError(ENOENT if path != ROOT else EPERM, path)
        if any(x.startswith(path + "/") for x in (*self._pins, *self._dirs)):
            raise BpfError(ENOTEMPTY, path)
        self._dirs.remove(path)

    def clear(self) -> None:
        """Remove everything."""
        for path in list(self._pins):
            self.unlink(path)
        self._dirs = {ROOT}
