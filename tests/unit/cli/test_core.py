"""`anybpf core`: one kernel, many kernels, reasons, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.cli import cli
from conftest import Build


def run(*words: str | Path) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, ["core", *map(str, words)])
    return answer.exit_code, answer.output


def kernel(path: Path, *structs: tuple[str, dict[str, int]]) -> Path:
    """BTF of structs with unsigned members at these bytes."""
    made = BtfBuilder()
    number = made.add(t.Int("unsigned int", 4))
    for name, places in structs:
        made.add(t.Struct(name, 4096, tuple(t.Member(n, number, 8 * at)
                                            for n, at in places.items())))
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(made.to_bytes())
    return path


@pytest.fixture
def kernels(tmp_path: Path) -> list[Path]:
    return [kernel(tmp_path / "old", ("task_struct", {"pid": 8, "tgid": 12, "state": 16})),
            kernel(tmp_path / "new", ("task_struct", {"pid": 80, "tgid": 84, "__state": 4}))]


def test_table_of_two_kernels(build: Build, kernels: list[Path]) -> None:
    code, output = run(build("core_host.bpf.c"), "--program", "shared", "--btf", *kernels)
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert code == 0
    assert lines[0] == "insn kind of object old new"
    assert lines[1] == "shared (.text):"
    assert any(line.endswith("byte_off struct task_struct.tgid 4 12 84") for line in lines)
    assert any(line.endswith("field_exists struct task_struct.state yes yes no") for line in lines)
    assert any(line.endswith("byte_off struct task_struct.state 80 bad width missing")
               for line in lines)
    assert ("struct task_struct.state: long in the object, unsigned int there: only unsigned "
            "integers and pointers can change their width [old]") in lines
    assert ("struct task_struct.state: struct task_struct has no member 'state'; closest: __state "
            "(unsigned int) [new]") in lines
    assert lines[-1].startswith("new: ")


def test_one_kernel_shows_no_names_behind_reasons(build: Build, kernels: list[Path]) -> None:
    code, output = run(build("core_host.bpf.c"), "-p", "missing", "--misses", "--btf", kernels[0])
    assert code == 0
    assert "struct not_anywhere.x: there is no struct 'not_anywhere'\n" in output
    assert "task_struct.state" not in output


def test_json(build: Build, kernels: list[Path]) -> None:
    path = build("core_host.bpf.c")
    code, output = run(path, "--json", "--btf", kernels[0], "--btf", kernels[1])
    facts = json.loads(output)
    assert code == 0
    assert facts["file"] == str(path)
    assert [k["name"] for k in facts["kernels"]] == ["old", "new"]
    pid = next(r for r in facts["relocations"]
               if r["target"] == "struct task_struct.pid" and r["kind"] == "byte_off")
    assert [r["value"] for r in pid["results"]] == [8, 80]
    assert pid["results"][1]["in"] == "vmlinux"
    assert pid["results"][1]["candidate"] == (
        "<byte_off> [2] struct task_struct.pid (0:0 @ offset 80)")
    assert facts["kernels"][0]["ok"] == sum(
        r["results"][0]["status"] == "ok" for r in facts["relocations"])


def test_refusal_is_exit_code_1(build: Build, tmp_path: Path) -> None:
    twice = kernel(tmp_path / "twice", ("task_struct", {"pid": 8}), ("task_struct___b", {"pid": 4}))
    code, output = run(build("core_host.bpf.c"), "-p", "direct", "--btf", twice)
    assert code == 1
    assert "struct task_struct.pid: field offset ambiguity: 32 != 64" in output
    assert "1 refused (libbpf would not load the object)" in output


def test_files_of_one_name(build: Build, tmp_path: Path) -> None:
    paths = [kernel(tmp_path / version / "vmlinux", ("s", {})) for version in ("6.1", "6.12")]
    _, output = run(build("core_host.bpf.c"), "-p", "first", "--btf", *paths)
    assert output.splitlines()[-2:] == ["6.1/vmlinux: nothing to relocate",
                                        "6.12/vmlinux: nothing to relocate"]


@pytest.mark.parametrize("source", ["legacy.bpf.c"])
def test_object_without_records(build: Build, kernels: list[Path], source: str) -> None:
    code, output = run(build(source, debug=False), "--btf", kernels[0])
    assert (code, output.splitlines()[0]) == (0, "no CO-RE relocations")


def test_bad_words(build: Build, kernels: list[Path], tmp_path: Path) -> None:
    path = build("core_host.bpf.c")
    assert run(path, "-p", "nothing", "--btf", kernels[0]) == (
        2, "Error: no function 'nothing'\n")
    assert run(path, kernels[0])[0] == 2
    broken = tmp_path / "broken"
    broken.write_bytes(b"nothing of value")
    code, output = run(path, "--btf", broken)
    assert (code, output.startswith("Error: ")) == (2, True)
