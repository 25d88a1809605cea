"""What the macros of the shipped headers mean, seen in programs compiled with them."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from anybpf import toolchain
from anybpf.errors import VerifierError
from anybpf.isa import reference
from anybpf.isa.insn import ByteOrder, Insn
from anybpf.libbpf import Object
from anybpf.toolchain import headers
from conftest import OBJECTS, Build
from unit.toolchain.compilers import COMPILERS

PROBE_READ_KERNEL = 113
MINUS = 1 << 64

#: machine -> bytes into the context of four arguments, the result, and where a call's begin
REGISTERS = {
    "x86": ([112, 104, 96, 88], 80),
    "arm64": ([0, 8, 16, 24], 0),
    "arm": ([0, 8, 16, 24], 0),
    "s390": ([40, 48, 56, 64], 40),
    "riscv": ([80, 88, 96, 104], 80),
    "powerpc": ([24, 32, 40, 48], 24),
    "mips": ([32, 40, 48, 56], 16),
    "loongarch": ([32, 40, 48, 56], 32),
}


@pytest.fixture(scope="module")
def meaning(build: Build) -> Path:
    return build("meaning.bpf.c")


def test_swaps(meaning: Path, backend: Any) -> None:
    with Object.open(meaning).load(backend) as obj:
        assert obj.programs["endian"].test_run().retval == 1
        assert (obj.bss.swapped16, obj.bss.swapped32) == (0x2211, 0x44332211)
        assert obj.bss.swapped64 == 0x8877665544332211
        assert obj.bss.swapped64_back == 0x1122334455667788


def test_printing(meaning: Path, backend: Any) -> None:
    expected = "seven -7 7 77777777777"
    with Object.open(meaning).load(backend) as obj:
        obj.programs["print"].test_run()
        assert (obj.bss.text, obj.bss.text_length) == (expected, len(expected) + 1)
        assert obj.bss.printed == 1
        if backend.name == "machine":
            assert [line.text for line in backend.take_trace()] == [
                "none", "three 1 2 3", "five 1 2 3 4 5"]


def test_named_arguments(meaning: Path, backend: Any) -> None:
    with Object.open(meaning).load(backend) as obj:
        context = struct.pack("<4q", 0x1FF, -5, 0x1000, -9)
        obj.programs["named"].test_run(ctx=context)
        assert list(obj.bss.words)[:4] == [0xFF, MINUS - 5, 0x1000, MINUS - 9]


def test_structs_as_arguments(meaning: Path, backend: Any) -> None:
    with Object.open(meaning).load(backend) as obj:
        context = struct.pack("<QQQIIq", 0x1FF, 7, 8, 9, 10, -3)
        obj.programs["structs"].test_run(ctx=context)
        assert list(obj.bss.words) == [0xFF, 7, 8, 9, 10, MINUS - 3]


@pytest.mark.parametrize(("name", "result"), [("jump", 42), ("jump_into_nothing", 7)])
def test_tail_calls(meaning: Path, backend: Any, name: str, result: int) -> None:
    with Object.open(meaning).load(backend) as obj:
        assert obj.programs[name].test_run(data=bytes(64)).retval == result


def test_functions_and_maps(meaning: Path, backend: Any) -> None:
    with Object.open(meaning).load(backend) as obj:
        assert obj.programs["calls"].test_run().retval == (3 + 4) * 10 + 3
        assert obj.programs["nested"].test_run().retval == 1
        assert (obj.maps["first"][0], obj.maps["second"][0]) == (0, 11)
        points = obj.maps["points"]
        assert (points.max_entries, points.key_size, points.value_size) == (64, 4, 8)
        assert points.spec.flags == 1
        points[5] = {"x": 1, "y": 2}
        assert points[5] == {"x": 1, "y": 2}


@pytest.mark.kernel
def test_loops(build: Build, linux: Any) -> None:
    obj = Object.open(build("loops.bpf.c"))
    try:
        obj.load(linux)
    except VerifierError as error:
        pytest.skip(f"this kernel has no iterators or no may_goto: {error}")
    with obj:
        obj.programs["iterators"].test_run()
        assert (obj.bss.rounds, obj.bss.repeated, obj.bss.items) == (sum(range(3, 10)), 6, 6)
        assert obj.programs["conditional"].test_run().retval == sum(range(20)) + 5 * 1000


def code(program: Any) -> list[tuple[int, int]]:
    """(source register, offset) of the loads of 64 bits."""
    return [(i.src, i.off) for i in program.instructions if i.code == 0x79]


@pytest.mark.parametrize("machine", list(REGISTERS))
def test_registers(build: Build, machine: str) -> None:
    """Where each machine's context has a function's arguments and its result."""
    path = build("registers.bpf.c", options=(f"-D__TARGET_ARCH_{machine}",))
    programs = Object.open(path).programs
    arguments, result = REGISTERS[machine]
    assert [off for _, off in code(programs["entry"])] == arguments
    assert code(programs["result"]) == [(1, result)]
    assert code(programs["call"])                           # six arguments, two ways


def test_no_machine_no_registers(tmp_path: Path) -> None:
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    source = OBJECTS / "registers.bpf.c"
    with pytest.raises(toolchain.CompileError, match="say whose registers these are"):
        toolchain.compile_file(source, tmp_path / "x.o", options=("-D__TARGET_ARCH_pdp11",))


VALUES = [5, 17, -200, 3_000_000, 0xAB_CDEF_0123, 0x456789]
SIGNED = [False, False, True, True, False, False]


def bitfields(insns: Sequence[Insn], data: bytearray, byteorder: ByteOrder) -> int:
    """Run a program of bitfields.bpf.c on a struct and the words 64 bytes after it."""
    memory = reference.Memory()
    context = memory.add("ctx", data)

    def probe_read(to: int, size: int, at: int, *_: int) -> int:
        memory.write(to, memory.read(at, size))
        return 0

    return reference.run(insns, memory=memory, args=[context], byteorder=byteorder,
                         helpers={PROBE_READ_KERNEL: probe_read})


@pytest.mark.parametrize("arch", ["bpfel", "bpfeb"])
@pytest.mark.parametrize("reader", ["read_probed", "read_direct"])
def test_bitfields(build: Build, arch: str, reader: str) -> None:
    """What is written is read, in both byte orders, and neighbours stay as they are.

    (The program runs as compiled: without a loader, fields are where its own struct has them.)
    """
    byteorder: ByteOrder = "little" if arch == "bpfel" else "big"
    programs = Object.open(build("bitfields.bpf.c", arch=arch)).programs
    mark = "<" if byteorder == "little" else ">"
    data = bytearray(112)
    struct.pack_into(f"{mark}6Q", data, 64, *(v % MINUS for v in VALUES))
    for _ in range(2):                                      # over zeroes, over old values
        bitfields(programs["write"].instructions, data, byteorder)
    assert any(data[:16])
    assert not any(data[18:64])
    struct.pack_into(f"{mark}h", data, 16, -2)
    data[64:] = bytes(48)
    assert bitfields(programs[reader].instructions, data, byteorder) % 2**32 == 2**32 - 2
    got = struct.unpack_from(f"{mark}6Q", data, 64)
    assert [v - MINUS if s and v >> 63 else v for v, s in zip(got, SIGNED, strict=True)] == VALUES


def test_core_relocations(build: Build) -> None:
    """The names, kinds and access paths that the loader is given."""
    obj = Object.open(build("core_macros.bpf.c"))
    [program] = obj.programs.values()
    kinds = [relo.kind for relo in program.spec.core_relos]
    assert sorted(set(kinds)) == [0, 1, 2, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.kernel
def test_reading_this_process(build: Build, linux: Any) -> None:
    """The same facts through the kernel's structs and from the system."""
    with Object.open(build("current.bpf.c")).load(linux) as obj:
        assert obj.programs["current"].test_run(ctx=bytes(8)).retval == 0
        tgid = obj.bss.tgid_said
        assert (obj.bss.tgid, obj.bss.tgid_direct) == (tgid, tgid)
        if tgid == os.getpid():                             # no PID namespace in between
            assert obj.bss.parent == os.getppid()
        assert obj.bss.inode == os.stat("/proc/self/exe").st_ino
        assert obj.bss.comm == Path("/proc/self/comm").read_text().strip()
        assert list(obj.bss.answers) == [1, 0, 16, 1, 0, 1, 1, 0]


