"""Every answer of bpf(2) is the kernel's: the same calls on Machine and Linux, compared."""

from __future__ import annotations

import pytest

from kernel.calls import Calls
from kernel.errno_cases import CASES

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("name", CASES)
def test_same_answer(name: str, machine_calls: Calls, host_calls: Calls) -> None:
    run = CASES[name]
    assert run(machine_calls) == run(host_calls)
