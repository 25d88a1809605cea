"""What the guest says of the programs of an object, one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf import Object
from anybpf.libbpf.object import file_bytes
from guest.backend import Guest


class Said(NamedTuple):
    """A program's verdict: `OK` or an errno's name, and the verifier's log (or our reason)."""

    program: str
    section: str
    verdict: str
    log: str


class Programs:
    """The programs of an object, or of a C source, which is compiled for the guest's types."""

    def __init__(self, guest: Guest, path: str | os.PathLike[str]) -> None:
        """Raises LoadError, CompileError, OSError."""
        self._guest = guest
        self._types = Btf(guest.kernel_btf())
        self._name = Path(path).name.partition(".")[0]
        self._data = file_bytes(path, self._types)
        self.names = list(self._open().programs)

    def _open(self) -> Object:
        return Object.open(self._data, name=self._name, btf=self._types)

    def ask(self, program: str, level: int = 1) -> Said:
        """Load the object with that program alone."""
        found = self._open()
        for name, other in found.programs.items():
            other.autoload = name == program
        chosen = found.programs[program]
        verdict, log = "OK", ""
        try:
            with found.load(self._guest, log_level=level):
                log = chosen.log
        except BpfError as e:
            verdict, log = e.name, e.log or str(e)
        except (LoadError, NotSupported) as e:
            verdict, log = "not asked", str(e)
        return Said(program, chosen.spec.section, verdict, log)

    def ask_all(self, level: int = 1) -> Iterator[Said]:
        """Every program by itself."""
        return (self.ask(name, level) for name in self.names)
