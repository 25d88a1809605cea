r"""The whole comparison with the kernel's selftests, written down as docs/selftests.md.

    PYTHONPATH=tests:tools python -m kernel.compare_selftests docs/selftests.md \
        [--kernel host|guest|both|none] [--limit N] [--jobs N]

Slow: thousands of programs, each asked for at three log levels. Nothing is attached or stays.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anybpf.linux import Linux
from kernel import selftest_known
from kernel.selftest_compare import LONG, TOO_LONG, Outcome
from kernel.selftest_progs import sources
from kernel.selftest_run import ALL, FOLDER, TOOLS, Run
from kernel.selftest_sources import ABSENT, trees


class Set(NamedTuple):
    """Programs of one source, and what came out."""

    title: str
    outcomes: list[Outcome]


# -- doing it


def ask(oracle: str, *options: str) -> None:
    """Put all before a kernel, in a process of its own."""
    subprocess.run([sys.executable, "-m", "kernel.selftest_run", outcomes_of(oracle), *options],
                   check=True, env=os.environ | {"ANYBPF_KERNEL": oracle})


def outcomes_of(oracle: str) -> Path:
    return FOLDER / f"outcomes-{oracle}.json"


def together(here: list[Outcome], there: list[Outcome]) -> Iterator[Outcome]:
    """Each program once: as the guest has it where the host did not come so far."""
    found = {(o.tree, o.source, o.name): o for o in there}
    objects = {(o.tree, o.source) for o in there}
    for one in here:
        if one.asked:
            yield one
        elif one.name != ALL:
            yield found.pop((one.tree, one.source, one.name), one)
        elif (one.tree, one.source) not in objects:
            yield one
    unmade = {(o.tree, o.source) for o in here if o.name == ALL}
    yield from (o for o in found.values() if (o.tree, o.source) in unmade)


def sets(outcomes: list[Outcome]) -> Iterator[Set]:
    """The programs by tree and kind."""
    for tree in dict.fromkeys(o.tree for o in outcomes):
        of_tree = [o for o in outcomes if o.tree == tree]
        if tree == TOOLS:
            yield Set(f"programs of Debian's {TOOLS}", of_tree)
            continue
        yield Set(f"tables of {tree} (`verifier/*.c`)", [o for o in of_tree if o.tables])
        new = [o for o in of_tree if not o.tables and o.source.startswith("verifier_")]
        yield Set(f"programs of {tree} (`progs/verifier_*.c`)", new)
        yield Set(f"programs of {tree} (the other `progs/*.c`)",
                  [o for o in of_tree if not o.tables and not o.source.startswith("verifier_")])


# -- telling it


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f}%)" if whole else "none"


def numbers(outcomes_: list[Outcome]) -> Iterator[tuple[str, str]]:
    """The rows of a set's table."""
    asked = [o for o in outcomes_ if o.asked]
    both = [o for o in asked if not o.unsupported]
    refused = [o for o in both if o.kernel != "OK" and o.level1 is not None]
    detailed = [o for o in both if o.level2 is not None]
    yield "programs", str(len(outcomes_))
    guests = sum(o.asked and o.oracle == "guest" for o in outcomes_)
    if guests:
        yield "judged by the guest's kernel", str(guests)
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


def left_out(every: list[Outcome]) -> Iterator[str]:
    """What the last run did not come to."""
    for tree in trees():
        mine = [o for o in every if o.tree == tree.name]
        names = [path.stem for path in sources(tree)]
        # those without programs leave nothing; they were asked in this order
        seen = {o.source for o in mine if not o.tables}
        last = max((i for i, name in enumerate(names) if name in seen), default=-1)
        missing = names[last + 1:]
        if missing:
            yield (f"Of {tree.name}, {len(missing)} of {len(names)} sources were not put before "
                   f"the kernels in this run (`{missing[0]}` to `{missing[-1]}`).")
            yield ""
        if not any(o.oracle == "guest" for o in mine):
            yield f"The guest's kernel was not asked for the programs of {tree.name} in this run."
            yield ""


def section(found: Set, *, detailed: bool = True) -> Iterator[str]:
    yield f"## {found.title[0].upper()}{found.title[1:]}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in numbers(found.outcomes):
        yield f"| {name} | {value} |"
    yield ""
    if not detailed:
        return
    yield from counted("Not supported", (
        (o.unsupported, o.source) for o in found.outcomes if o.unsupported))
    yield from counted("Not made", ((_reason(o), o.source) for o in found.outcomes if not o.asked))
    yield from differing(found.outcomes)


