"""vmlinux.h: a kernel's types for C programs (tools/bpf/bpftool/btf.c, dump format c).

The whole header of a kernel is megabytes and takes seconds to write, so it is kept in the user's
cache, by a hash of the BTF. The slim one has what one source needs and is made in an instant.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from anybpf.btf import dump, kernel
from anybpf.btf import types as t
from anybpf.btf.parse import MAX_DEPTH, SECTION, Btf
from anybpf.errors import LoadError
from anybpf.toolchain.headers import INCLUDE
from anybpf.toolchain.includes import Names, names_in, reached, read

NAME = "vmlinux.h"
#: part of the name of cached headers: another text for the same BTF needs another number
FORMAT = 1
#: it declares helpers' arguments, whose structs a source need not have
DECLARATIONS = INCLUDE / "bpf" / "bpf_helper_defs.h"


def load(path: str | None = None) -> Btf:
    """The BTF in a file, or the running kernel's, saying what to do if there is none."""
    if path is not None and path != "vmlinux":
        return kernel.load_vmlinux(path)
    try:
        return kernel.load_vmlinux()
    except LoadError as error:
        what = f"{error.message}; {NAME} needs the BTF of some kernel: choose a file with --btf"
        raise LoadError(what) from None


def cached(btf: Btf | None, spare: Path) -> Path:
    """A folder with the whole vmlinux.h of `btf` (None: of the running kernel).

    In the user's cache if that can be written, else in `spare`.
    """
    from platformdirs import user_cache_path

    chosen = load() if btf is None else btf
    digest = hashlib.sha256(chosen.to_bytes()).hexdigest()[:20]
    folder = user_cache_path("anybpf") / "vmlinux" / f"{digest}-{FORMAT}"
    if (folder / NAME).is_file():
        return folder
    text = dump.dump_c(chosen)
    for place in (folder, spare):
        try:
            return write(place, text)
        except OSError as error:
            failed = error
    raise failed


def write(folder: Path, text: str) -> Path:
    """Put the header into `folder`, all at once: another process may be looking for it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{NAME}.{os.getpid()}"
    part.write_text(text, "utf-8")
    part.replace(folder / NAME)
    return folder


def slim(btf: Btf, source: Path, folders: list[Path]) -> str:
    """A vmlinux.h with the types that `source` and the files that it includes name.

    Types that it can reach through members that it names are whole, others are declared only.
    """
    names = names_used(source, [*folders, INCLUDE])
    return dump.dump_c(btf, sorted(Needs(btf, names).find()))


def names_used(source: Path, folders: list[Path]) -> Names:
    words: set[str] = set()
    tags: set[str] = set()
    for file in reached(source, folders).files:
        found = names_in(read(file))
        words |= found.words
        tags |= set() if file == DECLARATIONS else found.tags
    return Names(words, tags)


class Needs:
    """Finds the types of a BTF that C text with certain names needs."""

    def __init__(self, btf: Btf, names: Names) -> None:
        self.btf = btf
        self.names = names
        self.found: set[int] = set()

    def find(self) -> set[int]:
        """The ids of the types to dump."""
        self.found = set()
        waiting = [*self._named(), *self._enumerations()]
        while waiting:
            one = waiting.pop()
            if one and one not in self.found:
                self.found.add(one)
                waiting += self._leads_to(self.btf.type(one))
        return self.found

    def _named(self) -> Iterator[int]:
        for name in self.names.words:
            for type_id in self.btf.find_all(name):
                made = self.btf.type(type_id)
                is_tag = isinstance(made, t.Composite | t.AnyEnum | t.Fwd)
                if isinstance(made, t.Typedef) or (is_tag and name in self.names.tags):
                    yield type_id

    def _enumerations(self) -> Iterator[int]:
        """Enumerations with a value that the text names."""
        for type_id in range(1, len(self.btf)):
            if self.btf.kind(type_id) in (t.Enum.kind, t.Enum64.kind):
                made = self.btf.type(type_id)
                assert isinstance(made, t.AnyEnum)
                if any(value.name in self.names.words for value in made.values):
                    yield type_id

    def _leads_to(self, made: t.Type) -> Iterator[int]:
        """The structs inside a type, and those behind pointers whose members the text names."""
        if isinstance(made, t.Composite):
            for member in made.members:
                yield from self._struct_of(member.type, not member.name
                                           or member.name in self.names.words)
        elif isinstance(made, t.Typedef):
            yield from self._struct_of(made.type, True)

    def _struct_of(self, type_id: int, is_followed: bool) -> Iterator[int]:
        """The struct that a type is, is an array of or, if `is_followed`, points to."""
        for _ in range(MAX_DEPTH):
            type_id = self.btf.resolve(type_id)
            made = self.btf.type(type_id)
            if isinstance(made, t.Composite):
                yield type_id
            if not (isinstance(made, t.Array) or (isinstance(made, t.Ptr) and is_followed)):
                return
            type_id = made.type
        raise LoadError("types are nested too deeply", SECTION, self.btf.offset_of(type_id))
