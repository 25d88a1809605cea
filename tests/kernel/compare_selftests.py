"""The whole comparison with the kernel's selftests, written down as docs/selftests.md.

    PYTHONPATH=tests python -m kernel.compare_selftests docs/selftests.md [--limit N] [--jobs N]

Slow: thousands of programs, each asked for at three log levels. Nothing is attached or stays.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from anybpf.btf.kernel import load_vmlinux
from anybpf.errors import LoadError
from anybpf.linux import Linux
from anybpf.toolchain import CompileError
from kernel.both_verifiers import Both
from kernel.selftest_compare import LONG, TOO_LONG, Outcome, compare
from kernel.selftest_progs import compiled, outcomes, sources
from kernel.selftest_sources import ABSENT, Tree, trees
from kernel.selftest_tables import Replay, Table, tables

FOLDER = Path("build/selftests")
CHUNK = 40


class Set(NamedTuple):
    """Programs of one source, and what came out."""

    title: str
    outcomes: list[Outcome]


# -- doing it


def table_outcomes(tests: list[Table], limit: int) -> list[Outcome]:
    """Some tests of the tables."""
    made = []
    vmlinux = load_vmlinux()
    for test in tests:
        both = Both()
        replay = Replay(both, vmlinux)
        try:
            made.append(compare(both, test.file, test.name, replay.attr(test), limit))
        finally:
            replay.close()
    return made


def object_outcomes(tree: Tree, source: Path, limit: int) -> list[Outcome]:
    """All programs of a C file."""
    try:
        path = compiled(tree, source, FOLDER / tree.name)
        return list(outcomes(path, source.stem, limit))
    except CompileError as error:
        return [Outcome(source.stem, "*", "", crash=f"not compiled: {_short(error)}")]
    except (LoadError, NotImplementedError) as error:
        return [Outcome(source.stem, "*", "", crash=f"not read: {_short(error)}")]


def _short(error: Exception) -> str:
    return str(error).splitlines()[0].rsplit("error: ", 1)[-1][:120]


def chunks(tests: Iterator[Table]) -> Iterator[list[Table]]:
    while some := list(islice(tests, CHUNK)):
        yield some


def run(tree: Tree, limit: int, pool: ProcessPoolExecutor) -> Iterator[Set]:
    """Both kinds of a tree's selftests."""
    tests = tables(tree, FOLDER / f"tables-{tree.name}")
    found = pool.map(partial(table_outcomes, limit=limit), chunks(tests))
    yield Set(f"tables of {tree.name} (`verifier/*.c`)", [o for some in found for o in some])
    each = pool.map(partial(object_outcomes, tree, limit=limit), sources(tree))
    every = [o for some in each for o in some]
    new = [o for o in every if o.source.startswith("verifier_")]
    if new:
        yield Set(f"programs of {tree.name} (`progs/verifier_*.c`)", new)
    rest = [o for o in every if not o.source.startswith("verifier_")]
    yield Set(f"programs of {tree.name} (the other `progs/*.c`)", rest)


# -- telling it


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f}%)" if whole else "none"


def numbers(outcomes_: list[Outcome]) -> Iterator[tuple[str, str]]:
    """The rows of a set's table."""
    asked = [o for o in outcomes_ if not o.crash and not o.unverified]
    both = [o for o in asked if not o.unsupported]
    refused = [o for o in both if o.kernel != "OK" and o.level1 is not None]
    detailed = [o for o in both if o.level2 is not None]
    yield "programs", str(len(outcomes_))
    yield "not made, or refused before the kernel's verifier", str(len(outcomes_) - len(asked))
    yield "not supported", str(len(asked) - len(both))
    yield "compared", str(len(both))
    yield "same verdict and errno", share(sum(o.same_verdict for o in both), len(both))
    yield "accepted here, refused by the kernel", str(sum(
        o.ours == "OK" and o.kernel != "OK" for o in both))
    yield "same counters", share(sum(o.counters for o in both), len(both))
    yield "same log of refusals (level 1)", share(
        sum(bool(o.level1) for o in refused), len(refused))
    yield "same log (level 2)", share(sum(bool(o.level2) for o in detailed), len(detailed))


def section(found: Set) -> Iterator[str]:
    yield f"## {found.title[0].upper()}{found.title[1:]}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in numbers(found.outcomes):
        yield f"| {name} | {value} |"
    yield ""
    yield from counted("Not supported", (o.unsupported for o in found.outcomes if o.unsupported))
    yield from counted("Not made", (_reason(o) for o in found.outcomes if o.crash))
    yield from differing(found.outcomes)


def _reason(outcome: Outcome) -> str:
    """Why there was nothing to compare, without what is different in each object."""
    if outcome.crash.startswith("not loaded: "):
        words = outcome.crash.split("': ")
        return "not loaded: " + words[-1] if len(words) > 1 else outcome.crash
    return outcome.crash


def counted(title: str, words: Iterator[str]) -> Iterator[str]:
    count = Counter(words)
    if not count:
        return
    yield f"{title}:"
    yield ""
    for word, number in count.most_common(40):
        yield f"* {number}: {word}"
    if len(count) > 40:
        yield f"* {sum(n for _, n in count.most_common()[40:])}: others"
    yield ""


def differing(outcomes_: list[Outcome]) -> Iterator[str]:
    """Those that are not the same in everything, by name, with the first difference."""
    bad = [o for o in outcomes_ if not o.unsupported and o.ours
           and (o.difference or not o.same_verdict or not o.counters)]
    if not bad:
        yield "None differs."
        yield ""
        return
    yield "Different:"
    yield ""
    for o in bad:
        verdict = "" if o.same_verdict else f" kernel {o.kernel}, here {o.ours};"
        first = " / ".join(line.strip() for line in o.difference.splitlines())
        yield f"* `{o.source}`: {o.name}:{verdict} `{first[:300].replace('`', '')}`"
    yield ""


def release() -> str:
    """The running kernel's version, without what its builder calls it."""
    return platform.release().partition("-")[0]


def report(sets: list[Set], limit: int) -> str:
    lines = [
        "# The kernel's selftests before both verifiers", "",
        "Written by `make compare-selftests`. The sources are the kernel's own, read where they",
        f"lie; each program is loaded into the running kernel ({release()}) and put",
        "before `anybpf.verifier`. What was expected of a program when its test was written does",
        "not matter: the running kernel is right. Programs whose walk is longer than",
        f"{LONG:,} instructions are compared by verdict and counters only, longer than {limit:,}",
        "not at all.", "",
        "\"Not made\" are programs that need the kernel's test module, a program to attach to, or",
        "what a test's own code does first; \"not supported\" names what `NotSupported` named.", ""]
    every = Set("all together", [o for found in sets for o in found.outcomes])
    lines += ["## All together", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in numbers(every.outcomes)]
    lines.append("")
    for found in sets:
        lines += section(found)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--limit", type=int, default=TOO_LONG)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    reason = Linux.probe() or ("" if trees() else ABSENT)
    if reason:
        print(f"Error: {reason}", file=sys.stderr)
        return 1
    with ProcessPoolExecutor(given.jobs) as pool:
        sets = [found for tree in trees() for found in run(tree, given.limit, pool)]
    (FOLDER / "outcomes.json").write_text(json.dumps(
        [o.row() for found in sets for o in found.outcomes], indent=0))
    given.output.write_text(report(sets, given.limit))
    for found in sets:
        print(found.title, *(f"  {name}: {value}" for name, value in numbers(found.outcomes)),
              sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
