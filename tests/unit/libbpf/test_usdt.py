"""USDT probes: notes, where they lie in the file, semaphores."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf import elf_image as e
from anybpf.libbpf import usdt
from anybpf.libbpf.elf_image import Segment
from anybpf.libbpf.usdt_args import REG, Arg
from objects.imagebuild import SHAPES, ImageBuilder, Shape, usdt_note

CODE, DATA = Segment(0x1000, 0x1000, 0x400, 5), Segment(0x3000, 0x100, 0x1400, 6)
LIBRARIES = [Path("/usr/lib/x86_64-linux-gnu/libstdc++.so.6"), Path("/usr/bin/python3.11")]


def image(*notes: bytes, shape: Shape = (64, "<"), base: int | None = 0x5000, machine: int = 62,
          kind: int = e.ET_DYN) -> bytes:
    made = ImageBuilder(shape, machine, kind, [DATA, CODE])
    if base is not None:
        made.section(".stapsdt.base", b"\0", address=base)
    made.section(".note.stapsdt", b"".join(notes), e.SHT_NOTE)
    return made.to_bytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_probe(shape: Shape) -> None:
    found = usdt.probes(image(usdt_note(shape, 0x1010, 0x5000, 0x3004, "lib", "hit", "8@%rdi"),
                              shape=shape))
    assert found == [usdt.UsdtProbe("lib", "hit", 0x410, 0x1010, 0x1404,
                                    (Arg(8, False, REG, register=112),), "8@%rdi")]


def test_a_prelinked_library_has_moved() -> None:
    note = usdt_note((64, "<"), 0x10, 0x4000, 0x2004, "lib", "hit", "")
    (found,) = usdt.probes(image(note))
    assert (found.address, found.offset, found.semaphore, found.args) == (0x1010, 0x410, 0x1404, ())
    (other,) = usdt.probes(image(usdt_note((64, "<"), 0x1010, 0x4000, 0, "a", "b", ":"),
                                 base=None))
    assert (other.address, other.semaphore) == (0x1010, 0)


def test_choosing() -> None:
    notes = [usdt_note((64, "<"), 0x1000 + i, 0, 0, p, n, "")
             for i, (p, n) in enumerate((("a", "x"), ("a", "y"), ("b", "x")))]
    data = image(*notes)
    assert [p.offset for p in usdt.probes(data, "a")] == [0x400, 0x401]
    assert [p.offset for p in usdt.probes(data, name="x")] == [0x400, 0x402]
    assert usdt.probes(data, "b", "y") == []
    assert usdt.probes(ImageBuilder().to_bytes()) == []


@pytest.mark.parametrize(("note", "number", "why"), [
    ((0x9000, 0, 0), errno.ESRCH, "failed to find ELF program segment for 'a:b' at IP 0x9000"),
    ((0x3000, 0, 0), errno.ESRCH, "for 'a:b' at IP 0x3000 is not executable"),
    ((0x1000, 0, 0x9000), errno.ENOENT, "segment with semaphore of 'a:b' at 0x9000"),
    ((0x1000, 0, 0x1004), errno.ESRCH, "semaphore of 'a:b' at 0x1004 is executable"),
])
def test_probes_that_lead_nowhere(note: tuple[int, int, int], number: int, why: str) -> None:
    with pytest.raises(BpfError, match=re.escape(why)) as caught:
        usdt.probes(image(usdt_note((64, "<"), *note, "a", "b", "")))
    assert caught.value.errno == number


def test_broken_notes() -> None:
    good = usdt_note((64, "<"), 0x1000, 0, 0, "a", "b", "")
    with pytest.raises(LoadError, match="crosses the section's end"):
        usdt.probes(image(good[:-8]))
    with pytest.raises(LoadError, match="no three strings"):
        usdt.probes(image(usdt_note((64, "<"), 0x1000, 0, 0, "a")))
    with pytest.raises(LoadError, match="too short"):
        usdt.probes(image(usdt_note((32, "<"), 0x1000, 0, 0, "a", "b", "")))
    with pytest.raises(LoadError, match="unsupported type of ELF binary"):
        usdt.probes(image(good, kind=e.ET_REL))
    with pytest.raises(NotSupported, match="ELF machine 8"):
        usdt.probes(image(usdt_note((64, "<"), 0x1000, 0, 0, "a", "b", "4@x"), machine=8))


@pytest.mark.parametrize(("section", "target"), [
    ("usdt//usr/lib/libc.so.6:libc:setjmp", ("/usr/lib/libc.so.6", "libc", "setjmp")),
    ("usdt.s/python3:python:audit", ("python3", "python", "audit")), ("usdt", None)])
def test_sections(section: str, target: tuple[str, str, str] | None) -> None:
    assert usdt.parse_section(section) == target


@pytest.mark.parametrize("section", ["usdt/a:b", "usdt/a:b:c:d", "usdt/:b:c", "uprobe/a:b:c"])
def test_bad_sections(section: str) -> None:
    with pytest.raises(BpfError, match="expected SEC") as caught:
        usdt.parse_section(section)
    assert caught.value.errno == errno.EINVAL


NOTE = re.compile(r"Provider: (\S+)\s+Name: (\S+)\s+Location: (\S+), Base: (\S+), "
                  r"Semaphore: (\S+)\s+Arguments: ?(.*)")


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda p: p.name)
def test_as_readelf_says(path: Path) -> None:
    if not path.is_file() or shutil.which("readelf") is None:
        pytest.skip(f"{path} or readelf is not installed")
    text = subprocess.run(["readelf", "-n", path], capture_output=True, text=True).stdout
    said = [(*m.groups()[:2], *(int(x, 16) for x in m.groups()[2:5]), m[6])
            for m in NOTE.finditer(text)]
    mine = usdt.notes(path)
    assert said == [(n.provider, n.name, n.address, n.base, n.semaphore, n.args) for n in mine]
    assert len(usdt.probes(path)) == len(mine)
