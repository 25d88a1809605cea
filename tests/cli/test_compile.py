"""`anybpf compile` and `anybpf btf`, and C sources given to the other verbs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anybpf import toolchain
from anybpf.btf import kernel
from anybpf.cli import cli
from anybpf.libbpf import Object
from unit.toolchain.compilers import small_kernel

SOURCE = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#ifndef ANSWER
#define ANSWER XDP_DROP
#endif
SEC("xdp") int answer(struct xdp_md *ctx) { return ANSWER; }
"""
BAD = "int answer(void) { return nothing; }\n"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    monkeypatch.chdir(tmp_path)
    Path("answer.bpf.c").write_text(SOURCE)
    return tmp_path


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


def test_makes_an_object_here() -> None:
    done = call("compile", "answer.bpf.c")
    assert (done.exit_code, done.output) == (0, "")
    assert list(Object.open("answer.bpf.o").programs) == ["answer"]


@pytest.mark.parametrize(("words", "byteorder", "first"), [
    ([], "little", 1),
    (["--target", "bpfeb"], "big", 1),
    (["-D", "ANSWER=7", "--cpu", "v1"], "little", 7),
    (["--headers", "own", "--", "-DANSWER=9", "-O1"], "little", 9),
])
def test_options(words: list[str], byteorder: str, first: int) -> None:
    done = call("compile", "answer.bpf.c", "-o", "made.o", *words)
    assert (done.exit_code, done.output) == (0, "")
    obj = Object.open("made.o")
    assert obj.spec.byteorder == byteorder
    assert obj.programs["answer"].instructions[0].imm == first


def test_folders(in_a_folder: Path) -> None:
    (in_a_folder / "more").mkdir()
    (in_a_folder / "more" / "answer.h").write_text("#define ANSWER 3\n")
    Path("answer.bpf.c").write_text('#include "answer.h"\n' + SOURCE)
    assert call("compile", "answer.bpf.c").exit_code == 1
    assert call("compile", "answer.bpf.c", "-I", "more").exit_code == 0


@pytest.mark.parametrize("verb", ["compile", "inspect", "run", "disasm"])
def test_errors_are_the_compiler_s(verb: str) -> None:
    Path("bad.bpf.c").write_text(BAD)
    done = call(verb, "bad.bpf.c")
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("bad.bpf.c:1:27: error: use of undeclared identifier 'nothing'")
    assert lines[-1] == "1 error generated."
    assert done.stdout == ""
    assert not Path("bad.bpf.o").exists()


def test_warnings_are_shown() -> None:
    Path("answer.bpf.c").write_text(SOURCE + "static int unused;\n")
    done = call("compile", "answer.bpf.c")
    assert done.exit_code == 0
    assert "warning: unused variable 'unused'" in done.stderr


@pytest.mark.parametrize(("words", "message"), [
    (["compile", "none.bpf.c"], "'none.bpf.c' does not exist"),
    (["compile", "answer.bpf.c", "--btf", "none"], "none: No such file or directory"),
    (["compile", "answer.bpf.c", "--btf", "answer.bpf.c"],
     "answer.bpf.c: offset 0x0: neither BTF nor an ELF file"),
    (["compile", "answer.bpf.c", "--target", "x86"], "'x86' is not one of"),
    (["compile", "answer.bpf.c", "-o", "no/such/folder.o"], "no/such"),
    (["compile", "types.btf"], "not a C source: the name types.btf does not end in .c"),
    (["compile", "answer.bpf.c", "-o", "answer.bpf.c"], "answer.bpf.c is the name of a C source"),
    (["btf", "dump", "none"], "no such file: none"),
    (["btf", "dump", "answer.bpf.c", "--for", "answer.bpf.c"], "--for is for --format c"),
    (["btf", "dump", "answer.bpf.c", "-f", "c", "--json"], "--json is for --format raw"),
])
def test_mistakes(words: list[str], message: str, in_a_folder: Path) -> None:
    types_file(in_a_folder)
    done = call(*words)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert Path("answer.bpf.c").read_text() == SOURCE


def test_sources_are_objects_everywhere() -> None:
    assert "answer  xdp" in call("inspect", "answer.bpf.c").output
    assert "0: (b4) w0 = 1" in call("disasm", "answer.bpf.c").output
    assert "returned 1 (XDP_DROP)" in call("run", "answer.bpf.c").output
    assert "xdp_md" in call("btf", "dump", "answer.bpf.c", "-f", "c").output


def types_file(folder: Path) -> Path:
    path = folder / "types.btf"
    path.write_bytes(small_kernel())
    return path


def test_dump_formats(in_a_folder: Path) -> None:
    path = types_file(in_a_folder)
    rows = json.loads(call("btf", "dump", path, "--json").output)["types"]
    assert [r["name"] for r in rows if r["kind"] == "STRUCT"] == [
        "leaf", "inside", "distant", "node", "unrelated"]
    assert "STRUCT 'leaf' size=4 vlen=1" in call("btf", "dump", path).output
    text = call("btf", "dump", path, "--format", "c").output
    assert text.startswith("#ifndef __VMLINUX_H__\n")
    assert "struct unrelated {" in text


def test_slim_dump(in_a_folder: Path) -> None:
    path = types_file(in_a_folder)
    Path("use.bpf.c").write_text("#include <vmlinux.h>\n"
                                 "u32 f(struct node *n) { return n->inside.leaf->depth; }\n")
    text = call("btf", "dump", path, "-f", "c", "--for", "use.bpf.c").output
    assert "struct leaf {" in text                          # behind a member that it names
    assert "unrelated" not in text


def test_vmlinux_h_of_a_chosen_kernel(in_a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_a_folder / "cache"))
    path = types_file(in_a_folder)
    Path("use.bpf.c").write_text('#include "vmlinux.h"\n__attribute__((section("raw_tp"))) '
                                 "u32 f(struct node *n) { return n->hidden; }\n")
    assert call("compile", "use.bpf.c", "--btf", path).exit_code == 0
    [relo] = Object.open("use.bpf.o").programs["f"].spec.core_relos
    assert relo.kind == 0
    [cached] = (in_a_folder / "cache").rglob("vmlinux.h")
    assert "struct node {" in cached.read_text()


def test_a_vmlinux_h_of_ones_own(in_a_folder: Path) -> None:
    Path("vmlinux.h").write_text("struct node { int hidden; };\n")
    Path("use.bpf.c").write_text('#include "vmlinux.h"\nint f(struct node *n) '
                                 "{ return n->hidden; }\n")
    assert call("compile", "use.bpf.c").exit_code == 0


def test_no_kernel_to_take_types_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "candidates", lambda release=None: [Path("/none/vmlinux")])
    Path("use.bpf.c").write_text('#include "vmlinux.h"\nint f(void) { return 0; }\n')
    done = call("compile", "use.bpf.c")
    assert done.exit_code == 0
    assert done.stderr == ("no BTF of the running kernel in /none/vmlinux; using the types built "
                           "into anybpf for vmlinux.h: choose a kernel's BTF with --btf\n")
    again = call("compile", "use.bpf.c", "--btf", "builtin")
    assert (again.exit_code, again.stderr) == (0, "")
