"""Where a kernel's BTF is found (tools/lib/bpf/btf.c: btf__load_vmlinux_btf).

A BTF file is the bare blob, as under /sys/kernel/btf, an ELF file with a `.BTF` section, or a
compressed kernel image (vmlinuz) with that ELF file inside.
"""

from __future__ import annotations

import io
import os
import platform
from functools import lru_cache
from pathlib import Path

from anybpf.btf import header, vmlinuz
from anybpf.btf.parse import SECTION, Btf
from anybpf.errors import LoadError

SYSFS = Path("/sys/kernel/btf")
#: libbpf's search order; {} is the kernel's release
VMLINUX = (
    "/sys/kernel/btf/vmlinux",
    "/boot/vmlinux-{}",
    "/lib/modules/{}/vmlinux-{}",
    "/lib/modules/{}/build/vmlinux",
    "/usr/lib/modules/{}/kernel/vmlinux",
    "/usr/lib/debug/boot/vmlinux-{}",
    "/usr/lib/debug/boot/vmlinux-{}.debug",
    "/usr/lib/debug/lib/modules/{}/vmlinux",
)


def load(path: str | os.PathLike[str], base: Btf | None = None) -> Btf:
    """The BTF in a file: bare, in an ELF file's .BTF section, or in a kernel image.

    Raises OSError if the file cannot be read, LoadError if there is no (good) BTF in it,
    NotSupported if it is compressed in a way that this Python cannot undo.
    """
    return from_bytes(Path(path).read_bytes(), base)


def from_bytes(data: bytes, base: Btf | None = None) -> Btf:
    """The BTF in the bytes of a bare blob, an ELF file or a kernel image."""
    if is_btf(data):
        return Btf(data, base)
    if not data.startswith(vmlinuz.ELF_MAGIC):
        try:
            data = vmlinuz.extract(data)
        except LoadError:
            what = "neither BTF nor an ELF file nor a kernel image with one inside"
            raise LoadError(what, offset=0) from None
    return Btf(elf_section(data), base)


@lru_cache(maxsize=4)
def shared(data: bytes) -> Btf:
    """A bare BTF that is parsed once in this process, however often it is asked for."""
    return Btf(data)


def elf_section(data: bytes, name: str = SECTION) -> bytes:
    """A section of an ELF file. LoadError if the file is broken or has no such section."""
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        found = ELFFile(io.BytesIO(data)).get_section_by_name(name)
        content = None if found is None else bytes(found.data())
    except (ELFError, ConstructError, ValueError, KeyError, IndexError, AttributeError,
            TypeError, AssertionError, OverflowError, UnicodeDecodeError) as e:  # fmt: skip
        raise LoadError(f"broken ELF file: {e or type(e).__name__}", name) from None
    if content is None:
        raise LoadError("the ELF file has no such section", name)
    return content


def candidates(release: str | None = None) -> list[Path]:
    """The files that may hold the BTF of a kernel release (None: of the running one), in order."""
    name = platform.release() if release is None else release
    paths = [Path(pattern.replace("{}", name)) for pattern in VMLINUX]
    return paths if release in (None, platform.release()) else paths[1:]


def load_vmlinux(path: str | Path | None = None) -> Btf:
    """The BTF of the running kernel, or the one in file `path`.

    Raises LoadError naming the places looked at if the running kernel's is nowhere to be found.
    """
    if path is not None:
        return load(path)
    for one in candidates():
        if one.is_file():
            return load(one)
    raise LoadError("no BTF of the running kernel in " + ", ".join(map(str, candidates())))


def load_module(name: str, base: Btf) -> Btf:
    """The BTF of a loaded kernel module, on top of vmlinux's."""
    path = SYSFS / name.replace("-", "_")
    if not path.is_file():
        raise LoadError(f"the running kernel has no BTF of module '{name}'")
    return load(path, base)


def is_btf(data: bytes) -> bool:
    """Do these bytes begin like a bare BTF blob?"""
    try:
        header.detect(data, SECTION)
    except LoadError:
        return False
    return True
