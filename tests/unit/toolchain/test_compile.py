"""Finding and calling a BPF compiler."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from anybpf import toolchain
from anybpf.libbpf import Object
from anybpf.toolchain import Compiler
from anybpf.toolchain.compile import INCLUDE, include_folders, target_arch
from unit.toolchain.compilers import COMPILERS

SOURCE = 'int f(void *c) __attribute__((section("xdp"), used));\nint f(void *c) { return 2; }\n'


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda c: c.name)
@pytest.mark.parametrize("arch", ["bpfel", "bpfeb"])
def test_compile(tmp_path: Path, compiler: Compiler, arch: str) -> None:
    source = tmp_path / "one.bpf.c"
    source.write_text(SOURCE)
    made = toolchain.compile_file(source, tmp_path / "one.o", arch=arch, compiler=compiler)
    obj = Object.open(made)
    assert obj.spec.byteorder == ("little" if arch == "bpfel" else "big")
    assert [i.code for i in obj.programs["f"].instructions][-1] == 0x95
    assert obj.btf is not None


def test_errors(tmp_path: Path) -> None:
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    source = tmp_path / "bad.c"
    source.write_text("int f( {\n")
    with pytest.raises(toolchain.CompileError, match=r"bad\.c: .*error: ") as caught:
        toolchain.compile_file(source, tmp_path / "bad.o")
    assert caught.value.source == str(source)
    assert "expected" in caught.value.output


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANYBPF_CLANG", "/nonexistent/clang")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert toolchain.find_compiler() is None
    with pytest.raises(FileNotFoundError, match="no clang and no ziglang"):
        toolchain.compile_file(tmp_path / "x.c", tmp_path / "x.o")


def test_object_bytes(tmp_path: Path) -> None:
    """Of an object its bytes, of a source what it compiles to; `Object.open` takes both."""
    (tmp_path / "one.o").write_bytes(b"as it is")
    assert toolchain.object_bytes(tmp_path / "one.o") == b"as it is"
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    source = tmp_path / "one.bpf.c"
    source.write_text(SOURCE)
    assert toolchain.object_bytes(source).startswith(b"\x7fELF")
    obj = Object.open(source)
    assert (obj.name, list(obj.programs)) == ("one", ["f"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.bpf.c", "one.o"]


def test_warnings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    (tmp_path / "one.bpf.c").write_text(SOURCE + "static int percent_s;\n")
    Object.open(tmp_path / "one.bpf.c")
    [record] = caplog.records
    assert (record.name, record.levelname) == ("anybpf.toolchain", "WARNING")
    assert "unused variable 'percent_s'" in record.getMessage()


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    with pytest.raises(FileNotFoundError, match=r"none\.bpf\.c"):
        Object.open(tmp_path / "none.bpf.c")


def test_a_compiler_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.c").write_text("")
    monkeypatch.setattr("anybpf.toolchain.compile.SECONDS", 0.1)
    slow = Compiler("slow", (sys.executable, "-c", "import time; time.sleep(9)"), "{arch}")
    with pytest.raises(toolchain.CompileError, match=r"one\.c: the compiler did not end in"):
        toolchain.compile_file(tmp_path / "one.c", tmp_path / "one.o", compiler=slow)


def test_a_compiler_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text("")
    silent = Compiler("silent", (sys.executable, "-c", "raise SystemExit(3)"), "{arch}")
    with pytest.raises(toolchain.CompileError, match="the compiler gave status 3") as caught:
        toolchain.compile_file(tmp_path / "one.c", tmp_path / "one.o", compiler=silent)
    assert (caught.value.status, caught.value.output) == (3, "")


@pytest.mark.parametrize(("arch", "options", "machine", "order", "expected"), [
    ("bpfel", [], "x86_64", "little", ["-D__TARGET_ARCH_x86"]),
    ("bpfel", [], "aarch64", "little", ["-D__TARGET_ARCH_arm64"]),
    ("bpfel", [], "AMD64", "little", ["-D__TARGET_ARCH_x86"]),
    ("bpfel", [], "unheard-of", "little", ["-D__TARGET_ARCH_x86"]),
    ("bpfeb", [], "x86_64", "little", ["-D__TARGET_ARCH_s390"]),
    ("bpfeb", [], "ppc64", "big", ["-D__TARGET_ARCH_powerpc"]),
    ("bpfel", [], "s390x", "big", ["-D__TARGET_ARCH_x86"]),
    ("bpfel", ["-D__TARGET_ARCH_arm"], "x86_64", "little", []),
])
def test_whose_registers(arch: str, options: list[str], machine: str, order: str,
                         expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sys.byteorder", order)
    assert target_arch(arch, options) == expected


def test_folders_in_options() -> None:
    found = include_folders(["-Ia", "-I", "b", "-DX=-Ic", "-isystem", "d", "-isysteme", "-O2"])
    assert found == [Path("a"), Path("b"), Path("d"), Path("e"), INCLUDE]
