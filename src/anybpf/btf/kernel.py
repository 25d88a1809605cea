"""Where a kernel's BTF is found (tools/lib/bpf/btf.c: btf__load_vmlinux_btf).

A BTF file is the bare blob, as under /sys/kernel/btf, an ELF file with a `.BTF` section, or a
compressed kernel image (vmlinuz) with that ELF file inside. A module's ELF file may bring a
distilled base, `.BTF.base`; its BTF is then relocated to the base that is asked for.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from anybpf.btf import elf, header, vmlinuz
from anybpf.btf.btf_relocate import BASE_SECTION, relocate
from anybpf.btf.builtin import builtin
from anybpf.btf.parse import SECTION, Btf
from anybpf.errors import LoadError, NotSupported, reading

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
#: where libbpf does not look, since it does not decompress
VMLINUZ = ("/boot/vmlinuz-{}", "/lib/modules/{}/vmlinuz", "/usr/lib/modules/{}/vmlinuz")

Warn = Callable[[str], object]


def load(path: str | os.PathLike[str], base: Btf | None = None) -> Btf:
    """The BTF in a file: bare, in an ELF file's .BTF section, or in a kernel image.

    That of a module under /sys/kernel/btf is on top of the vmlinux beside it, if no base is given.
    Raises OSError if the file cannot be read, LoadError naming it if it has no (good) BTF,
    NotSupported if it is compressed in a way that this Python cannot undo.
    """
    path = Path(path)
    if base is None and path.parent == SYSFS and path.name != "vmlinux":
        base = from_bytes((SYSFS / "vmlinux").read_bytes())
    with reading(path):
        return from_bytes(path.read_bytes(), base)


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
    distilled = elf.find_section(data, BASE_SECTION)
    if distilled is None:
        return Btf(elf_section(data), base)
    split = Btf(elf_section(data), Btf(distilled))
    return split if base is None else relocate(split, base)


@lru_cache(maxsize=4)
def shared(data: bytes) -> Btf:
    """A bare BTF that is parsed once in this process, however often it is asked for."""
    return Btf(data)


def elf_section(data: bytes, name: str = SECTION) -> bytes:
    """A section of an ELF file. LoadError if the file is broken or has no such section."""
    content = elf.find_section(data, name)
    if content is None:
        raise LoadError("the ELF file has no such section", name)
    return content


def candidates(release: str | None = None) -> list[Path]:
    """The files that may hold the BTF of a kernel release (None: of the running one), in order."""
    name = platform.release() if release is None else release
    patterns = VMLINUX if name == platform.release() else VMLINUX[1:]
    return [Path(pattern.replace("{}", name)) for pattern in (*patterns, *VMLINUZ)]


def load_vmlinux(path: str | Path | None = None, release: str | None = None) -> Btf:
    """The BTF of the running kernel, of an installed one's `release`, or the one in file `path`.

    Files that cannot be read, or without good BTF, are passed over. Raises LoadError naming the
    places looked at, and what was wrong there, if there is none to be found.
    """
    if path is not None:
        return load(path)
    looked = []
    for one in candidates(release):
        try:
            return load(one)
        except FileNotFoundError:
            looked.append(str(one))
        except (OSError, LoadError, NotSupported) as e:
            looked.append(f"{one} ({getattr(e, 'message', '') or e})")
    whose = "the running kernel" if release is None else f"kernel {release}"
    raise LoadError(f"no BTF of {whose} in " + ", ".join(looked))


def load_vmlinux_or_builtin(warn: Warn = warnings.warn) -> Btf:
    """The BTF of the running kernel, or else, as `warn` is told, the small one built in here."""
    try:
        return load_vmlinux()
    except LoadError as e:
        warn(f"{e.message}; using the types built into anybpf")
        return builtin()


def modules() -> list[str]:
    """The modules of the running kernel that have BTF."""
    if not SYSFS.is_dir():
        return []
    return sorted(one.name for one in SYSFS.iterdir() if one.name != "vmlinux")


def load_module(name: str, base: Btf) -> Btf:
    """The BTF of a loaded kernel module, on top of vmlinux's."""
    path = SYSFS / name.replace("-", "_")
    if not path.is_file():
        raise LoadError(f"the running kernel has no BTF of module '{name}'")
    return load(path, base)


def load_modules(base: Btf, warn: Warn = warnings.warn) -> dict[str, Btf]:
    """The BTF of every loaded module by its name. What is broken is warned of and passed over."""
    found = {}
    for name in modules():
        try:
            found[name] = load_module(name, base)
        except (OSError, LoadError) as e:
            warn(f"failed to load module [{name}]'s BTF: {e}")
    return found


def is_btf(data: bytes) -> bool:
    """Do these bytes begin like a bare BTF blob?"""
    try:
        header.detect(data, SECTION)
    except LoadError:
        return False
    return True
