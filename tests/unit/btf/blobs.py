"""BTF that the tests build, and real BTF that they find."""

from __future__ import annotations

import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf

VMLINUX = Path("/sys/kernel/btf/vmlinux")
XDP_OBJECTS = sorted(Path("/usr/lib").glob("*/bpf/xdp*.o"))


def every_kind() -> list[t.Type]:
    """One type of each kind, with sensible references; list index + 1 is the id."""
    return [
        t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED),
        t.Ptr(1),
        t.Array(1, 1, 3),
        t.Struct("s", 8, (t.Member("a", 1, 0), t.Member("b", 1, 32, 5)), kind_flag=True),
        t.Union("u", 8, (t.Member("a", 1, 0), t.Member("s", 4, 0))),
        t.Enum("e", 4, (t.EnumValue("MINUS", -1), t.EnumValue("ONE", 1)), signed=True),
        t.Fwd("f", is_union=True),
        t.Typedef("s_t", 4),
        t.Volatile(1),
        t.Const(9),
        t.Restrict(2),
        t.FuncProto(1, (t.Param("x", 2), t.Param("", 0))),
        t.Func("main", 12, uapi.BTF_FUNC_GLOBAL),
        t.Var("v", 4),
        t.Datasec(".bss", 8, (t.SecVar(14, 0, 8),)),
        t.Float("double", 8),
        t.DeclTag("tag", 4, 1),
        t.TypeTag("user", 1),
        t.Enum64("e64", 8, (t.EnumValue("BIG", 1 << 40), t.EnumValue("TOP", (1 << 64) - 1))),
    ]


def build(*types: t.Type, **options: object) -> Btf:
    """A parsed BTF of the given types, whose ids count from 1."""
    made = BtfBuilder(**options)  # type: ignore[arg-type]
    made.add_all(types)
    return made.build()


def overlapping(count: int, length: int) -> bytes:
    """A blob whose names are the ends of one long string."""
    data = bytearray(build(*(t.Int("", 4) for _ in range(count))).data)
    for i in range(count):
        struct.pack_into("<I", data, 24 + 16 * i, 1 + i % length)
    data += b"a" * length + b"\0"
    struct.pack_into("<I", data, 20, length + 2)
    return bytes(data)


def elf(sections: dict[str, bytes]) -> bytes:
    """A 64-bit little-endian ELF file of nothing but these sections."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    body, headers = bytearray(64), bytearray(64)
    for name, data in (*sections.items(), (".shstrtab", names)):
        kind = 3 if name == ".shstrtab" else 1
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        headers += struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, len(body), len(data), 0, 0, 1, 0)
        body += data
    ident = b"\x7fELF\2\1\1" + bytes(9)
    count = len(headers) // 64
    struct.pack_into("<16sHHIQQQIHHHHHH", body, 0, ident, 1, 62, 1, 0, 0, len(body), 0,
                     64, 0, 0, 64, count, count - 1)  # fmt: skip
    return bytes(body + headers)


@cache
def vmlinux() -> Btf:
    """The host's kernel BTF; the test is skipped where there is none."""
    if not VMLINUX.exists():
        pytest.skip("this kernel has no /sys/kernel/btf/vmlinux")
    return Btf(VMLINUX.read_bytes())


def elf_section(path: Path, name: str) -> bytes | None:
    with path.open("rb") as file:
        found = ELFFile(file).get_section_by_name(name)
        return bytes(found.data()) if found else None


def xdp_objects() -> list[Path]:
    """Debian's libxdp1 objects; the test is skipped where they are not installed."""
    if not XDP_OBJECTS:
        pytest.skip("no BPF objects of Debian's libxdp1 are installed")
    return XDP_OBJECTS


def clang() -> str:
    """A clang that can emit BPF; the test is skipped where there is none."""
    found = shutil.which("clang-19") or shutil.which("clang")
    if not found:
        pytest.skip("clang is not installed")
    return found


def compiled(source: str, where: Path, *options: str, target: str = "bpfel") -> Btf:
    """The BTF that clang makes of C source text."""
    c, o = where / "source.c", where / "object.o"
    c.write_text(source)
    command = [clang(), "-target", target, "-O2", "-g", "-c", *options, str(c), "-o", str(o)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = elf_section(o, ".BTF")
    assert data is not None
    return Btf(data)


@cache
def bpftool_version() -> tuple[int, ...]:
    """The version of the installed bpftool; the test is skipped where there is none."""
    if not shutil.which("bpftool"):
        pytest.skip("bpftool is not installed")
    done = subprocess.run(["bpftool", "version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in done.stdout.split()[1].lstrip("v").split("."))


def bpftool(*arguments: str) -> str:
    """What bpftool prints. Its form changed with 7.5, so the test is skipped for later ones."""
    version = bpftool_version()
    if not (7, 0) <= version < (7, 5):
        pytest.skip(f"compares with bpftool 7.0 to 7.4; installed is {version}")
    done = subprocess.run(["bpftool", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def compiles(source: str, where: Path) -> None:
    """Does clang take this C source for BPF? Its complaint fails the test."""
    c = where / "source.c"
    c.write_text(source)
    command = [clang(), "-target", "bpfel", "-fsyntax-only", "-Wno-everything", str(c)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
