"""An object: opened from a file, loaded onto a backend (tools/lib/bpf/libbpf.c, bpf_object).

>>> with Object.open("firewall.bpf.o") as obj:                      # doctest: +SKIP
...     obj.rodata.limit = 3
...     obj.load(Machine())
...     print(obj.programs["firewall"].test_run(data=packet).retval)
...     print(obj.maps["counters"][0], obj.bss.seen)
"""

from __future__ import annotations

import errno
import importlib
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from anybpf.btf import kernel
from anybpf.btf.parse import Btf
from anybpf.errors import reading
from anybpf.libbpf import kconfig, log
from anybpf.libbpf.bpf import Backend
from anybpf.libbpf.data_sections import READ_ONLY
from anybpf.libbpf.globals import Globals, area_of
from anybpf.libbpf.kconfig import text_of as config_text
from anybpf.libbpf.load import Loader
from anybpf.libbpf.map import Map
from anybpf.libbpf.program import Program
from anybpf.libbpf.read import object_name_of, read_object
from anybpf.libbpf.spec import ObjectSpec

T = TypeVar("T")
Source = str | os.PathLike[str] | bytes | IO[bytes]

#: how a file's name ends -> who makes an object file of it; named, because it lies above libbpf
MAKERS = {".c": "anybpf.toolchain"}


class ByName(dict[str, T]):
    """What an object has of one `kind`, by name; a KeyError lists the names that there are."""

    def __init__(self, kind: str, items: dict[str, T]) -> None:
        super().__init__(items)
        self.kind = kind

    def __missing__(self, name: str) -> T:
        known = ", ".join(self) or "none"
        raise KeyError(f"no {self.kind} {name!r}; the object has: {known}")


class Object:
    """One object file's programs, maps and global variables.

    `programs` and `maps` are dicts by name. Global variables are attributes of `rodata`, `data`,
    `bss` and of each further section of variables (`.data.cold` is `data_cold`). Closing gives
    everything back to the backend; it is a context manager.
    """

    programs: dict[str, Program]
    maps: dict[str, Map]

    def __init__(self, spec: ObjectSpec) -> None:
        self.spec = spec
        self.programs = ByName("program", {n: Program(p) for n, p in spec.programs.items()})
        self.maps = ByName("map", {n: Map(m, owner=spec) for n, m in spec.maps.items()})
        self.globals: dict[str, Globals] = {
            data.attribute: Globals(data, spec) for data in spec.data_sections}
        self.target_btf: Btf | None = None
        self.pin_root: str | None = None
        self.kernel_log_level = 0
        self.backend: Backend | None = None
        self._loader: Loader | None = None

    @classmethod
    def open(cls, source: Source, *, name: str | None = None, kconfig: kconfig.Source = "",
             btf: Btf | str | os.PathLike[str] | None = None, relaxed_maps: bool = False,
             pin_root: str | None = None, kernel_log_level: int = 0) -> Self:
        """Read an object file: a path, its bytes, or an open binary file.

        The path may be that of a C source, too, which is compiled (see `anybpf.toolchain`) with
        the vmlinux.h of `btf` or else of the running kernel.

        The options are those of libbpf's bpf_object_open_opts:

        * `name` begins the names of maps for global variables (default: the file's name up to the
          first dot);
        * `kconfig` has values for __kconfig variables, which win over the kernel's own: text of
          lines `CONFIG_X=y`, a mapping of names to values, or the path of such a file (or .gz);
        * `btf`, or the file that holds it, is what CO-RE relocates against instead of the kernel's;
        * `relaxed_maps` passes over unknown members of map definitions;
        * `pin_root`, a directory in a bpffs, is where maps that ask to be pinned by name are;
          without it they are not pinned (libbpf takes /sys/fs/bpf);
        * `kernel_log_level` is the verifier's log level for every program.

        Raises LoadError (malformed), OSError (cannot be read), BpfError (a bad `kconfig`).
        """
        target = btf if btf is None or isinstance(btf, Btf) else kernel.load(btf)
        data, found = read_source(source, target)
        if found:
            log.debug("loading %s", found)
        else:
            log.debug("loading object '%s' from buffer", name or "")
        with reading(found):
            spec = read_object(data, object_name_of(found) if name is None else name,
                               relaxed_maps=relaxed_maps, path=found)
        spec.kconfig = config_text(kconfig)
        made = cls(spec)
        made.target_btf = target
        made.pin_root, made.kernel_log_level = pin_root, kernel_log_level
        return made

    def __repr__(self) -> str:
        where = f"on {self.backend.name}" if self.backend else "not loaded"
        return f"<Object {self.name!r} {where}: programs {', '.join(self.programs) or 'none'}>"

    def __getattr__(self, name: str) -> Globals:
        found: dict[str, Globals] = self.__dict__.get("globals", {})
        if name in found:
            return found[name]
        known = ", ".join(found) or "none"
        raise AttributeError(f"object has no attribute or section '{name}' (sections: {known})")

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def license(self) -> str:
        return self.spec.license

    @property
    def btf(self) -> Btf | None:
        return self.spec.btf

    def load(self, backend: Backend, *, log_level: int = 0, pin_root: str | None = None) -> Self:
        """Create the BTF, the maps and the programs on a Machine or on Linux; returns itself.

        Programs whose `autoload` is False, and maps whose `autocreate` is, are left out. With a
        `log_level` every program keeps the verifier's log. `log_level` and `pin_root` win over what
        `open` was given.

        Raises VerifierError (a program is refused; has the log), BpfError, NotSupported; then
        nothing stays loaded.
        """
        if self.backend is not None:
            log.fail(errno.EINVAL, f"object '{self.name}': load can't be attempted twice")
        loader = Loader(backend, self.spec, self.programs, self.maps,
                        log_level or self.kernel_log_level, pin_root or self.pin_root,
                        self.target_btf)
        loader.run()
        self.backend, self._loader = backend, loader
        self._show_memory()
        return self

    def _show_memory(self) -> None:
        for made in self.maps.values():
            data = made.spec.data or made.spec.arena
            if data is not None and made.fd is not None:
                area = area_of(made, writable=data.kind not in READ_ONLY)
                self.globals[data.attribute]._use(area)

    def close(self) -> None:
        """Unload; harmless if nothing is loaded."""
        if self._loader is not None:
            for section in self.globals.values():
                section._use(None)
            self._loader.close()
        self._loader = self.backend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def read_source(source: Source, btf: Btf | None = None) -> tuple[bytes, str]:
    """(bytes, file name) of what `Object.open` was given."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), ""
    if isinstance(source, str | os.PathLike):
        return file_bytes(source, btf), os.fspath(source)
    name = getattr(source, "name", "")
    return source.read(), name if isinstance(name, str) else ""


def file_bytes(path: str | os.PathLike[str], btf: Btf | None = None) -> bytes:
    """The object file at `path`, or made from the source at `path` for the kernel of `btf`."""
    maker = MAKERS.get(Path(path).suffix)
    if maker is None:
        return Path(path).read_bytes()
    made = importlib.import_module(maker).object_bytes(path, btf=btf)
    assert isinstance(made, bytes)
    return made
