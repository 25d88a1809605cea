"""Which kernel the comparisons are made with: the running one, or Debian's in a guest."""

from __future__ import annotations

import os

import anybpf.linux

VARIABLE = "ANYBPF_KERNEL"
KERNELS = ("host", "guest")


def chosen() -> str:
    """What the environment says."""
    return os.environ.get(VARIABLE, KERNELS[0])


def choose(name: str) -> None:
    """With `guest`, every `Linux` that is imported from now on is a `Guest` (docs/guest.md)."""
    if name == "guest":
        from guest.backend import Guest

        anybpf.linux.Linux = Guest  # type: ignore[assignment, misc]
