"""ANYBPF_UNCOMPILED=1: modules that are both .py and compiled are tested as .py.

A build must behave the same either way; `make test` runs the verifier's tests in both.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class SourceFirst:
    """An importer that prefers `anybpf`'s sources to extension modules beside them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        for folder in path or () if name.startswith("anybpf.") else ():
            source = Path(folder, name.rpartition(".")[2] + ".py")
            if source.exists():
                return importlib.util.spec_from_file_location(name, source)
        return None


def install() -> None:
    """Before the first import of the package."""
    if os.environ.get("ANYBPF_UNCOMPILED") == "1":
        sys.meta_path.insert(0, SourceFirst)
