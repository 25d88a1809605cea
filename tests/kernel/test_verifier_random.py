"""Made-up programs: both verifiers say the same of each, to the byte of the log.

`make fuzz-verifier` looks at many more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from anybpf import uapi
from anybpf.linux import Linux
from kernel.fuzz import garbage, judge, program
from kernel.fuzz.judge import BAD, Outcome
from kernel.fuzz.mutate import mutated
from kernel.fuzz.world import Sample, World

#: how many times more programs than `make test` takes time for
MORE = int(os.environ.get("ANYBPF_FUZZ", "1"))
COUNT = 50
#: what is wrong against a kernel that is not the reference, whose logs differ now and then
WRONG_VERDICTS = (Outcome.HOLE, Outcome.CRASH, Outcome.STRICT, Outcome.ERRNO)

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    made = World()
    yield made
    made.close()


@pytest.fixture
def bad(request: pytest.FixtureRequest) -> tuple[Outcome, ...]:
    """Outcomes that must not be."""
    return BAD if request.config.getoption("--kernel") == "host" else WRONG_VERDICTS


class Kind(NamedTuple):
    """A row of the test: programs from `first` on, looked at like this."""

    first: int
    level: int
    make: Callable[[int], Sample] = program.make


KINDS = {
    "level 1": Kind(0, uapi.BPF_LOG_LEVEL1),
    "level 2": Kind(1000, uapi.BPF_LOG_LEVEL2),
    "changed": Kind(2000, uapi.BPF_LOG_LEVEL2, lambda seed: mutated(program.make(seed), seed)),
    "garbage": Kind(3000, uapi.BPF_LOG_LEVEL2, garbage.make),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_both_say_the_same(world: World, kind: Kind, bad: tuple[Outcome, ...]) -> None:
    """No program is judged otherwise than the kernel judges it, and none is told otherwise."""
    seeds = range(kind.first, kind.first + COUNT * MORE)
    found = []
    for seed in seeds:
        result = judge.judge(world, kind.make(seed), kind.level)
        assert result.outcome not in bad, f"seed {seed}: {result.outcome.value}: {result.detail}"
        found.append(result)
    assert sum(r.outcome is Outcome.SAME for r in found) > (0.7 if bad is BAD else 0.3) * len(found)
    assert any(r.accepted for r in found)
