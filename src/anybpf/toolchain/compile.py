"""clang, or the zig that the `ziglang` package brings, as a BPF compiler (tools/bpf/Makefile)."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.toolchain import headers, vmlinux
from anybpf.toolchain.headers import INCLUDE as INCLUDE
from anybpf.toolchain.includes import reached

log = logging.getLogger("anybpf.toolchain")

CLANGS = ("clang", *(f"clang-{n}" for n in range(24, 13, -1)))
SECONDS = 120
#: distributions' clang may turn these on; BPF has neither a canary nor handlers for traps
OFF = ("-fno-stack-protector", "-fno-sanitize=all")
NO_COMPILER = ("no clang and no ziglang package found: install clang, or anybpf[clang], "
               "or name a clang in ANYBPF_CLANG")

#: what platform.machine() begins with -> the name in -D__TARGET_ARCH_<name>
MACHINES = (("x86_64", "x86"), ("amd64", "x86"), ("i", "x86"), ("aarch64", "arm64"),
            ("arm64", "arm64"), ("arm", "arm"), ("s390", "s390"), ("riscv", "riscv"),
            ("ppc", "powerpc"), ("powerpc", "powerpc"), ("mips", "mips"),
            ("loongarch", "loongarch"))
TARGET_ARCH = "-D__TARGET_ARCH_"


class CompileError(LoadError):
    """The compiler refused the source; `output` is all that it said, `status` its exit status."""

    def __init__(self, source: str, output: str, status: int = 1) -> None:
        self.source = source
        self.output = output
        self.status = status
        errors = [line for line in output.splitlines() if "error:" in line]
        said = errors[0] if errors else output.strip() or f"the compiler gave status {status}"
        super().__init__(f"{source}: {said}")


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


def is_source(path: str | os.PathLike[str]) -> bool:
    """Is this the name of a C source, not of an object file?"""
    return os.fspath(path).endswith(".c")


def object_bytes(path: str | os.PathLike[str], *, btf: Btf | None = None,
                 warn: Callable[[str], None] = log.warning) -> bytes:
    """The object file at `path`, or what the C source at `path` compiles to.

    `btf` is the kernel whose vmlinux.h a source gets (None: the running one's); `warn` is called
    with the compiler's warnings (default: they are logged). Raises as `compile_file`.
    """
    if not is_source(path):
        return Path(path).read_bytes()
    with tempfile.TemporaryDirectory(prefix="anybpf-") as folder:
        made = compile_file(path, Path(folder) / "object.o", btf=btf, warn=warn)
        return made.read_bytes()


def compile_file(source: str | os.PathLike[str], output: str | os.PathLike[str], *,
                 arch: str = "bpfel", cpu: str = "v3", debug: bool = True,
                 options: Sequence[str] = (), compiler: Compiler | None = None,
                 prefer: headers.Prefer = "auto", btf: Btf | None = None,
                 warn: Callable[[str], None] = log.warning) -> Path:
    """Compile one C file to a BPF object with BTF (unless `debug` is False); its path.

    `arch` is bpfel or bpfeb, `cpu` v1 to v4, `options` are further ones of the compiler's. The
    source may include <bpf/bpf_helpers.h> and its kin (`prefer`: see `headers.folders`) and
    "vmlinux.h", which is made from `btf` (None: the running kernel's) unless there is one beside
    the source or in a folder of `options`. `warn` is called with the compiler's
    warnings (default: they are logged).

    Raises CompileError; FileNotFoundError (no compiler, no source); LoadError (vmlinux.h is
    wanted, and there is no BTF to make it from).
    """
    chosen = compiler or find_compiler()
    if chosen is None:
        raise FileNotFoundError(NO_COMPILER)
    if not Path(source).is_file():
        raise FileNotFoundError(2, os.strerror(2), os.fspath(source))
    with vmlinux_folder(Path(source), options, btf) as folder:
        command = [*chosen.arguments(arch), f"-mcpu={cpu}", "-O2", *(["-g"] if debug else []),
                   "-Wall", *OFF, *target_arch(arch, options), *options,
                   *headers.folders(prefer, is_zig=chosen.name == "ziglang"), *folder,
                   "-c", os.fspath(source), "-o", os.fspath(output)]
        said = call(command, os.fspath(source))
    if said:
        warn(said)
    return Path(output)


def call(command: Sequence[str], source: str) -> str:
    """Run the compiler; what it said. CompileError if it fails or does not end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CompileError(source, f"the compiler did not end in {SECONDS} seconds\n") from None
    if done.returncode:
        raise CompileError(source, done.stderr, done.returncode)
    return done.stderr


def target_arch(arch: str, options: Sequence[str]) -> list[str]:
    """The option that says whose registers bpf_tracing.h means, unless `options` has it.

    By default this machine's, if its byte order is the target's; else the usual machine of that
    byte order: x86 or s390.
    """
    if any(option.startswith(TARGET_ARCH) for option in options):
        return []
    usual, order = ("s390", "big") if arch == "bpfeb" else ("x86", "little")
    return [TARGET_ARCH + (this_machine() or usual if sys.byteorder == order else usual)]


def this_machine() -> str | None:
    name = platform.machine().lower()
    return next((target for start, target in MACHINES if name.startswith(start)), None)


@contextmanager
def vmlinux_folder(source: Path, options: Sequence[str], btf: Btf | None) -> Iterator[list[str]]:
    """The options that let the source include vmlinux.h; none if it does not, or has its own.

    Without a cache to keep the header in, it lives in a folder that goes away afterwards.
    """
    if vmlinux.NAME not in reached(source, include_folders(options)).missing:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="anybpf-") as spare:
        yield ["-idirafter", str(vmlinux.cached(btf, Path(spare)))]


def include_folders(options: Sequence[str]) -> list[Path]:
    """The folders of -I and -isystem, and of our own headers."""
    joint = "\0".join(options)
    for flag in ("-isystem", "-I"):
        joint = joint.replace(f"{flag}\0", flag)
    found = [Path(option.removeprefix("-isystem").removeprefix("-I"))
             for option in joint.split("\0") if option.startswith(("-I", "-isystem"))]
    return [*found, INCLUDE]
