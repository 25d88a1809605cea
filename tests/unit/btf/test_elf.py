"""Finding a section: four shapes of file, and broken ones."""

from __future__ import annotations

import pytest

from anybpf.btf.elf import find_section
from anybpf.errors import LoadError
from objects.imagebuild import SHAPES, ImageBuilder, Shape


def image(shape: Shape = (64, "<")) -> bytes:
    made = ImageBuilder(shape)
    made.section(".BTFX", b"other")
    made.section(".BTF", b"types")
    made.section(".bss", b"", kind=8)
    return made.to_bytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_by_name(shape: Shape) -> None:
    assert find_section(image(shape), ".BTF") == b"types"
    assert find_section(image(shape), ".bss") == b""
    assert find_section(image(shape), ".BT") is None


@pytest.mark.parametrize("shape", SHAPES)
def test_broken_files(shape: Shape) -> None:
    data = image(shape)
    for end in range(len(data)):
        with pytest.raises(LoadError):
            find_section(data[:end], ".bss")
    for at in range(len(data)):
        for value in (0, 0xFF):
            try:
                found = find_section(data[:at] + bytes([value]) + data[at + 1:], ".BTF")
            except LoadError:
                continue
            assert found is None or len(found) <= len(data)


def test_no_sections() -> None:
    made = bytearray(image())
    made[40:48] = bytes(8)
    assert find_section(bytes(made), ".BTF") is None
