"""Every case file against our verifier, and against the running kernel where that is allowed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.linux import Linux
from anybpf.verifier import Options, verify
from kernel.both_verifiers import LOG_SIZE, Answer, Fields, ask_kernel, masked
from kernel.calls import Calls
from verifier.cases import FDS, MAPS, Case, all_cases, errno_name, written

CASES = all_cases()
IDS = [f"{case.file.stem}-{case.name}" for case in CASES]


def said(case: Case, log: str) -> tuple[str, ...]:
    """The lines of `case.text` as far as the log has them in order."""
    lines = iter(log.splitlines())
    return tuple(want for want in case.text if any(want in line for line in lines))


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether the expectations are to be rewritten (`--update`)."""
    return bool(request.config.getoption("--update"))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_our_verdict(case: Case, update: bool) -> None:
    verdict = verify(case.insns(FDS), case.facts(FDS, 2), Options(uapi.BPF_LOG_LEVEL2))
    name = errno_name(verdict.errno)
    if update:
        _update(case, name, tuple(verdict.message.splitlines()) or said(case, verdict.log))
        return
    assert name == case.verdict, verdict.log
    if verdict.errno:
        assert tuple(verdict.message.splitlines()) == case.text
    else:
        assert said(case, verdict.log) == case.text, verdict.log


def _update(case: Case, verdict: str, text: tuple[str, ...]) -> None:
    content = case.file.read_text()
    old = written(case, case.verdict, case.text).rstrip()
    assert content.count(old) == 1, f"the case is not written as the tool writes it: {case.name}"
    case.file.write_text(content.replace(old, written(case, verdict, text).rstrip()))


@pytest.fixture(scope="module")
def kernel_maps() -> Iterator[dict[str, int]]:
    """Descriptors of real maps."""
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    calls = Calls(Linux())
    yield {name: calls.map(k.type, k.key_size, k.value_size, k.max_entries, map_flags=k.flags)
           for name, k in MAPS.items()}
    calls.close()


def ask(case: Case, fds: dict[str, int]) -> Answer:
    """The kernel's answer at log level 2."""
    calls = Calls(Linux())
    attr = calls.packed(calls.prog_fields(
        case.insns(fds), prog_type=case.prog_type, prog_flags=case.flags,
        expected_attach_type=case.attach,
        license=b"Proprietary\0" if "nogpl" in case.words else b"GPL\0"))
    assert Fields(attr)["log_level"] == 0
    assert LOG_SIZE > 0
    return ask_kernel(Linux(), attr, uapi.BPF_LOG_LEVEL2)


@pytest.mark.kernel
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_kernels_verdict_and_log(case: Case, kernel_maps: dict[str, int]) -> None:
    answer = ask(case, kernel_maps)
    verdict = verify(case.insns(kernel_maps), case.facts(kernel_maps, Linux().num_possible_cpus),
                     Options(uapi.BPF_LOG_LEVEL2))
    assert answer.verdict == case.verdict, answer.log
    assert masked(verdict.log).splitlines() == answer.log.splitlines()
