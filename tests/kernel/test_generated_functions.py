"""Made-up prototypes, calls and replacements of functions: verdict and log as the kernel's.

Some are tried; `ANYBPF_SWEEP=1` tries thousands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from anybpf import uapi
from anybpf.verifier import Options, verify
from kernel import call_graphs, signatures
from kernel.both_verifiers import Answer, errno_name, masked
from kernel.verdicts import lacking, refusal
from verifier.bench import Bench
from verifier.cases import Case, written

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

MANY, SOME, BATCH = 4000, 100, 25
#: how programs are made
MAKERS: dict[str, Callable[[int], Case]] = {
    "prototypes": signatures.program, "extensions": signatures.extension,
    "call graphs": call_graphs.program,
}
COUNT = MANY if os.environ.get("ANYBPF_SWEEP") else SOME


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
@pytest.mark.parametrize("maker", MAKERS)
def test_same_log(maker: str, first: int, bench: Bench) -> None:
    cases = [MAKERS[maker](seed) for seed in range(first, first + BATCH)]
    reason = bench.refusal(cases[0])
    if reason:
        pytest.skip(reason)
    assert [written(case, "", ()) for case in cases if not _agree(case, bench)] == []


def _agree(case: Case, bench: Bench) -> bool:
    """Both say the same, to the letter."""
    # other processes may make the kernel remember names between its forgetting and its answer
    return any(_asked_once(case, bench) for _ in range(3 if bench.names_matter(case) else 1))


def _asked_once(case: Case, bench: Bench) -> bool:
    with bench.setup(case) as setup:
        kernel = setup.ask(uapi.BPF_LOG_LEVEL2)
        facts = replace(case.facts(setup.fds, bench.cpus), lacks=lacking())
        verdict = verify(case.insns(setup.fds), facts, Options(uapi.BPF_LOG_LEVEL2))
    return kernel == Answer(errno_name(verdict.errno), masked(verdict.log))
