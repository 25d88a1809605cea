"""What the tests of maps share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import answers

NCPUS = 2


@pytest.fixture
def errno_of() -> Callable[[Callable[[], object]], int]:
    """The error number that a call gives, 0 if none."""
    return answers.errno_of
