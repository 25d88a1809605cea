"""Backends for tests that compare the Machine with the running kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anybpf.linux import Linux
from anybpf.machine import Machine
from kernel.calls import Calls


@pytest.fixture(scope="session")
def refused() -> str | None:
    """Why bpf(2) cannot be used here, or None."""
    return Linux.probe()


@pytest.fixture
def host_calls(refused: str | None) -> Iterator[Calls]:
    """A caller of the running kernel."""
    if refused:
        pytest.skip(refused)
    calls = Calls(Linux())
    yield calls
    calls.close()


@pytest.fixture
def machine_calls() -> Iterator[Calls]:
    """A caller of a fresh Machine."""
    with Machine() as made:
        calls = Calls(made)
        yield calls
        calls.close()
