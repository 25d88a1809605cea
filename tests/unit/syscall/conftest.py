"""A caller of a fresh Machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anybpf.machine import Machine
from kernel.calls import Calls


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made


@pytest.fixture
def calls(machine: Machine) -> Calls:
    return Calls(machine)
