"""Where a BPF program's headers come from (tools/lib/bpf/Makefile: install_headers).

Three sources: the package's own <bpf/*.h>, those of an installed libbpf, and the kernel's
<linux/*.h>, which Linux distributions install and the ziglang package brings along.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

#: our own headers; programs include them as <bpf/bpf_helpers.h>
INCLUDE = Path(__file__).resolve().parents[1] / "include"
#: the version of libbpf that our headers have everything of
LIKE_LIBBPF = (1, 6)
#: where libbpf's headers are installed, as the compiler searches
INSTALLED = (Path("/usr/local/include"), Path("/usr/include"))
ZIG_KERNEL = ("any-linux-any", "x86-linux-any")

Prefer = Literal["auto", "own", "system"]
_VERSION = re.compile(r"#define LIBBPF_(?:MAJOR|MINOR)_VERSION\s+(\d+)")


def folders(prefer: Prefer = "auto", *, is_zig: bool = False) -> list[str]:
    """Options that make the headers findable, after those of the user.

    `prefer` says whose <bpf/*.h> come first: "own" and "system" are plain; "auto" takes the
    installed libbpf's if they are not older than ours, so that a source compiles the same with
    and without an old libbpf on the machine.
    """
    installed = installed_libbpf()
    if prefer == "system" or (prefer == "auto" and is_recent(installed)):
        first = ["-isystem", str(installed)] if installed and is_zig else []
        return [*first, *kernel(is_zig), "-idirafter", str(INCLUDE)]
    return ["-isystem", str(INCLUDE), *kernel(is_zig)]


def installed_libbpf() -> Path | None:
    """The folder that has libbpf's bpf/bpf_helpers.h, if it is installed."""
    return next((f for f in INSTALLED if (f / "bpf" / "bpf_helpers.h").is_file()), None)


def is_recent(folder: Path | None) -> bool:
    """Has this libbpf what our headers have? Before 0.8 there was no version in a header."""
    version = folder and folder / "bpf" / "libbpf_version.h"
    if not version or not version.is_file():
        return False
    return tuple(map(int, _VERSION.findall(version.read_text()))) >= LIKE_LIBBPF


def kernel(is_zig: bool) -> Iterator[str]:
    """Options for <linux/*.h> and <asm/*.h>: the distribution's, then the ziglang package's."""
    for folder in () if is_zig else distribution():
        yield from ("-idirafter", str(folder))
    for folder in zig_folders():
        yield from ("-idirafter", str(folder))


def distribution() -> list[Path]:
    """Debian keeps <asm/*.h> in a folder of the host's architecture, which -target bpf hides."""
    return sorted(p.parent for p in Path("/usr/include").glob("*-linux-gnu*/asm"))[:1]


def zig_folders() -> list[Path]:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        return []
    base = Path(spec.origin).parent / "lib" / "libc" / "include"
    return [base / name for name in ZIG_KERNEL if (base / name).is_dir()]
