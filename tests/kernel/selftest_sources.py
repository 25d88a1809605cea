"""Where the kernel's BPF selftests lie: they are read and compiled there, never copied.

`ANYBPF_KERNEL_SOURCES` names kernel trees (several with `:`). Without it, those of Debian's
packages `linux-source-*` that somebody has unpacked in /usr/src are taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

VARIABLE = "ANYBPF_KERNEL_SOURCES"
PACKAGES = Path("/usr/src")
SELFTESTS = Path("tools/testing/selftests/bpf")
ABSENT = (f"no selftests of the kernel: name a kernel's source tree in {VARIABLE}, or unpack "
          f"Debian's linux-source package in {PACKAGES}")
#: what headers under tools/include take from tools/arch, which not every copy of a tree has
SHIMS = {"bitsperlong.h": "#define __BITS_PER_LONG 64\n",
         "errno.h": "#include <asm-generic/errno.h>\n"}


class Tree(NamedTuple):
    """A kernel's sources."""

    path: Path

    @property
    def name(self) -> str:
        """The version, as the folder's name ends."""
        found = re.search(r"\d+\.\d+(\.\d+)?$", self.path.name)
        return found[0] if found else self.path.name

    @property
    def selftests(self) -> Path:
        return self.path / SELFTESTS

    def includes(self, shims: Path, folders: Sequence[str]) -> list[str]:
        """The compiler's options that make headers findable; `shims` gets what may be absent."""
        (shims / "asm").mkdir(parents=True, exist_ok=True)
        for name, text in SHIMS.items():
            (shims / "asm" / name).write_text(text)
        return [f"-I{shims}", f"-I{self.selftests}", *(f"-I{self.path / f}" for f in folders)]


def trees() -> list[Tree]:
    """Every tree that has the selftests, the oldest first."""
    named = os.environ.get(VARIABLE)
    paths = [Path(p) for p in named.split(":")] if named else sorted(
        PACKAGES.glob("linux-source-*"))
    found = [Tree(path) for path in paths if (path / SELFTESTS / "verifier").is_dir()]
    return sorted(found, key=lambda tree: [int(n) for n in re.findall(r"\d+", tree.name)])
