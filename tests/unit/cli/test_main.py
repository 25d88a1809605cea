"""Standard streams that are closed or full: a line and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import anybpf

FULL = Path("/dev/full")
SOURCES = str(Path(anybpf.__file__).parents[1])


def shell(text: str) -> tuple[int, str]:
    done = subprocess.run(["sh", "-c", f'"$0" -m anybpf {text}', sys.executable],
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": SOURCES})
    return done.returncode, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_input_is_empty() -> None:
    assert shell("asm <&-") == (0, "")


@pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full here")
def test_output_that_takes_nothing() -> None:
    for words in ("--version", "--help"):
        assert shell(f"{words} > {FULL}") == (2, "Error: No space left on device\n")
