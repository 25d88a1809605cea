"""One program before both verifiers at several log levels, and how the answers differ."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from typing import Any

from anybpf import uapi
from anybpf.errors import NotSupported
from kernel.both_verifiers import LOG_SIZE, Answer, Both, Fields, Pair, ask_kernel, ask_ours

COUNTERS = re.compile(r"processed (\d+) insns .*$", re.MULTILINE)
WHOLE = uapi.BPF_LOG_LEVEL2 | uapi.BPF_LOG_STATS
#: programs whose walk is longer are compared by verdict and counters only
LONG = 20_000
#: and those whose walk is longer than this are not put before us
TOO_LONG = 200_000


@dataclass
class Outcome:
    """What came out for one program. The log fields are None where the logs were not compared."""

    source: str
    name: str
    kernel: str
    ours: str = ""
    unsupported: str = ""
    processed: int = 0
    counters: bool = False
    level1: bool | None = None
    level2: bool | None = None
    difference: str = ""
    crash: str = ""
    #: the kernel refuses it without asking its verifier: it lacks the program type, for one
    unverified: bool = False
    seconds: float = 0.0
    #: where it is from, and which kernel was asked
    tree: str = ""
    tables: bool = False
    oracle: str = ""

    @property
    def asked(self) -> bool:
        """The kernel's verifier has judged it."""
        return not self.unverified and not self.crash.startswith("not ")

    @property
    def same_verdict(self) -> bool:
        return self.ours == self.kernel

    def row(self) -> dict[str, Any]:
        return asdict(self)


def compare(both: Both, source: str, name: str, attr: bytearray, limit: int = TOO_LONG) -> Outcome:
    """Ask both for the whole log, and for that of level 1 where the kernel refuses."""
    kernel = ask_kernel(both.kernel, attr, WHOLE)
    fits = kernel.verdict != "ENOSPC"
    if not fits:
        kernel = ask_kernel(both.kernel, attr, uapi.BPF_LOG_STATS)
    outcome = Outcome(source, name, kernel.verdict)
    found = COUNTERS.search(kernel.log)
    if found is None:
        outcome.unverified = kernel.verdict != "OK"
        return outcome
    outcome.processed = int(found[1])
    started = time.process_time()
    try:
        _ask(both, attr, kernel, outcome, limit, fits)
    except NotSupported as error:
        outcome.unsupported = error.feature
    except Exception as error:
        outcome.crash = f"{type(error).__name__}: {error}"
    outcome.seconds = time.process_time() - started
    return outcome


def _ask(both: Both, attr: bytearray, kernel: Answer, outcome: Outcome, limit: int,
         fits: bool) -> None:
    """`fits`: there is room for the kernel's whole log."""
    if outcome.processed > limit:
        raise NotSupported(f"walks of more than {limit} instructions in this comparison")
    fields = Fields(attr)
    insns, facts = both.insns(fields), both.facts(fields)
    # the beginning of a long log may be gone
    whole = fits and outcome.processed <= LONG and len(kernel.log) < LOG_SIZE // 2
    ours = ask_ours(insns, facts, WHOLE if whole else uapi.BPF_LOG_STATS)
    outcome.ours = ours.verdict
    outcome.counters = _counters(ours) == _counters(kernel)
    if whole:
        outcome.level2 = _same(outcome, "level 2", kernel, ours)
    elif not outcome.same_verdict or not outcome.counters:
        outcome.difference = Pair("", kernel, ours).first_difference
    if whole and outcome.kernel != "OK":
        level = uapi.BPF_LOG_LEVEL1
        outcome.level1 = _same(outcome, "level 1", ask_kernel(both.kernel, attr, level),
                               ask_ours(insns, facts, level))


def _same(outcome: Outcome, level: str, kernel: Answer, ours: Answer) -> bool:
    found = Pair("", kernel, ours).first_difference
    if found and not outcome.difference:
        outcome.difference = f"{level} {found}"
    return not found


def _counters(answer: Answer) -> str:
    found = COUNTERS.search(answer.log)
    return found[0] if found else ""
