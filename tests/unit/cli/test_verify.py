"""`anybpf verify`: the table, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from anybpf.cli import cli
from anybpf.cli.verify import time_text
from conftest import Build

FIELDS = ["program", "section", "type", "attach_type", "verdict", "errno", "insns", "processed",
          "max_states_per_insn", "total_states", "peak_states", "stack", "time_us", "message",
          "log"]
MESSAGE = ("invalid access to packet, off=40 size=1, R1(id=0,off=40,r=0)",
           "R1 offset is outside of the packet")


def run(*words: str | Path) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, ["verify", *map(str, words)])
    return answer.exit_code, answer.output


def test_a_line_for_each_program_and_why_one_is_refused(build: Build) -> None:
    code, output = run(build("careless.bpf.c"))
    lines = output.splitlines()
    assert code == 1
    assert lines[0].split() == ["program", "verdict", "insns", "states", "time"]
    at = next(i for i, line in enumerate(lines) if line.startswith("unguarded_read "))
    assert lines[at].split()[1:4] == ["reject", "EACCES", "2"]
    assert lines[at + 1:at + 4] == [
        "    careless.bpf.c:21: return byte[40] ? 1 : 2;", *(f"    {line}" for line in MESSAGE)]
    assert any(line.startswith("jumps ") and " accept " in line for line in lines)


def test_one_program_that_is_accepted(build: Build) -> None:
    code, output = run("--prog", "jumps", build("careless.bpf.c"))
    assert code == 0
    assert len(output.splitlines()) == 2


def test_json(build: Build) -> None:
    code, output = run("--json", "--log-level", "2", build("careless.bpf.c"))
    found = {one["program"]: one for one in json.loads(output)}
    assert code == 1
    assert all(list(one) == FIELDS for one in found.values())
    refused = found["unguarded_read"]
    assert refused["errno"] == "EACCES"
    assert refused["verdict"] == "reject"
    assert tuple(refused["message"].splitlines()) == MESSAGE
    assert refused["type"] == refused["attach_type"] == "xdp"
    assert tuple(refused["log"].splitlines()[-3:-1]) == MESSAGE
    assert refused["stack"] == "0"
    assert found["jumps"]["errno"] is None
    assert found["jumps"]["message"] == ""


def test_no_log_unless_asked_for(build: Build) -> None:
    _, output = run("--json", "--prog", "jumps", build("careless.bpf.c"))
    (found,) = json.loads(output)
    assert list(found) == FIELDS[:-1]


def test_the_log_as_text(build: Build) -> None:
    _, output = run("--log-level", "4", "--prog", "jumps", build("careless.bpf.c"))
    lines = output.splitlines()[2:]
    assert lines[0].startswith("verification time ")
    assert lines[1] == "stack depth 0"
    assert lines[2].startswith("processed 5 insns (limit 1000000)")


@pytest.mark.parametrize("words", [("--prog", "nobody"), ("--log-level", "8"),
                                   ("--btf", "/nowhere/vmlinux")])
def test_wrong_words(build: Build, words: tuple[str, ...]) -> None:
    code, output = run(*words, build("careless.bpf.c"))
    assert code == 2
    assert "Error: " in output


def test_a_file_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "bad.o"
    path.write_bytes(b"\x7fELF and nothing more")
    code, output = run(path)
    assert code == 2
    assert output.startswith(f"Error: {path}: ")


def test_what_fails_before_the_verifier(build: Build) -> None:
    code, output = run("--json", "--btf", "builtin", build("core_host.bpf.c"))
    found = {one["program"]: one for one in json.loads(output)}
    assert code == 1
    assert found["direct"]["verdict"] == "load-error"
    assert found["direct"]["errno"] == "ESRCH"
    assert "task_newtask" in found["direct"]["message"]


@pytest.mark.parametrize(("microseconds", "text"), [
    (0, "0 us"), (999, "999 us"), (1234, "1.23 ms"), (123456, "123 ms"), (2500000, "2.5 s")])
def test_times(microseconds: int, text: str) -> None:
    assert time_text(microseconds) == text


def test_programs_that_attach_to_a_program(build: Build) -> None:
    path = build("replaced.bpf.c")
    code, output = run("--attach-prog", f"{path}:caller", "--prog", "replacement", path)
    assert code == 0
    assert " accept " in output
    code, output = run("--attach-prog", f"{path}:caller", "--prog", "misfit", path)
    assert code == 1
    assert "misfit() has 2 args while replaceable() has 1 args" in output


@pytest.mark.parametrize("word", ["caller", "{path}:none", "missing.o:caller", "{path}"])
def test_what_is_attached_to_must_be_there(build: Build, word: str) -> None:
    path = build("replaced.bpf.c")
    code, output = run("--attach-prog", word.format(path=path), path)
    assert code == 2
    assert ("--attach-prog is OBJ:NAME" in output or "no program 'none'" in output)
