"""Executables of four shapes; broken ones give LoadError and nothing else."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf import uprobe, usdt
from anybpf.libbpf.elf_image import SHT_DYNSYM, SHT_NOTE, ElfImage, Segment
from objects.imagebuild import SHAPES, ImageBuilder, Shape, usdt_note

PYTHON = Path("/usr/bin/python3.11")


def full(shape: Shape = (64, "<")) -> bytes:
    """A file with one of everything."""
    made = ImageBuilder(shape, segments=[Segment(0x1000, 0x100, 0x40, 5)])
    made.section(".text", b"code", address=0x1000, offset=0x40)
    made.symbols(SHT_DYNSYM, ("f", 0x1002, 2, 1, 1))
    made.versions([0, 2], {1: "lib", 2: "V"})
    made.section(".note.stapsdt", usdt_note(shape, 0x1004, 0, 0, "a", "b", "4@$1"), SHT_NOTE)
    return made.to_bytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts(shape: Shape) -> None:
    image = ElfImage(full(shape))
    assert (image.bits, image.byteorder) == (shape[0], "little" if shape[1] == "<" else "big")
    text = image.find(".text")
    assert text is not None
    assert image.contents(text) == full(shape)[0x40:0x44]
    assert image.segment_of(0x10FF) == Segment(0x1000, 0x100, 0x40, 5)
    assert image.segment_of(0x1100) is None
    (_, symbol) = image.symbols(SHT_DYNSYM)
    assert (symbol.name, symbol.value, symbol.version, symbol.section) == ("f", 0x1002, "V", 1)
    assert image.find("nothing") is None


@pytest.mark.parametrize(("data", "why"), [
    (b"", "not an ELF file"), (b"\x7fELF\3\1" + bytes(60), "unknown ELF class"),
    (b"\x7fELF\2\3" + bytes(60), "unknown ELF byte order 3"),
    (b"\x7fELF\2\1" + bytes(20), "ELF header lies outside the file"),
])
def test_what_is_no_executable(data: bytes, why: str) -> None:
    with pytest.raises(LoadError, match=why):
        ElfImage(data)


def use(data: bytes) -> None:
    """Everything that reads such a file; only typed errors come out."""
    try:
        image = ElfImage(data)
    except LoadError:
        return
    for act in (lambda: usdt.probes(image), lambda: uprobe.symbol_offset(image, "f@V")):
        try:
            act()
        except (LoadError, BpfError, NotSupported):
            continue


@pytest.mark.parametrize("shape", SHAPES)
def test_cut_anywhere(shape: Shape) -> None:
    data = full(shape)
    for end in range(len(data)):
        use(data[:end])


@pytest.mark.parametrize("shape", SHAPES)
def test_changed_anywhere(shape: Shape) -> None:
    data, chance = full(shape), random.Random(7)
    for at in range(len(data)):
        for value in (0, 0xFF, chance.randrange(256)):
            use(data[:at] + bytes([value]) + data[at + 1:])


def test_a_real_one_changed() -> None:
    if not PYTHON.is_file():
        pytest.skip(f"{PYTHON} is not installed")
    data, chance = bytearray(PYTHON.read_bytes()), random.Random(7)
    image = ElfImage(bytes(data))
    notes = image.find(".note.stapsdt")
    if notes is None:
        pytest.skip(f"{PYTHON} has no probes")
    for _ in range(12):
        at = notes.offset + chance.randrange(notes.size)
        kept, data[at] = data[at], chance.randrange(256)
        with contextlib.suppress(LoadError, BpfError, NotSupported):
            usdt.probes(bytes(data))
        data[at] = kept
