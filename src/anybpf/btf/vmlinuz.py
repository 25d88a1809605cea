"""The kernel's ELF file inside a compressed kernel image (scripts/extract-vmlinux).

A bzImage or arm64 Image.gz is some boot code and then vmlinux, compressed by one of several
programs. Where it begins is found by the program's magic; a hit that does not decompress to an ELF
file was a coincidence.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, cast

from anybpf.btf import lz
from anybpf.errors import LoadError, NotSupported

ELF_MAGIC = b"\x7fELF"
#: coincidences per compression, and bytes of vmlinux, before the image is called hostile
MAX_HITS, MAX_SIZE = 64, 1 << 30
STEP = 1 << 16
#: what the standard decompressors raise for data that is not theirs
BROKEN = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class Decompressor(Protocol):
    """What zlib, lzma and bz2 have in common."""

    def decompress(self, data: bytes, /) -> bytes: ...


#: from the compressed bytes on to what they hold, piece by piece
Unpack = Callable[[memoryview], Iterator[bytes]]


class Compression(NamedTuple):
    """A compression program: its magic, and how to undo it (None: Python cannot)."""

    name: str
    magic: bytes
    unpack: Unpack | None


def _by(make: Callable[[], Decompressor]) -> Unpack:
    """Unpacking with one of Python's decompressors."""

    def unpack(data: memoryview) -> Iterator[bytes]:
        machine = make()
        for at in range(0, len(data), STEP):
            yield machine.decompress(bytes(data[at : at + STEP]))
            if getattr(machine, "eof", False):
                return

    return unpack


def _zstd() -> Unpack | None:
    """zstd is in Python's own library since 3.14, or in the `zstandard` package."""
    for module, make in (("compression.zstd", _own_zstd), ("zstandard", _package_zstd)):
        try:
            return _by(make(importlib.import_module(module)))
        except ImportError:
            continue
    return None


def _own_zstd(module: Any) -> Callable[[], Decompressor]:
    return lambda: cast(Decompressor, module.ZstdDecompressor())


def _package_zstd(module: Any) -> Callable[[], Decompressor]:
    return lambda: cast(Decompressor, module.ZstdDecompressor().decompressobj())


def compressions() -> tuple[Compression, ...]:
    """All that kernels are compressed with, in the order in which they are looked for."""
    return (
        Compression("gzip", b"\x1f\x8b\x08", _by(lambda: zlib.decompressobj(wbits=31))),
        Compression("xz", b"\xfd7zXZ\0", _by(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ))),
        Compression("bzip2", b"BZh", _by(lambda: bz2.BZ2Decompressor())),
        Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd()),
        Compression("lzma", b"\x5d\0\0\0", _by(lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE))),
        Compression("lzo", lz.LZO_MAGIC, lz.lzo_blocks),
        Compression("lz4", lz.LZ4_MAGIC, lz.lz4_blocks),
    )


def extract(image: bytes) -> bytes:
    """The vmlinux ELF file in a kernel image.

    Raises LoadError if there is none, NotSupported if it is compressed in a way that this Python
    cannot undo (zstd without the `zstandard` package before Python 3.14).
    """
    missing = ""
    for one in compressions():
        for at in hits(image, one.magic):
            if one.unpack is None:
                missing = missing or one.name
                break
            found = attempt(one.unpack, image, at)
            if found.startswith(ELF_MAGIC):
                return found
    if missing:
        raise NotSupported(f"kernel images compressed with {missing}")
    raise LoadError("no compressed kernel in the image")


def hits(image: bytes, magic: bytes) -> Iterator[int]:
    """Where the magic occurs, the first so many times."""
    at = image.find(magic)
    for _ in range(MAX_HITS):
        if at < 0:
            return
        yield at
        at = image.find(magic, at + 1)


def attempt(unpack: Unpack, image: bytes, at: int) -> bytes:
    """What decompresses from `at` on, b"" if that is no ELF file or breaks off in error."""
    out = bytearray()
    try:
        for part in unpack(memoryview(image)[at:]):
            out += part
            if len(out) > MAX_SIZE or (len(out) >= 4 and not out.startswith(ELF_MAGIC)):
                return b""
    except BROKEN:
        return b""
    except Exception as e:
        if type(e).__name__ != "ZstdError":
            raise
        return b""
    return bytes(out)
