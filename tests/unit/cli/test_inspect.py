"""`anybpf inspect`: text and JSON of compiled and broken files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from anybpf.cli import cli
from conftest import Build


def run(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, ["inspect", *words])
    return answer.exit_code, answer.output


def test_text(build: Build) -> None:
    code, output = run(str(build("features.bpf.c")))
    assert code == 0
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert lines[0].endswith("features.bpf.o: little-endian, license GPL")
    assert "table hash key struct key (8 B) value struct value (24 B) 64 entries" in lines
    assert ("outer array_of_maps key u32 (4 B) value 4 B 4 entries of array; "
            "[0] = inner_a, [2] = inner_b") in lines
    assert "not_by_itself tc sched_cls 2 instructions not loaded by itself" in lines
    assert ".data: u32 start = 40" in lines
    assert any(line.startswith("first xdp xdp") and "calls each, twice, add" in line
               for line in lines)


def test_json(build: Build) -> None:
    code, output = run("--json", str(build("externs.bpf.c")))
    facts = json.loads(output)
    assert code == 0
    assert (facts["license"], facts["byteorder"]) == ("GPL", "little")
    symbols = next(p for p in facts["programs"] if p["name"] == "symbols")
    assert symbols["kernel"] == ["bpf_no_such_kfunc", "bpf_prog_put", "no_such_variable"]
    assert {"name": "bpf_no_such_kfunc", "section": ".ksyms", "weak": True,
            "function": True} in facts["externs"]
    assert facts["btf"]["kinds"]["FUNC"] == 3
    assert facts["sections"][0]["name"] == ".strtab"


def test_without_btf(build: Build) -> None:
    code, output = run(str(build("legacy.bpf.c", debug=False)))
    assert code == 0
    assert ".data: step = 02 00 00 00" in output
    assert "BTF" not in output


def test_every_installed_object(libxdp_objects: list[Path], lirc_objects: list[Path]) -> None:
    for path in (*libxdp_objects, *lirc_objects):
        code, output = run(str(path))
        assert code == 0, output
        assert "Programs:" in output


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"text"])
def test_broken_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.o"
    path.write_bytes(content)
    code, output = run(str(path))
    assert code == 2
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1
