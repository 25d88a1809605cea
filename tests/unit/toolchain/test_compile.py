"""Finding and calling a BPF compiler."""

from __future__ import annotations

from pathlib import Path

import pytest

from anybpf import toolchain
from anybpf.libbpf import Object
from anybpf.toolchain import Compiler
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
