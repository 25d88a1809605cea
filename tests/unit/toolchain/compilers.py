"""The compilers that tests find on this machine, and a kernel whose types are few."""

from __future__ import annotations

import importlib.util
import sys

from anybpf import toolchain
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.toolchain import Compiler

ZIG = Compiler("ziglang", (sys.executable, "-m", "ziglang", "cc"), "{arch}-freestanding")


def compilers() -> list[Compiler]:
    found = toolchain.find_compiler()
    zig = ZIG if importlib.util.find_spec("ziglang") else None
    return list({c.name: c for c in (found, zig) if c}.values())


COMPILERS = compilers()


def small_kernel() -> bytes:
    """A BTF like a kernel's: what a program needs, what that leads to, and what it does not."""
    made = BtfBuilder()
    made.add_all([
        t.Int("unsigned int", 4),                                               # 1
        t.Int("long long unsigned int", 8),                                     # 2
        t.Typedef("u32", 1),                                                    # 3
        t.Typedef("__u64", 2),                                                  # 4
        t.Struct("leaf", 4, (t.Member("depth", 3, 0),)),                        # 5
        t.Ptr(5),                                                               # 6
        t.Struct("inside", 8, (t.Member("leaf", 6, 0),)),                       # 7
        t.Struct("distant", 4, (t.Member("x", 3, 0),)),                         # 8
        t.Ptr(8),                                                               # 9
        t.Struct("node", 24, (t.Member("inside", 7, 0), t.Member("hidden", 3, 64),
                              t.Member("far", 9, 128))),                        # 10
        t.Struct("unrelated", 4, (t.Member("x", 3, 0),)),                       # 11
        t.Enum("", 4, (t.EnumValue("COLOUR_RED", 3),)),                         # 12
        t.Enum("shape", 4, (t.EnumValue("SHAPE_ROUND", 1),)),                   # 13
    ])
    return made.to_bytes()
