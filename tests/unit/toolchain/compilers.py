"""The compilers that tests find on this machine."""

from __future__ import annotations

import importlib.util
import sys

from anybpf import toolchain
from anybpf.toolchain import Compiler

ZIG = Compiler("ziglang", (sys.executable, "-m", "ziglang", "cc"), "{arch}-freestanding")


def compilers() -> list[Compiler]:
    found = toolchain.find_compiler()
    zig = ZIG if importlib.util.find_spec("ziglang") else None
    return list({c.name: c for c in (found, zig) if c}.values())


COMPILERS = compilers()
