"""Where CO-RE looks for a type: the kernel's BTF, then its modules' (bpf_core_find_cands).

A candidate has the wanted type's name, flavours on either side left out, and its kind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from anybpf.btf.parse import Btf
from anybpf.btf.relo_spec import bad, compatible_kinds, essential_name, type_text

log = logging.getLogger("anybpf.libbpf")
SEPARATOR = b"___"
#: bytes of a name before its flavour; the kernel's names are far shorter (KSYM_NAME_LEN)
MAX_NAME = 512

Modules = Sequence[tuple[str, Btf]]
#: name without flavour -> ids of the types that have it with one, for each BTF's own types
_FLAVOURED: WeakKeyDictionary[Btf, dict[str, list[int]]] = WeakKeyDictionary()


class Candidate(NamedTuple):
    """A type that may be the wanted one; `origin` is `vmlinux` or the module's name."""

    btf: Btf
    id: int
    origin: str


def no_modules() -> Modules:
    return ()


@dataclass(eq=False)
class Target:
    """The BTF of the kernel that a program is made for.

    `modules` is asked once, and only if a type is not in `btf`: (name, split BTF) of each module.
    """

    btf: Btf
    modules: Callable[[], Modules] = no_modules
    _loaded: Modules | None = field(default=None, repr=False)

    def loaded_modules(self) -> Modules:
        if self._loaded is None:
            self._loaded = self.modules()
        return self._loaded

    def candidates(self, local: Btf, type_id: int) -> list[Candidate]:
        """All candidates for a type of the object. Raises CoreError for one without a name."""
        name = essential_name(local.type(type_id).name) if type_id else ""
        if not name:
            raise bad("types without a name have no candidates")
        found = list(self._in(self.btf, "vmlinux", local, type_id, name))
        if found:
            return found
        return [c for origin, btf in self.loaded_modules()
                for c in self._in(btf, origin, local, type_id, name)]

    def _in(self, btf: Btf, origin: str, local: Btf, type_id: int,
            name: str) -> Iterator[Candidate]:
        kind = local.kind(type_id)
        for found in named(btf, name):
            if compatible_kinds(btf.kind(found), kind):
                log.debug("CO-RE relocating [%d] %s %s: found target candidate [%d] %s %s in [%s]",
                          type_id, type_text(local, type_id), local.type(type_id).name,
                          found, type_text(btf, found), btf.type(found).name, origin)
                yield Candidate(btf, found, origin)


def named(btf: Btf, name: str) -> list[int]:
    """The BTF's own types called `name`, with or without a flavour, in order."""
    known = _FLAVOURED.get(btf)
    if known is None:
        known = _FLAVOURED[btf] = _flavoured(btf)
    plain = (i for i in btf.find_all(name) if i >= btf.start_id and essential_name(name) == name)
    return sorted({*plain, *known.get(name, ())})


def _flavoured(btf: Btf) -> dict[str, list[int]]:
    """Types whose name has a flavour. A name may begin inside a longer string of the table."""
    found: dict[str, list[int]] = {}
    offsets = btf.name_ids
    for spot in sorted(_spots(btf) & offsets.keys()):
        full = btf.string(spot)
        name = essential_name(full)
        if name != full:
            found.setdefault(name, []).extend(offsets[spot])
    return found


def _spots(btf: Btf) -> set[int]:
    """Offsets of strings, and of their ends, that have the separator in them."""
    spots = _spots(btf.base) if btf.base else set()
    strings, base, done = btf.strings, btf.start_str, 0
    at = strings.find(SEPARATOR)
    while at >= 0:
        floor = max(at - MAX_NAME, done)
        first = max(strings.rfind(b"\0", floor, at) + 1, floor)
        spots.update(range(base + first, base + at + 1))
        done = at + 1
        at = strings.find(SEPARATOR, done)
    return spots
