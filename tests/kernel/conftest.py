"""Backends for tests that compare the Machine with the running kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from anybpf.linux import Linux
from anybpf.machine import Machine
from kernel.calls import Calls
from kernel.sweeps import Maps


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


@pytest.fixture
def both(machine_calls: Calls, host_calls: Calls) -> tuple[Calls, Calls]:
    """Callers of a fresh Machine and of the running kernel."""
    return machine_calls, host_calls


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One Machine for all tests of a module."""
    with Machine(cpus=2) as made:
        yield made


@pytest.fixture(scope="session")
def kernel(refused: str | None) -> Linux:
    """The running kernel."""
    if refused:
        pytest.skip(refused)
    return Linux()


@pytest.fixture(scope="module")
def maps() -> Iterator[Maps]:
    """What the programs of sweeps use, in both verifiers."""
    made = Maps()
    yield made
    made.close()


@pytest.fixture
def one_cpu(kernel: Linux) -> Iterator[None]:
    """Stay on the first CPU, where our own bpf(2) is called, too."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    yield
    os.sched_setaffinity(0, before)
