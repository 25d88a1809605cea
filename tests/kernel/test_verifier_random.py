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
from kernel.fuzz import cased, garbage, judge, objects, program
from kernel.fuzz.judge import BAD, Outcome
from kernel.fuzz.mutate import mutated
from kernel.fuzz.world import Asks, Sample, World

#: how many times more programs than `make test` takes time for
MORE = int(os.environ.get("ANYBPF_FUZZ", "1"))
COUNT = 50

pytestmark = pytest.mark.kernel


class Stock:
    """What programs need, made once."""

    def __init__(self) -> None:
        self.world, self.theatre = World(), objects.Theatre()
        self.cases = cased.Cases(self.theatre.bench)

    def close(self) -> None:
        self.cases.close()
        self.theatre.close()
        self.world.close()


@pytest.fixture(scope="module")
def stock() -> Iterator[Stock]:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    made = Stock()
    yield made
    made.close()


@pytest.fixture
def bad(request: pytest.FixtureRequest) -> tuple[Outcome, ...]:
    """Outcomes that must not be."""
    return BAD if request.config.getoption("--kernel") == "host" else judge.VERDICTS


class Kind(NamedTuple):
    """A row of the test: programs from `first` on, looked at like this."""

    first: int
    level: int
    make: Callable[[Stock, int], tuple[Asks, Sample]]


def _program(stock: Stock, seed: int) -> tuple[Asks, Sample]:
    return stock.world, program.make(seed)


def _typed(stock: Stock, seed: int) -> tuple[Asks, Sample]:
    return stock.theatre.sample(seed)


def _case(stock: Stock, seed: int) -> tuple[Asks, Sample]:
    return stock.cases.sample(seed * 17)


def _garbage(stock: Stock, seed: int) -> tuple[Asks, Sample]:
    return stock.world, garbage.make(seed)


def _changed(make: Callable[[Stock, int], tuple[Asks, Sample]]) -> Callable[
        [Stock, int], tuple[Asks, Sample]]:
    def made(stock: Stock, seed: int) -> tuple[Asks, Sample]:
        asks, sample = make(stock, seed)
        return asks, mutated(sample, seed)
    return made


KINDS = {
    "level 1": Kind(0, uapi.BPF_LOG_LEVEL1, _program),
    "level 2": Kind(1000, uapi.BPF_LOG_LEVEL2, _program),
    "changed": Kind(2000, uapi.BPF_LOG_LEVEL2, _changed(_program)),
    "garbage": Kind(3000, uapi.BPF_LOG_LEVEL2, _garbage),
    "typed": Kind(4000, uapi.BPF_LOG_LEVEL2, _typed),
    "typed, changed": Kind(5000, uapi.BPF_LOG_LEVEL2, _changed(_typed)),
    "cases, changed": Kind(6000, uapi.BPF_LOG_LEVEL2, _changed(_case)),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_both_say_the_same(stock: Stock, kind: Kind, bad: tuple[Outcome, ...]) -> None:
    """No program is judged otherwise than the kernel judges it, and none is told otherwise."""
    seeds = range(kind.first, kind.first + COUNT * MORE)
    found = []
    for seed in seeds:
        result = judge.judge(*kind.make(stock, seed), kind.level)
        assert result.outcome not in bad, f"seed {seed}: {result.outcome.value}: {result.detail}"
        found.append(result)
    assert sum(r.outcome is Outcome.SAME for r in found) > (0.7 if bad is BAD else 0.3) * len(found)
    assert any(r.accepted for r in found)
