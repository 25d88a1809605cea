"""The verifier's log with what was missing named."""

from __future__ import annotations

from typing import Any

import pytest

from anybpf import uapi
from anybpf.errors import VerifierError
from anybpf.libbpf import Object, log_fixup
from anybpf.libbpf.spec import ExternSpec, Linked, MapSpec, ObjectSpec
from conftest import Build

SPEC = ObjectSpec("o", "little", maps={"first": MapSpec("first"), "second": MapSpec("second")},
                  externs={"f": ExternSpec("f", ".ksyms", True, True, 1, 1)})


def log_of(number: int) -> str:
    return (f"0: (b7) r0 = 0\n3: (85) call unknown#{number}\ninvalid func unknown#{number}\n"
            "processed 4 insns (limit 1000000)\n")


@pytest.mark.parametrize(("number", "lines"), [
    (2_001_000_001, "3: <invalid BPF map reference>\n"
                    "BPF map 'second' is referenced but wasn't created\n"),
    (2_002_000_000, "3: <invalid kfunc call>\nkfunc 'f' is referenced but wasn't resolved\n"),
])
def test_what_was_missing(number: int, lines: str) -> None:
    text = log_fixup.explain(SPEC, Linked([]), log_of(number))
    assert text == f"0: (b7) r0 = 0\n{lines}processed 4 insns (limit 1000000)\n"


@pytest.mark.parametrize("text", [
    "", "\n", log_of(2_001_000_002), log_of(2_002_000_001), log_of(7), log_of(2_000_999_999),
    log_of(2_001_000_000).replace("unknown#2001000000\ninv", "unknown#1\ninv"),
    log_of(2_001_000_000) + "more\n" * 20,
])
def test_other_logs_stay(text: str) -> None:
    assert log_fixup.explain(SPEC, Linked([]), text) == text


def test_the_call_that_stands_for_it() -> None:
    assert log_fixup.poison(5).code == uapi.BPF_JMP | uapi.BPF_CALL
    assert log_fixup.poison(5).imm == 5


@pytest.mark.kernel
def test_a_weak_kfunc_that_is_called_all_the_same(build: Build, linux: Any) -> None:
    with pytest.raises(VerifierError, match="kfunc 'bpf_no_such_kfunc' is referenced but wasn't"):
        Object.open(build("unguarded.bpf.c")).load(linux)
