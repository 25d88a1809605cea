"""What the loader says and answers, held against libbpf's own through bpftool.

bpftool works in a mount namespace of its own, with a bpffs that goes with it. Where libbpf versions
differ in words, lines are left out by name.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anybpf.errors import BpfError
from anybpf.libbpf import Object
from conftest import Build

pytestmark = pytest.mark.kernel

#: libbpf's words that say nothing of the object, or that changed since
LEFT_OUT = re.compile(
    r"BEGIN PROG LOAD LOG|pinned|no pinned map|\bpin\b|kernel BTF '/sys|^failed to load|"
    r"^prog '\w+': failed to load|struct_ops (reloc|init:)|-sub-prog|^loading|skipping|slot \["
    r"|\(func ksym\) '\w+': resolved|sub-?prog|flags [0-9a-f]+\.$|^extern \(k")


def private(script: str) -> str:
    """Run a shell script in a mount namespace with an empty bpffs; what it printed."""
    if shutil.which("bpftool") is None or shutil.which("unshare") is None:
        pytest.skip("bpftool or unshare is not installed")
    whole = "mount -t bpf bpf /sys/fs/bpf && " + script
    done = subprocess.run(["unshare", "-m", "sh", "-c", whole], capture_output=True, text=True,
                          timeout=60)
    if "mount:" in done.stderr:
        pytest.skip(f"no bpffs can be mounted here: {done.stderr.strip()}")
    return done.stdout


def libbpfs(path: Path) -> list[str]:
    """What libbpf says while it loads an object."""
    text = private(f"bpftool -d prog loadall {path} /sys/fs/bpf/x 2>&1")
    return [line.removeprefix("libbpf: ") for line in text.splitlines()
            if line.startswith("libbpf: ")]


def ours(path: Path, linux: Any, caplog: Any) -> list[str]:
    with caplog.at_level(logging.DEBUG, "anybpf.libbpf"), contextlib.suppress(BpfError):
        Object.open(path).load(linux).close()
    return [line for message in caplog.messages for line in message.splitlines()]


def compared(lines: list[str]) -> list[str]:
    kept = (line for line in lines if not LEFT_OUT.search(line))
    return [re.sub(r"fd=\d+", "fd=N", line) for line in kept]


def after_opening(lines: list[str]) -> list[str]:
    """From the first section on, without the verifier's log."""
    log = re.compile(r"\d+: |processed|R\d|func#|; |--")
    return [line for line in compared(lines) if not log.match(line)]


@pytest.mark.parametrize("name", ["xdpdump_xdp.o", "xdpfilt_dny_all.o", "xsk_def_xdp_prog.o"])
def test_objects_of_libxdp(name: str, libxdp_objects: list[Path], linux: Any, caplog: Any) -> None:
    path = next((p for p in libxdp_objects if p.name == name), None)
    if path is None:
        pytest.skip(f"libxdp1 has no {name}")
    theirs = after_opening(libbpfs(path))
    assert len(theirs) > 20
    assert after_opening(ours(path, linux, caplog)) == theirs


def test_externs_are_told_the_same(build: Build, linux: Any, caplog: Any) -> None:
    path = build("words.bpf.c")
    facts = re.compile(r"^extern .*(set to|resolved to \[|not resolved)|^collected|^looking")

    def told(lines: list[str]) -> set[str]:
        return {line for line in lines if facts.search(line)}

    theirs = told(libbpfs(path))
    assert len(theirs) >= 8
    assert told(ours(path, linux, caplog)) == theirs


@pytest.mark.parametrize("kind", range(7))
def test_refusals_are_told_the_same(build: Build, linux: Any, caplog: Any, kind: int) -> None:
    """The reason, word for word; only the kernel's name for vmlinux is new."""
    path = build("strong.bpf.c", options=(f"-DKIND={kind}",))
    reason = next(line for line in libbpfs(path) if line.startswith("extern") and (
        "not " in line or "unrecognized" in line or "implies" in line or "incompatible" in line))
    said = [line.replace("with vmlinux [", "with kernel [") for line in ours(path, linux, caplog)]
    assert reason in said


PINNED = """
bpftool map create /sys/fs/bpf/shared type hash key 4 value 8 entries {entries} name shared
bpftool -d prog loadall {path} /sys/fs/bpf/x 2>&1 | grep -a 'pinned map'
PYTHONPATH={src} {python} - <<'END' 2>&1
import logging, sys
logging.basicConfig(level=logging.DEBUG, format="ours: %(message)s", stream=sys.stdout)
from anybpf.libbpf import Object
from anybpf.linux import Linux
try:
    Object.open({path!r}, pin_root="/sys/fs/bpf").load(Linux())
except OSError as e:
    print("error:", e)
END
"""


def pinned(build: Build, entries: int) -> tuple[list[str], list[str]]:
    """(libbpf's lines, ours) about a map that is pinned already, with so many entries."""
    src = Path(__file__).resolve().parents[2] / "src"
    text = private(PINNED.format(entries=entries, path=str(build("words.bpf.c")), src=src,
                                 python=sys.executable))
    lines = [line for line in text.splitlines() if "pinned map" in line]
    return ([x.removeprefix("libbpf: ") for x in lines if x.startswith("libbpf: ")],
            [x.removeprefix("ours: ") for x in lines if x.startswith("ours: ")])


def test_a_pinned_map_that_fits(build: Build, linux: Any) -> None:
    theirs, mine = pinned(build, 1)
    assert theirs == ["reused pinned map at '/sys/fs/bpf/shared'"]
    assert mine == theirs


def test_a_pinned_map_that_does_not_fit(build: Build, linux: Any) -> None:
    theirs, mine = pinned(build, 2)
    assert theirs[0] == "couldn't reuse pinned map at '/sys/fs/bpf/shared': parameter mismatch"
    assert mine == [theirs[0] + " (max_entries is 2, not 1)"]
