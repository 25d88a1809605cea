"""One sample before both: the same, longer than we look at, not modelled, or how it differs."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from anybpf import uapi
from kernel.both_verifiers import Pair
from kernel.fuzz.dangers import is_dangerous
from kernel.fuzz.world import Asks, Sample

#: programs that take longer say no more
MOST_PROCESSED = 6000
PROCESSED = re.compile(r"processed (\d+) insns.*")


class Outcome(Enum):
    """How the answers compare; the first ones are the worst."""

    HOLE = "accepted what the kernel refuses"
    CRASH = "crash"
    STRICT = "refused what the kernel accepts"
    ERRNO = "another errno"
    COUNTERS = "other counters"
    LOG = "another log"
    SAME = "the same"
    LONG = "too long"
    UNSUPPORTED = "not supported"
    EARLIER = "refused before it is looked at"
    DANGEROUS = "nothing to show to a kernel"


BAD = (Outcome.HOLE, Outcome.CRASH, Outcome.STRICT, Outcome.ERRNO, Outcome.COUNTERS, Outcome.LOG)
#: what is wrong against a kernel that is not the reference, whose logs differ now and then
VERDICTS = (Outcome.HOLE, Outcome.CRASH, Outcome.STRICT, Outcome.ERRNO)


class Judgement(NamedTuple):
    """How a sample came out; `detail` is the first line that differs, or what is missing."""

    outcome: Outcome
    detail: str = ""
    accepted: bool = False
    kernel: str = ""
    ours: str = ""


def judge(world: Asks, of: Sample, level: int = uapi.BPF_LOG_LEVEL2) -> Judgement:
    """Ask both; programs that are too long are only walked by the kernel."""
    if is_dangerous(*world.question(of)):
        return Judgement(Outcome.DANGEROUS)
    short = world.ask_kernel(of, uapi.BPF_LOG_STATS)
    processed = PROCESSED.search(short.log)
    if processed and int(processed[1]) > MOST_PROCESSED:
        return Judgement(Outcome.LONG)
    try:
        pair = world.ask(of, level)
    except Exception as error:  # what a crash is, is the question here
        return Judgement(Outcome.CRASH, f"{type(error).__name__}: {error}")
    if not pair.kernel.log:
        return Judgement(Outcome.EARLIER)
    if pair.ours is None:
        return Judgement(Outcome.UNSUPPORTED, pair.unsupported)
    return Judgement(_compare(pair), pair.first_difference, pair.kernel.verdict == "OK",
                     pair.kernel.log, pair.ours.log)


def _told(log: str) -> str:
    """The log without a number that the rewrites make (see docs/verifier.md)."""
    return re.sub(r"(No program to jit at insn )\d+", r"\1N", log)


def _compare(pair: Pair) -> Outcome:
    assert pair.ours is not None
    theirs, mine = pair.kernel, pair.ours
    if theirs.verdict != mine.verdict:
        return (Outcome.HOLE if mine.verdict == "OK"
                else Outcome.STRICT if theirs.verdict == "OK" else Outcome.ERRNO)
    if PROCESSED.findall(theirs.log) != PROCESSED.findall(mine.log) or \
            counters(theirs.log) != counters(mine.log):
        return Outcome.COUNTERS
    return Outcome.SAME if _told(theirs.log) == _told(mine.log) else Outcome.LOG


def counters(log: str) -> str:
    """The last line: how much was processed."""
    lines = log.splitlines()
    return lines[-1] if lines else ""
