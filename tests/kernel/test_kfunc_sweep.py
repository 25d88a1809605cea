"""Calls of every kernel function, right and wrong, judged by the kernel and by us; whole logs.

Every so many programs are tried; `ANYBPF_SWEEP=N` tries N times as many (100: all, an hour).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import pytest

from anybpf import uapi
from anybpf.proto import kfuncs
from anybpf.proto.kfuncs import Kfunc
from anybpf.verifier import Options, verify
from kernel.both_verifiers import errno_name, masked
from kernel.kfunc_sweep import MODULES, exists, sweep
from kernel.verdicts import GUEST, module_fd, refusal
from verifier.bench import Bench
from verifier.cases import MODULE, Case

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: how many programs go by for one that is tried
STEP = max(97 // int(os.environ.get("ANYBPF_SWEEP", "1")), 1)
LEVEL = uapi.BPF_LOG_LEVEL2


class Desk:
    """The kernel with the maps and types that all programs of the sweep share."""

    def __init__(self) -> None:
        self.bench = Bench()
        self._left = self.bench.setup(next(sweep(kfuncs.BY_NAME["bpf_dynptr_size"])))
        self.setup = self._left.__enter__()
        if GUEST is not None:
            self.setup.fds |= {MODULE + name: module_fd(name) for name in MODULES}

    def close(self) -> None:
        self._left.__exit__(None, None, None)
        self.bench.close()

    def difference(self, case: Case) -> str:
        """Empty, or how the kernel and we differ."""
        self.setup.turn_to(case)
        kernel = self.setup.ask(LEVEL)
        verdict = verify(case.insns(self.setup.fds), case.facts(self.setup.fds, self.bench.cpus),
                         Options(LEVEL))
        log = masked(verdict.log)
        if kernel.verdict != errno_name(verdict.errno):
            return f"verdict: kernel {kernel.verdict}: {kernel.log}\nours {log}"
        theirs, own = kernel.log.splitlines(), log.splitlines()
        return next((f"kernel: {a} | ours: {b}" for a, b in zip(theirs, own, strict=False)
                     if a != b), "" if len(theirs) == len(own) else "one log is longer")


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.mark.parametrize("row", kfuncs.KFUNCS, ids=lambda row: row.name)
def test_same_log(row: Kfunc, desk: Desk) -> None:
    if not exists(row.name):
        pytest.skip("this kernel has no such function")
    start = sum(row.name.encode()) % STEP
    found = {case.name: text for case in islice(sweep(row), start, None, STEP)
             if (text := desk.difference(case))}
    assert found == {}
