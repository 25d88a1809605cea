"""Every case file against our verifier, and against the running kernel where that is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.linux import Linux
from anybpf.verifier import Options, Verdict, verify
from kernel.both_verifiers import Answer, masked
from verifier.bench import Bench
from verifier.cases import Case, all_cases, errno_name, written

CASES = all_cases()
IDS = [f"{case.file.stem}-{case.name}" for case in CASES]
LEVELS = (uapi.BPF_LOG_LEVEL2 | uapi.BPF_LOG_STATS, uapi.BPF_LOG_LEVEL1, uapi.BPF_LOG_STATS)
#: of our own verdicts, where there is no kernel
CPUS = 2


def said(case: Case, log: str) -> tuple[str, ...]:
    """The lines of `case.text` as far as the log has them in order."""
    lines = iter(log.splitlines())
    return tuple(want for want in case.text if any(want in line for line in lines))


def told(verdict: Verdict) -> tuple[str, ...]:
    """The message of a rejection; some the kernel's log does not have."""
    return tuple(verdict.message.splitlines()) if verdict.message in verdict.log else ()


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether the expectations are to be rewritten (`--update`)."""
    return bool(request.config.getoption("--update"))


def ask_ours(case: Case, fds: dict[str, int], cpus: int, level: int) -> Verdict:
    return verify(case.insns(fds), case.facts(fds, cpus), Options(level))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_our_verdict(case: Case, update: bool) -> None:
    if update:
        pytest.skip("the kernel is asked")
    try:
        verdict = ask_ours(case, case.fds(), CPUS, uapi.BPF_LOG_LEVEL2)
    except KeyError as error:
        pytest.skip(f"the kernel's types are not there, or have no function or module {error}")
    assert errno_name(verdict.errno) == case.verdict, verdict.log
    if verdict.errno:
        assert case.anonymous(told(verdict)) == case.text
    else:
        assert said(case, verdict.log) == case.text, verdict.log


def _update(case: Case, answer: Answer) -> None:
    content = case.file.read_text()
    old = written(case, case.verdict, case.text).rstrip()
    assert content.count(old) == 1, f"the case is not written as the tool writes it: {case.name}"
    text = said(case, answer.log) if answer.verdict == "OK" else _message(case, answer)
    text = case.anonymous(text)
    case.file.write_text(content.replace(old, written(case, answer.verdict, text).rstrip()))


def _message(case: Case, answer: Answer) -> tuple[str, ...]:
    """What the kernel says of a rejection: our message where we agree, else the last line."""
    try:
        ours = ask_ours(case, case.fds(), CPUS, uapi.BPF_LOG_LEVEL2)
    except NotSupported:
        return tuple(answer.log.splitlines()[-2:-1])
    if masked(ours.log) == answer.log:
        return told(ours)
    return tuple(answer.log.splitlines()[-2:-1])


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The running kernel."""
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    made = Bench()
    yield made
    made.close()


@pytest.mark.kernel
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_kernels_verdict_and_log(case: Case, bench: Bench, update: bool) -> None:
    """The same at every log level, byte for byte."""
    reason = bench.refusal(case)
    if reason:
        pytest.skip(reason)
    if update and not bench.writes(case):
        pytest.skip("another kernel says what the case expects")
    if update:
        with bench.setup(case) as setup:
            _update(case, setup.ask(uapi.BPF_LOG_LEVEL2))
        return
    # other processes may make the kernel remember names between its forgetting and its answer
    for _ in range(2 if bench.names_matter(case) else 0):
        with suppress(AssertionError):
            _compare(case, bench)
            return
    _compare(case, bench)


def _compare(case: Case, bench: Bench) -> None:
    with bench.setup(case) as setup:
        for level in LEVELS:
            verdict = ask_ours(case, setup.fds, bench.cpus, level)
            answer = setup.ask(level)
            assert answer.verdict == case.verdict, answer.log
            assert masked(verdict.log).splitlines() == answer.log.splitlines()
