"""`anybpf.verify`: every program by itself, settings that count, what stays as it was."""

from __future__ import annotations

import pytest

import anybpf
from anybpf import Machine, Object
from anybpf.veristat import Result
from conftest import Build


def by_name(results: list[Result]) -> dict[str, Result]:
    return {one.program: one for one in results}


def test_every_program_is_verified_and_nothing_is_loaded(build: Build) -> None:
    obj = Object.open(build("careless.bpf.c"))
    obj.programs["unguarded_read"].autoload = False
    found = by_name(anybpf.verify(obj))
    assert {n: r.verdict for n, r in found.items()} == {
        "unguarded_read": "reject", "without_keys": "accept", "jumps": "accept"}
    assert found["unguarded_read"].source == "careless.bpf.c:21: return byte[40] ? 1 : 2;"
    assert found["jumps"].processed == 5
    assert found["jumps"].log == ""
    assert obj.backend is None
    assert all(program.fd is None for program in obj.programs.values())
    assert [n for n, p in obj.programs.items() if not p.autoload] == ["unguarded_read"]
    with obj.load(Machine()):
        assert obj.programs["jumps"].fd is not None


def test_constants_that_were_set_count() -> None:
    obj = Object.open("demo/firewall.bpf.o")
    before = anybpf.verify(obj)[0].processed
    obj.rodata.answer_ping = 0
    after = anybpf.verify(obj)[0]
    assert after.accepted
    assert after.processed != before


def test_an_array_of_programs_that_are_not_there_does_not_matter(build: Build) -> None:
    results = anybpf.verify(build("meaning.bpf.c"))
    assert results
    assert not [r for r in results if "is not loaded" in r.message]


def test_what_is_missing_has_its_name(build: Build) -> None:
    found = by_name(anybpf.verify(build("core_host.bpf.c"), btf=None))
    assert any(r.verdict == "load-error" and r.errno for r in found.values())


def test_a_program_without_a_type(build: Build) -> None:
    obj = Object.open(build("careless.bpf.c"))
    obj.programs["jumps"].type = 0
    found = by_name(anybpf.verify(obj))["jumps"]
    assert (found.verdict, found.errno, found.type) == ("load-error", "EINVAL", "unspec")
    assert "missing BPF prog type, check ELF section name 'xdp'" in found.message


def test_one_program() -> None:
    (found,) = anybpf.verify("demo/firewall.bpf.o", program="firewall", log_level=2, cpus=8)
    assert found.log.startswith("func#0 @0\n")
    with pytest.raises(KeyError):
        anybpf.verify("demo/firewall.bpf.o", program="nobody")


def test_programs_that_attach_to_a_program(build: Build) -> None:
    path = build("replaced.bpf.c")
    found = by_name(anybpf.verify(path, attach_prog=(path, "caller")))
    assert [one.verdict for one in found.values()] == ["accept", "accept", "reject", "accept"]
    assert found["misfit"].message == "misfit() has 2 args while replaceable() has 1 args"
    alone = by_name(anybpf.verify(path))
    assert alone["replacement"].verdict == "load-error"
    assert "attach program FD is not set" in alone["replacement"].message
    with pytest.raises(anybpf.LoadError, match="'misfit', which is attached to: load-error"):
        anybpf.verify(path, attach_prog=(path, "misfit"))
