"""Pins and paths, as a list of answers; run as a program it prints the running kernel's.

The program is meant for a private mount namespace in which /sys/fs/bpf is a fresh bpf file system.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from anybpf import uapi as u
from anybpf.linux import Linux
from kernel.calls import Calls, u32
from kernel.errno_cases import BTF

ROOT = "/sys/fs/bpf"
#: (object, path): m a map, p a program, b BTF
PINS = (
    ("m", f"{ROOT}/m"), ("m", f"{ROOT}/m"), ("m", f"{ROOT}/m2"), ("p", f"{ROOT}/p"),
    ("b", f"{ROOT}/b"), ("m", f"{ROOT}/a.b"), ("m", f"{ROOT}/none/x"), ("m", f"{ROOT}/m/x"),
    ("m", ROOT), ("m", f"{ROOT}/"), ("m", "/sys/fs/x"), ("m", "/nonexistent/x"), ("m", "/"),
    ("m", ""), ("m", f"{ROOT}/../bpf/q"), ("m", f"{ROOT}//r"), ("m", f"{ROOT}/{'n' * 255}"),
    ("m", f"{ROOT}/{'n' * 256}"), ("m", "/sys"), ("m", f"{ROOT}/./s"), ("m", f"{ROOT}/t/"),
    ("m", f"{ROOT}/.."), ("m", f"{ROOT}/."), ("m", "/" + "x" * 5000), ("m", f"{ROOT}/d/x"),
)
GETS = (
    f"{ROOT}/d", f"{ROOT}/d/x", f"{ROOT}/d/x/", ROOT, f"{ROOT}/zz", f"{ROOT}/m/x", "", "/sys",
    "/nonexistent", f"{ROOT}/../bpf/m", f"{ROOT}/none/x",
)


def answers(calls: Calls, mkdir: Callable[[str], Any]) -> list[Any]:
    """What the calls answer, in order."""
    fds = {"m": calls.map(1), "p": calls.prog(), "b": calls.btf(BTF)}
    mkdir(f"{ROOT}/d")
    found: list[Any] = [(path, calls.call(u.BPF_OBJ_PIN, bpf_fd=fds[kind], pathname=text(path)))
                        for kind, path in PINS]
    found += [(path, calls.open(u.BPF_OBJ_GET, pathname=text(path))) for path in GETS]
    for flags in (8, 16, 24, 1):
        found += [(flags, calls.open(u.BPF_OBJ_GET, pathname=text(f"{ROOT}/{name}"),
                                     file_flags=flags)) for name in "mp"]
    read_only = calls.must(u.BPF_OBJ_GET, pathname=text(f"{ROOT}/m"), file_flags=8)
    found.append(calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=read_only, key=u32(0), value=bytes(8)))
    calls.close()
    again = calls.must(u.BPF_OBJ_GET, pathname=text(f"{ROOT}/m"))
    found.append(calls.call(u.BPF_MAP_UPDATE_ELEM, map_fd=again, key=u32(0), value=bytes(8)))
    calls.close()
    return json.loads(json.dumps(found))    # type: ignore[no-any-return]


def text(path: str) -> bytes:
    """A C string."""
    return path.encode() + b"\0"


if __name__ == "__main__":
    json.dump(answers(Calls(Linux()), os.mkdir), sys.stdout)
