"""The guest's file system: the agent as /init and the folders that it mounts on (init/initramfs.c).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

AGENT = Path(__file__).with_name("agent.c")
FLAGS = ("-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-stack-protector",
         "-fno-pie", "-fcf-protection=none", "-Wall", "-Wextra", "-Werror")
FOLDERS = ("dev", "proc", "sys", "tmp", "run")
FOLDER, FILE, CHARACTER = 0o040755, 0o100755, 0o020600
CONSOLE = (5, 1)
TRAILER = "TRAILER!!!"


class NoGuest(Exception):
    """There is no guest to be had here; says why, and what would help."""


def compiler() -> list[str]:
    """A C compiler for x86-64 Linux. Raises NoGuest."""
    for name in (os.environ.get("CC", ""), "gcc", "clang", "clang-19"):
        if name and shutil.which(name):
            return [name]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl"]
    raise NoGuest("no C compiler for the guest's agent: install gcc, clang or ziglang")


def compile_agent(target: Path) -> None:
    """Make the agent's binary. Raises NoGuest with what the compiler said."""
    done = subprocess.run([*compiler(), *FLAGS, "-o", str(target), str(AGENT)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoGuest(f"the guest's agent does not compile:\n{done.stderr}")


def entry(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One file of a cpio archive of the "newc" form."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data.ljust((len(data) + 3) & ~3, b"\0")


def entries(agent: bytes) -> Iterator[bytes]:
    """All files of the archive."""
    for folder in FOLDERS:
        yield entry(folder, FOLDER)
    yield entry("dev/console", CHARACTER, device=CONSOLE)
    yield entry("init", FILE, agent)
    yield entry(TRAILER, 0)


def build(target: Path) -> None:
    """Write the archive with a freshly compiled agent."""
    binary = target.with_name(f"{target.name}.agent.{os.getpid()}")
    try:
        compile_agent(binary)
        content = b"".join(entries(binary.read_bytes()))
    finally:
        binary.unlink(missing_ok=True)
    spare = target.with_name(f"{target.name}.{os.getpid()}")
    spare.write_bytes(content)
    spare.replace(target)
