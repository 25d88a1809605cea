"""Static probes of user-space programs: USDT notes (tools/lib/bpf/usdt.c).

A probe is a note in section `.note.stapsdt`: an address, the address that `.stapsdt.base` had when
the note was written (a prelinker moves both), a semaphore that counts users, and where the
arguments are. Everything is resolved to offsets in the file, on any machine, without running it.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from anybpf.errors import LoadError
from anybpf.libbpf import log, usdt_args
from anybpf.libbpf.elf_image import ET_DYN, ET_EXEC, ElfImage, Note
from anybpf.libbpf.uprobe import image_of
from anybpf.libbpf.usdt_args import Arg

NOTES, BASE = ".note.stapsdt", ".stapsdt.base"
OWNER, NOTE_TYPE = "stapsdt", 3
SECTION_NAME = re.compile(r"usdt(?:\.s)?/([^:]+):([^:]+):([^:]+)$")

Source = str | os.PathLike[str] | bytes | ElfImage


class UsdtNote(NamedTuple):
    """A note as it stands in the file: addresses, and the text of the arguments."""

    provider: str
    name: str
    args: str
    address: int
    base: int
    semaphore: int


class UsdtProbe(NamedTuple):
    """A probe's place: `offset` in the file (where a uprobe goes), `address` in the image.

    `semaphore` is the file offset of its user counter, 0 if it has none.
    """

    provider: str
    name: str
    offset: int
    address: int
    semaphore: int
    args: tuple[Arg, ...]
    args_text: str


class UsdtTarget(NamedTuple):
    """What `SEC("usdt/path:provider:name")` asks for."""

    binary: str
    provider: str
    name: str


def parse_section(section: str) -> UsdtTarget | None:
    """The target in a section's name, None if it names none. Raises BpfError (EINVAL)."""
    if "/" not in section:
        return None
    found = SECTION_NAME.match(section)
    if found is None:
        log.fail(errno.EINVAL, f"invalid section '{section}', expected "
                               'SEC("usdt/<path>:<provider>:<name>")')
    return UsdtTarget(*found.groups())


def notes(source: Source) -> list[UsdtNote]:
    """All USDT notes of a file, in order. Raises LoadError, OSError."""
    image = source if isinstance(source, ElfImage) else image_of(source)
    section = image.find(NOTES)
    if section is None:
        return []
    return [_parse(image, note) for note in image.notes(section)
            if note.owner == OWNER and note.type == NOTE_TYPE]


def _parse(image: ElfImage, note: Note) -> UsdtNote:
    """Three addresses and three strings."""
    layout = ("<" if image.byteorder == "little" else ">") + ("3Q" if image.bits == 64 else "3I")
    size = struct.calcsize(layout)
    if len(note.data) < size:
        raise LoadError("note is too short", NOTES, note.offset)
    address, base, semaphore = struct.unpack_from(layout, note.data)
    texts = note.data[size:].split(b"\0")
    if len(texts) < 4 or not texts[0] or not texts[1]:
        raise LoadError("note has no three strings", NOTES, note.offset)
    provider, name, args = (t.decode("utf-8", "backslashreplace") for t in texts[:3])
    return UsdtNote(provider, name, "" if args == ":" else args, address, base, semaphore)


def probes(source: Source, provider: str | None = None,
           name: str | None = None) -> list[UsdtProbe]:
    """The probes of a file, all or those of a provider and name, with their places.

    Raises BpfError: EINVAL and ESRCH for notes that lead nowhere, E2BIG for too many arguments;
    LoadError, OSError, NotSupported (arguments on a machine that is not known).
    """
    image = source if isinstance(source, ElfImage) else image_of(source)
    if image.type not in (ET_EXEC, ET_DYN):
        raise LoadError(f"usdt: unsupported type of ELF binary ({image.type}), only ET_EXEC and "
                        "ET_DYN are supported", offset=16)
    return list(_places(image, [n for n in notes(image) if provider in (None, n.provider)
                                and name in (None, n.name)]))


def _places(image: ElfImage, found: list[UsdtNote]) -> Iterator[UsdtProbe]:
    base = image.find(BASE)
    for note in found:
        move = base.address - note.base if base is not None and note.base else 0
        address = note.address + move
        yield UsdtProbe(note.provider, note.name, _code(image, note, address), address,
                        _counter(image, note, note.semaphore + move if note.semaphore else 0),
                        usdt_args.parse(note.args, image.machine), note.args)


def _code(image: ElfImage, note: UsdtNote, address: int) -> int:
    where = f"'{note.provider}:{note.name}'"
    segment = image.segment_of(address)
    if segment is None:
        log.fail(errno.ESRCH, f"usdt: failed to find ELF program segment for {where} at IP "
                              f"0x{address:x}")
    if not segment.is_executable:
        log.fail(errno.ESRCH, f"usdt: matched ELF binary segment [0x{segment.start:x}, "
                              f"0x{segment.end:x}) for {where} at IP 0x{address:x} is not "
                              "executable")
    return segment.file_offset(address)


def _counter(image: ElfImage, note: UsdtNote, address: int) -> int:
    if not address:
        return 0
    where = f"'{note.provider}:{note.name}'"
    segment = image.segment_of(address)
    if segment is None:
        log.fail(errno.ENOENT, "usdt: failed to find ELF loadable segment with semaphore of "
                               f"{where} at 0x{address:x}")
    if segment.is_executable:
        log.fail(errno.ESRCH, f"usdt: matched ELF binary segment [0x{segment.start:x}, "
                              f"0x{segment.end:x}] for semaphore of {where} at 0x{address:x} is "
                              "executable")
    return segment.file_offset(address)
