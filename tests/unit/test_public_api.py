"""The public names: all there, and imported only when used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import anybpf


@pytest.mark.parametrize("name", anybpf.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(anybpf, name) is not None


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Machin'"):
        anybpf.Machin  # noqa: B018


def test_import_is_light() -> None:
    code = ("import sys, anybpf; print([m for m in sys.modules if m.startswith('anybpf.')"
            " or m in ('elftools', 'click', 'rich', 'numpy', 'llvmlite')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == "['anybpf.errors']"
