"""The README's code runs as it stands, and says what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from anybpf.cli import VERBS

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


def test_the_verbs_it_names_exist() -> None:
    named = set(re.findall(r"^anybpf (\w+)", README, re.M))
    assert named
    assert named <= VERBS.keys()
