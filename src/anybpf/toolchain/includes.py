"""Which files a C source includes, and which names it uses (scripts/basic/fixdep.c).

There is no preprocessor here: an `#include` inside `#if 0` counts, too, so the answer may be too
many files or names, never too few.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)
#: comments and strings; one that does not end takes the rest, so that the search is linear
_NOISE = re.compile(r'/\*.*?(?:\*/|\Z)|//[^\n]*|"(?:\\.|[^"\\\n])*"?', re.DOTALL)
_TAG = re.compile(r"\b(?:struct|union|enum)\s+(\w+)")
_WORD = re.compile(r"\b[A-Za-z_]\w*")
#: a source with more files than this includes itself in circles of new names
MAX_FILES = 1000
#: bytes of a file that are looked at: no source is longer
MAX_SIZE = 32 << 20


class Reached(NamedTuple):
    """What following the includes found."""

    files: list[Path]               #: the source first, then what it includes
    missing: set[str]               #: names of included files that are in none of the folders


class Names(NamedTuple):
    """Identifiers of a source: all of them, and those after struct, union or enum."""

    words: set[str]
    tags: set[str]


def reached(source: Path, folders: Sequence[Path]) -> Reached:
    """Follow `source`'s includes through its own folder and `folders`."""
    found, missing = [source], set()
    for file in found:
        for quoted, angled in _INCLUDE.findall(read(file)):
            first = [file.parent] if quoted else []
            name = quoted or angled
            path = locate(name, [*first, *folders])
            if path is None:
                missing.add(name)
            elif path not in found and len(found) < MAX_FILES:
                found.append(path)
    return Reached(found, missing)


def locate(name: str, folders: Sequence[Path]) -> Path | None:
    return next((f / name for f in folders if (f / name).is_file()), None)


def read(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(MAX_SIZE).decode("utf-8", "replace")


def names_in(text: str) -> Names:
    """The identifiers of C text, without comments and strings."""
    code = _NOISE.sub(" ", _INCLUDE.sub("", text))
    return Names(set(_WORD.findall(code)), set(_TAG.findall(code)))
