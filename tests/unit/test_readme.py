"""The README's code runs as it stands, and says what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from anybpf import toolchain
from anybpf.cli import VERBS, cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_python_example(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    monkeypatch.chdir(ROOT)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {})
    verdict, counters, event = shown.getvalue().splitlines()
    assert verdict.startswith("1 b'")
    assert counters.startswith("[{'packets': 1, 'bytes': 64}, ")
    assert "'reason': 1" in event


def without_time(line: str) -> str:
    """A line of a table but for its last column, and how wide that is."""
    return " ".join(re.sub(r"[\d.]+ (s|ms|us)$", "TIME", line).split())


def test_what_the_verifier_says(monkeypatch: pytest.MonkeyPatch) -> None:
    ((words, shown),) = re.findall(r"```\n\$ anybpf (.*?)\n(.*?)```", README, re.S)
    monkeypatch.chdir(ROOT)
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    answer = CliRunner().invoke(cli, words.split())
    assert [*map(without_time, answer.output.splitlines())] == [
        *map(without_time, shown.splitlines())]


def test_the_other_python_example(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```py\n(.*?)```", README, re.S)
    monkeypatch.chdir(ROOT)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {})
    assert shown.getvalue().startswith("firewall accept ")


def test_the_verbs_it_names_exist() -> None:
    named = set(re.findall(r"^anybpf (\w+)", README, re.M))
    assert named
    assert named <= VERBS.keys()
