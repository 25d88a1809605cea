"""What the tests of maps share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anybpf.errors import BpfError

NCPUS = 2


@pytest.fixture
def errno_of() -> Callable[[Callable[[], object]], int]:
    """The error number that a call gives, 0 if none."""

    def run(call: Callable[[], object]) -> int:
        try:
            call()
        except BpfError as error:
            return error.errno or 0
        return 0

    return run
