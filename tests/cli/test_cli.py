"""Every case of tests/cli/*.cli: a command line, its exit code, and what it prints.

    [case NAME]
    [run] verb words...            {demo} is the demo's folder, {tmp} an empty one
    [exit N]                       the exit code; the lines below are standard output and error
    expected lines                 `...` stands for any text in a line, alone for any lines

A line `[stdin]` before `[exit]` begins what is read from standard input.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from anybpf.cli import cli

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "demo"


class Case(NamedTuple):
    name: str
    words: str
    stdin: str
    code: int
    expected: str


def cases() -> Iterator[Case]:
    for path in sorted(HERE.glob("*.cli")):
        for block in path.read_text().split("[case ")[1:]:
            yield parse(path.stem, block)


def parse(stem: str, block: str) -> Case:
    head, code, expected = re.split(r"\[exit (\d+)\]\n", block)
    name, _, rest = head.partition("]\n")
    run, _, stdin = rest.partition("[stdin]\n")
    return Case(f"{stem}: {name}", run.removeprefix("[run] ").strip(), stdin, int(code),
                expected.strip("\n"))


def line_matches(expected: str, line: str) -> bool:
    return re.fullmatch(re.escape(expected).replace(r"\.\.\.", ".*"), line) is not None


def matches(expected: list[str], lines: list[str]) -> bool:
    """Whether the lines are the expected ones; a lone `...` takes any number of them."""
    if not expected:
        return not lines
    if expected[0] == "...":
        return any(matches(expected[1:], lines[i:]) for i in range(len(lines) + 1))
    return bool(lines) and line_matches(expected[0], lines[0]) and matches(expected[1:], lines[1:])


@pytest.mark.parametrize("case", list(cases()), ids=lambda c: c.name)
def test_command(case: Case, tmp_path: Path) -> None:
    words = shlex.split(case.words.format(demo=DEMO, tmp=tmp_path))
    done = CliRunner().invoke(cli, words, input=case.stdin, prog_name="anybpf")
    assert done.exit_code == case.code, done.output
    shown = done.output.replace(str(DEMO), "{demo}").replace(str(tmp_path), "{tmp}").strip("\n")
    assert matches(case.expected.splitlines(), shown.splitlines()), shown
