"""Pins in a Machine's bpf file system behave like those of the running kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anybpf.machine import Machine
from kernel.calls import Calls
from kernel.pin_cases import answers

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
#: a private mount namespace, so that nothing is ever pinned where others see it
PRIVATE = ["unshare", "-m", "sh", "-c", 'mount -t bpf bpf /sys/fs/bpf && cd / && exec "$0" "$@"']


def test_pins_and_paths(refused: str | None) -> None:
    if refused:
        pytest.skip(refused)
    if shutil.which("unshare") is None:
        pytest.skip("no unshare(1) for a private mount of the bpf file system")
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT / "tests")))
    run = subprocess.run([*PRIVATE, sys.executable, "-m", "kernel.pin_cases"], text=True,
                         capture_output=True, env={**os.environ, "PYTHONPATH": path}, timeout=60)
    if "mount:" in run.stderr or "unshare:" in run.stderr:
        pytest.skip(f"no private mount: {run.stderr.strip()}")
    assert not run.returncode, run.stderr
    with Machine() as machine:
        assert answers(Calls(machine), machine.bpffs.mkdir) == json.loads(run.stdout)
