"""strtol and strtoul against Python's int()."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf.machine import Machine
from kernel.runs import run
from kernel.test_helpers import number_text


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as m:
        yield m


def read(machine: Machine, helper: str, text: bytes, base: int) -> tuple[int, int]:
    outcome = run(machine, number_text(helper, text, base))
    value = outcome.values[0]
    assert isinstance(value, bytes)
    return outcome.retval, int.from_bytes(value, "little", signed=helper == "strtol")


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([8, 10, 16]))
@settings(max_examples=60, deadline=None)
def test_strtol_reads_what_was_written(machine: Machine, value: int, base: int) -> None:
    digits = {8: "o", 10: "d", 16: "x"}[base]
    text = f"{value:{digits}}".encode()
    assert read(machine, "strtol", text + b"\0", base) == (len(text), value)


@given(st.integers(0, (1 << 64) - 1))
@settings(max_examples=60, deadline=None)
def test_strtoul_finds_the_base(machine: Machine, value: int) -> None:
    for text in (f"{value}", f"{value:#x}"):
        assert read(machine, "strtoul", text.encode() + b"\0", 0) == (len(text), value)
