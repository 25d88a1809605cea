"""Reading the files that the user names, whatever they turn out to be."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from anybpf.errors import LoadError

#: more bytes than any object, program text, packet or map file has; /dev/zero has no end
MAX_SIZE = 64 << 20


def read(path: str | Path, limit: int = MAX_SIZE) -> bytes:
    """All bytes of a file. LoadError if there are more than `limit`, OSError as open(2) says."""
    with open(path, "rb") as file:
        return read_all(file, limit)


def is_source(path: object) -> bool:
    """Whether the name is that of a C source, which stands for what it compiles to."""
    return isinstance(path, str | Path) and str(path).endswith(".c")


def object_bytes(path: str) -> bytes:
    """An object file's bytes; a C source (`.bpf.c`) is compiled first."""
    if not is_source(path):
        return read(path)
    from anybpf import toolchain

    return toolchain.object_bytes(path)


def read_all(file: IO[bytes], limit: int = MAX_SIZE) -> bytes:
    """The same of an open file, read piece by piece."""
    pieces: list[bytes] = []
    room = limit
    while piece := file.read(min(room + 1, 1 << 20)):
        room -= len(piece)
        if room < 0:
            error = LoadError(f"larger than {limit} bytes")
            error.name_file(file.name)
            raise error
        pieces.append(piece)
    return b"".join(pieces)
