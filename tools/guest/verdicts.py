"""What the guest says of the programs of an object, one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from anybpf.errors import BpfError, LoadError, NotSupported, VerifierError
from anybpf.libbpf import Object
from guest.backend import Guest


class Said(NamedTuple):
    """A program's verdict: `OK` or an errno's name, and the verifier's log (or our reason)."""

    program: str
    section: str
    verdict: str
    log: str


def programs(path: str | os.PathLike[str]) -> list[str]:
    """The names of an object's programs. Raises LoadError."""
    return list(Object.open(path).programs)


def ask(guest: Guest, path: str | os.PathLike[str], program: str, level: int) -> Said:
    """Load the object with that program alone."""
    found = Object.open(path)
    for name, other in found.programs.items():
        other.autoload = name == program
    chosen = found.programs[program]
    verdict, log = "OK", ""
    try:
        with found.load(guest, log_level=level):
            log = chosen.log
    except VerifierError as e:
        verdict, log = e.name, e.log
    except BpfError as e:
        verdict, log = e.name, e.log or str(e)
    except (LoadError, NotSupported) as e:
        verdict, log = "not asked", str(e)
    return Said(program, chosen.spec.section, verdict, log)


def ask_all(guest: Guest, path: str | os.PathLike[str], level: int = 1) -> Iterator[Said]:
    """Every program of an object."""
    for name in programs(path):
        yield ask(guest, path, name, level)
