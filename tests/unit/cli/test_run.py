"""`anybpf run`: maps of every kind are shown, and what goes wrong is shown in the source."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from anybpf import BpfError, Fault, Machine, Object
from anybpf.cli import cli
from anybpf.cli.run import contents
from conftest import Build

FRAME = bytes(14)


@pytest.fixture
def careless(build: Build) -> Object:
    return Object.open(build("careless.bpf.c")).load(Machine(verify=False))


def test_maps_that_are_no_dictionaries(careless: Object) -> None:
    careless.programs["without_keys"].test_run(FRAME)
    shown = {name: contents(item, None) for name, item in careless.maps.items()}
    assert shown == {"queue": ["07000000", "08000000"], "stack": ["08000000", "07000000"],
                     "bloom": [], "groups": [], "programs": []}


def test_slots_of_a_prog_array_that_are_in_use(careless: Object) -> None:
    careless.maps["programs"][1] = careless.programs["without_keys"]
    number = careless.programs["without_keys"].info()["id"]
    assert contents(careless.maps["programs"], None) == [{"key": 1, "value": number}]
    assert len(careless.maps["programs"]) == 1


@pytest.mark.parametrize("run", ["unguarded_read", "jumps"])
def test_a_fault_names_the_source_line(careless: Object, run: str) -> None:
    careless.maps["programs"][1] = careless.programs["unguarded_read"]
    with pytest.raises(Fault, match=r"packet\+40 of 14, at instruction \d+ in program") as caught:
        careless.programs[run].test_run(FRAME)
    line = caught.value.source
    assert line.startswith("careless.bpf.c:")
    assert line.endswith(": return byte[40] ? 1 : 2;")
    assert str(caught.value).endswith(f" in program 'unguarded_read' ({line})")


def test_a_program_without_types_names_no_line(build: Build) -> None:
    bare = Object.open(build("careless.bpf.c"))
    program = bare.programs["unguarded_read"]
    program.instructions = list(program.instructions)       # set by hand: no lines go with them
    bare.load(Machine(verify=False))
    with pytest.raises(Fault) as caught:
        program.test_run(FRAME)
    assert caught.value.source == ""
    assert str(caught.value).endswith("in program 'unguarded_read'")


def test_a_refused_run_says_of_what(careless: Object) -> None:
    with pytest.raises(BpfError, match=r"'jumps' \(xdp\) on no data: Invalid argument"):
        careless.programs["jumps"].test_run()


def test_what_the_verifier_refuses_is_run_only_if_asked_for(build: Build) -> None:
    words = ["run", str(build("careless.bpf.c")), "--prog", "jumps"]
    answer = CliRunner().invoke(cli, words)
    assert answer.exit_code == 1
    lines = answer.output.splitlines()
    assert lines[0] == "Error: object 'careless': unguarded_read rejected (EACCES):"
    assert lines[-1].endswith(" more lines: anybpf verify --log-level 1)")
    assert CliRunner().invoke(cli, [*words, "--checked"]).exit_code == 0
