"""clang, or the zig that the `ziglang` package brings, as a BPF compiler (tools/bpf/Makefile)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CLANGS = ("clang", *(f"clang-{n}" for n in range(24, 13, -1)))
SECONDS = 120


class CompileError(Exception):
    """The compiler refused the source; `output` is all that it said."""

    def __init__(self, source: str, output: str) -> None:
        self.source = source
        self.output = output
        errors = [line for line in output.splitlines() if "error:" in line] or [output.strip()]
        super().__init__(f"{source}: {errors[0]}")


class Compiler(NamedTuple):
    """How to call it, and what it calls its BPF targets."""

    name: str
    command: tuple[str, ...]
    target: str                     #: a format with {arch}: bpfel or bpfeb

    def arguments(self, arch: str) -> list[str]:
        return [*self.command, "-target", self.target.format(arch=arch)]


def find_compiler() -> Compiler | None:
    """The compiler that `ANYBPF_CLANG` names, the newest clang, or ziglang; None without one."""
    wanted = os.environ.get("ANYBPF_CLANG")
    for name in (wanted,) if wanted else CLANGS:
        path = shutil.which(name)
        if path:
            return Compiler(name, (path,), "{arch}")
    if importlib.util.find_spec("ziglang"):
        return Compiler("ziglang", (sys.executable, "-m", "ziglang", "cc"), "{arch}-freestanding")
    return None


def compile_file(source: str | os.PathLike[str], output: str | os.PathLike[str], *,
                 arch: str = "bpfel", cpu: str = "v3", debug: bool = True,
                 options: Sequence[str] = (), compiler: Compiler | None = None) -> Path:
    """Compile one C file to a BPF object with BTF (unless `debug` is False); its path.

    `arch` is bpfel or bpfeb, `cpu` v1 to v4. Raises CompileError, FileNotFoundError (no compiler).
    """
    chosen = compiler or find_compiler()
    if chosen is None:
        raise FileNotFoundError("no clang and no ziglang package found")
    command = [*chosen.arguments(arch), f"-mcpu={cpu}", "-O2", *(["-g"] if debug else []),
               "-Wall", *options, "-c", os.fspath(source), "-o", os.fspath(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise CompileError(os.fspath(source), done.stderr)
    return Path(output)