EXAMPLES = OBJECTS.parents[1] / "examples"


@pytest.mark.parametrize("source", [OBJECTS / "core_macros.bpf.c", OBJECTS / "legacy.bpf.c",
                                    *sorted(EXAMPLES.glob("*.bpf.c"))], ids=lambda p: p.name)
def test_the_same_as_with_libbpf(tmp_path: Path, source: Path) -> None:
    """Instructions and maps do not depend on whose headers a program was compiled with."""
    installed = headers.installed_libbpf()
    if installed is None:
        pytest.skip("libbpf's headers are not installed")
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    ours, theirs = (
        Object.open(toolchain.compile_file(source, tmp_path / "x.o", options=options, prefer="own"))
        for options in ([], ["-isystem", str(installed)]))
    assert {n: p.instructions for n, p in ours.programs.items()} == {
        n: p.instructions for n, p in theirs.programs.items()}
    for name, made in ours.maps.items():
        other = theirs.maps[name]
        assert (made.type, made.key_size, made.value_size, made.max_entries) == (
            other.type, other.key_size, other.value_size, other.max_entries)


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda c: c.name)
@pytest.mark.parametrize("arch", ["bpfel", "bpfeb"])
@pytest.mark.parametrize("source", ["meaning.bpf.c", "loops.bpf.c", "bitfields.bpf.c",
                                    "core_macros.bpf.c", "registers.bpf.c", "usdt.bpf.c"])
def test_every_compiler(tmp_path: Path, source: str, arch: str, compiler: Any) -> None:
    """No warning, and a well-formed object, from each compiler at hand for each byte order."""
    said: list[str] = []
    made = toolchain.compile_file(
        OBJECTS / source, tmp_path / "x.o", arch=arch, compiler=compiler, warn=said.append,
        options=["-D__TARGET_ARCH_x86"], prefer="own")
    assert said == []
    assert Object.open(made).programs