def _reason(outcome: Outcome) -> str:
    """Why there was nothing to compare, without what is different in each object."""
    if outcome.unverified:
        return f"refused with {outcome.kernel} before the verifier"
    if outcome.crash.startswith("not loaded: "):
        words = outcome.crash.split("': ")
        return "not loaded: " + words[-1] if len(words) > 1 else outcome.crash
    return outcome.crash


def counted(title: str, found: Iterator[tuple[str, str]]) -> Iterator[str]:
    """How many programs for each reason, and of which sources."""
    pairs = list(found)
    if not pairs:
        return
    yield f"{title}:"
    yield ""
    for why, number in Counter(why for why, _ in pairs).most_common():
        names = dict.fromkeys(source for other, source in pairs if other == why)
        yield f"* {number}: {why} ({', '.join(f'`{name}`' for name in names)})"
    yield ""


def differing(outcomes_: list[Outcome]) -> Iterator[str]:
    """Those that are not the same in everything, by name, with the first difference."""
    bad = [o for o in outcomes_ if not o.unsupported and o.ours
           and (o.difference or not o.same_verdict or not o.counters)]
    if not bad:
        yield "None differs."
        yield ""
        return
    yield from explained(bad)
    unknown = [o for o in bad if not _known(o)]
    if unknown:
        yield "Different:"
        yield ""
    for o in unknown:
        verdict = "" if o.same_verdict else f" kernel {o.kernel}, here {o.ours};"
        first = " / ".join(line.strip() for line in o.difference.splitlines())
        yield f"* `{o.source}`: {o.name}:{verdict} `{first[:300].replace('`', '')}`"
    if unknown:
        yield ""


def explained(bad: list[Outcome]) -> Iterator[str]:
    """Those whose kernel is known to be older than what the verifier follows."""
    reasons = dict.fromkeys(filter(None, map(_known, bad)))
    if not reasons:
        return
    yield "Different, where the guest's older kernel is not like the reference yet:"
    yield ""
    for why in reasons:
        names = [f"`{o.source}`: {o.name}" + (f" ({o.kernel} there, here {o.ours})"
                                              if not o.same_verdict else "")
                 for o in bad if _known(o) == why]
        yield f"* {why}: {', '.join(names)}"
    yield ""


def _known(one: Outcome) -> str:
    return selftest_known.reason(one.source, one.name, one.oracle)


def report(here: Run, there: Run | None, limit: int) -> str:
    lines = [
        "# The kernel's selftests before both verifiers", "",
        "Written by `make compare-selftests`. The sources are the kernel's own, read where they",
        f"lie; each program is loaded into the running kernel ({here.release}) and put",
        "before `anybpf.verifier`. What was expected of a program when its test was written does",
        "not matter: the running kernel is right. Programs whose walk is longer than",
        f"{LONG:,} instructions are compared by verdict and counters only, longer than {limit:,}",
        "not at all.", ""]
    if there is not None:
        lines += [
            "What the running kernel does not bring to its verifier (it refuses the program type",
            "by policy, or lacks what the program needs) is judged by Debian's kernel in a guest",
            f"([docs/guest.md](guest.md); {there.release}) instead, with its types as the target.",
            "It has the selftests' own module, made of its source and a stand-in for the kernel's",
            "headers (`selftest_module.py`).", ""]
    lines += ["\"Not supported\" names what `NotSupported` named.", ""]
    every = list(together(here.outcomes, there.outcomes if there else []))
    lines += left_out(every)
    lines += section(Set("all together", every), detailed=False)
    for found in sets(every):
        lines += section(found)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--limit", type=int, default=TOO_LONG)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kernel", choices=("host", "guest", "both", "none"), default="both",
                        help="whom to ask; of the others, the last answers are taken")
    given = parser.parse_args()
    reason = Linux.probe() or ("" if trees() else ABSENT)
    if reason:
        print(f"Error: {reason}", file=sys.stderr)
        return 1
    if given.kernel in ("host", "both"):
        ask("host", "--limit", str(given.limit), "--jobs", str(given.jobs))
    if given.kernel in ("guest", "both"):
        ask("guest", "--limit", str(given.limit), "--missing", str(outcomes_of("host")))
    there = outcomes_of("guest")
    given.output.write_text(report(Run.read(outcomes_of("host")),
                                   Run.read(there) if there.exists() else None, given.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
