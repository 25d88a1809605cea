"""Random programs: nothing is accepted that the kernel refuses, and the logs are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.isa.asm import Pseudo, assemble
from anybpf.linux import Linux
from anybpf.verifier import Facts, MapFacts
from kernel.both_verifiers import LOG_SIZE, Answer, ask_kernel, ask_ours
from kernel.calls import Calls
from kernel.random_programs import text

SEEDS = range(60)
STATEMENTS = 14
#: longer logs say no more, but take long
LONG = 300_000

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def maps() -> Iterator[dict[str, int]]:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    calls = Calls(Linux())
    yield {"array": calls.map(), "hash": calls.map(uapi.BPF_MAP_TYPE_HASH, max_entries=8)}
    calls.close()


def answers(seed: int, maps: dict[str, int], level: int) -> tuple[Answer, Answer] | None:
    """The kernel's and ours; None for a program that is too long."""
    insns = assemble(text(seed, STATEMENTS),
                     {name: Pseudo(uapi.BPF_PSEUDO_MAP_FD, fd) for name, fd in maps.items()})
    calls = Calls(Linux())
    attr = calls.packed(calls.prog_fields(insns, prog_type=uapi.BPF_PROG_TYPE_SCHED_CLS))
    kernel = ask_kernel(Linux(), attr, level)
    if len(kernel.log) > min(LONG, LOG_SIZE):
        return None
    facts = Facts(uapi.BPF_PROG_TYPE_SCHED_CLS, cpus=Linux().num_possible_cpus, maps={
        maps["array"]: MapFacts(uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 4),
        maps["hash"]: MapFacts(uapi.BPF_MAP_TYPE_HASH, 4, 8, 8)})
    return kernel, ask_ours(insns, facts, level)


@pytest.mark.parametrize("level", [uapi.BPF_LOG_LEVEL1, uapi.BPF_LOG_LEVEL2])
def test_same_verdict_and_log(maps: dict[str, int], level: int) -> None:
    """Every verdict, and nearly every log: docs/verifier.md names the known differences."""
    accepted = equal = compared = 0
    for seed in SEEDS:
        both = answers(seed, maps, level)
        if both is not None:
            kernel, ours = both
            assert ours.verdict == kernel.verdict, f"seed {seed}"
            compared += 1
            equal += ours.log.splitlines() == kernel.log.splitlines()
            accepted += kernel.verdict == "OK"
    assert accepted > compared // 4
    assert equal >= 0.95 * compared
