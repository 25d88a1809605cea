"""Listings of objects that other people wrote: llvm-objdump's text and ours, both ways."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import which

import pytest

from anybpf.isa import llvm
from anybpf.isa.asm import assemble
from anybpf.isa.insn import Insn, decode, slots
from anybpf.libbpf.elf import ElfFile
from conftest import LIBXDP, LIRC

OBJECTS = sorted([*LIBXDP.glob("*.o"), *LIRC.glob("*.o")])
OBJDUMP = which("llvm-objdump-19")

pytestmark = pytest.mark.skipif(OBJDUMP is None, reason="llvm-19 is not installed")
installed = pytest.mark.parametrize(
    "path", OBJECTS or [pytest.param(None, marks=pytest.mark.skip("no libxdp1, no ir-keytable"))],
    ids=lambda path: path.stem if path else "none",
)  # fmt: skip


def listings(path: Path) -> dict[str, list[str]]:
    """Section name -> lines of instructions."""
    command = [OBJDUMP, "-d", "--mcpu=v4", path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^Disassembly of section (.*):\n", text, flags=re.MULTILINE)[1:]
    wanted = re.compile(r"\s+\d+:\t.*")
    return {
        name: [line for line in body.splitlines() if wanted.fullmatch(line)]
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def code_of(path: Path) -> dict[str, list[Insn]]:
    elf = ElfFile(path.read_bytes())
    sections = [s for s in elf.sections if s.is_code and s.size]
    return {s.name: decode(bytes(s.data), elf.byteorder) for s in sections}


@installed
def test_objdump_and_we_write_the_same(path):
    printed, code = listings(path), code_of(path)
    assert printed.keys() == code.keys()
    for name, insns in code.items():
        lines = [re.sub(r" <.*>", "", line.split("\t", 2)[2]) for line in printed[name]]
        padded = [*insns, Insn(0)]
        ours = [llvm.text(x, padded[i + 1], hexadecimal=True) for i, x in slots(insns)]
        # calls are told apart here, and are not there
        assert [x for x in ours if "call" not in x] == [x for x in lines if "call" not in x]


@installed
def test_objdumps_listing_assembles_to_the_objects_bytes(path):
    code = code_of(path)
    for name, lines in listings(path).items():
        assert assemble("\n".join(lines)) == code[name]


@installed
def test_source_text_of_real_programs_comes_back(path):
    for insns in code_of(path).values():
        text = list(llvm.source(insns))
        assert assemble("\n".join(text)) == insns
        assert not any(".insn" in line for line in text)


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
@pytest.mark.parametrize("arch", ["bpfel", "bpfeb"])
def test_every_cpu_version_and_byte_order(build, arch, cpu):
    path = build("features.bpf.c", arch=arch, cpu=cpu)
    code = code_of(path)
    assert sum(map(len, code.values())) > 50
    for name, lines in listings(path).items():
        assert assemble("\n".join(lines)) == code[name]
        assert assemble("\n".join(llvm.source(code[name]))) == code[name]
