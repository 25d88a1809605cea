"""Debian's kernel for the guest: found, fetched and unpacked once, kept in the user's cache.

The project makes its own apt configuration, so that neither the machine's package sources nor its
lists change; the mirror is the one that the machine's own sources name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from guest.initramfs import NoGuest

#: the kernel that anybpf takes as its reference, and the suite that has it
SERIES = "6.18"
SUITE = "trixie-backports"
SOURCES = Path("/etc/apt")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: a package file to be used instead of fetching one
PACKAGE = "ANYBPF_GUEST_PACKAGE"


class Kernel(NamedTuple):
    """An unpacked kernel package."""

    folder: Path
    release: str

    @property
    def image(self) -> Path:
        return self.folder / f"boot/vmlinuz-{self.release}"

    @property
    def config(self) -> Path:
        return self.folder / f"boot/config-{self.release}"

    @property
    def modules(self) -> Path:
        return self.folder / f"usr/lib/modules/{self.release}"

    @property
    def btf(self) -> Path:
        """Where the guest's BTF is kept once it has been read."""
        return self.folder / "vmlinux.btf"


def cache() -> Path:
    """The folder of everything about guests."""
    return user_cache_path("anybpf") / "guest"


def fetch() -> Kernel:
    """The kernel, from the cache or from the mirror. Raises NoGuest with the reason."""
    return kept() or _unpack(_package())


def kept() -> Kernel | None:
    """The newest kernel in the cache, None if there is none."""
    given = os.environ.get(PACKAGE)
    series = release_of(Path(given).name) if given else SERIES
    found = [Kernel(folder, folder.name) for folder in (cache() / "kernels").glob(f"{series}*")
             if Kernel(folder, folder.name).image.exists()]
    return max(found, key=lambda kernel: numbers(kernel.release), default=None)


def numbers(text: str) -> tuple[int, ...]:
    """All numbers in a version: for comparing versions of one series."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def release_of(package: str) -> str:
    """The kernel release in a package's (file) name."""
    return package.removeprefix("linux-image-").partition("_")[0]


def _package() -> Path:
    given = os.environ.get(PACKAGE)
    if given:
        return Path(given)
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise NoGuest(f"{tool} is missing: name a kernel package in {PACKAGE}")
    return _download()


# -- apt, with a configuration of our own

def mirror() -> str:
    """The archive that this machine's package sources name. Raises NoGuest."""
    for text in _source_files():
        for address in re.findall(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", text, re.MULTILINE):
            if address.rstrip("/").endswith("/debian"):
                return str(address)
    raise NoGuest(f"no Debian archive in {SOURCES}: name a kernel package in {PACKAGE}")


def _source_files() -> Iterator[str]:
    for file in (SOURCES / "sources.list", *sorted(SOURCES.glob("sources.list.d/*"))):
        if file.suffix in (".list", ".sources") and file.is_file():
            yield file.read_text(errors="replace")


def _options(folder: Path) -> list[str]:
    """Options that keep apt in `folder`."""
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "archives/partial").mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYS} arch=amd64] {mirror()} {SUITE} main\n")
    settings = {"Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "/dev/null",
                "Dir::State::Lists": folder / "lists", "Dir::Cache": folder,
                "APT::Architecture": "amd64", "APT::Sandbox::User": "root"}
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoGuest(f"{command[0]} fails: {done.stderr.strip()[-500:]}")
    return done.stdout


def _download() -> Path:
    """The newest package of the series, as a file."""
    folder = cache() / "apt"
    options = _options(folder)
    _run(["apt-get", *options, "-q", "update"], folder)
    names = _run(["apt-cache", *options, "pkgnames", f"linux-image-{SERIES}."], folder).split()
    found = [name for name in names if re.fullmatch(rf"linux-image-{SERIES}\.[\w.+~]+-cloud-amd64",
                                                    name)]
    if not found:
        raise NoGuest(f"no linux-image-{SERIES}*-cloud-amd64 in {SUITE}: name one in {PACKAGE}")
    name = max(found, key=numbers)
    _run(["apt-get", *options, "-q", "download", name], folder)
    return max(folder.glob(f"{name}_*.deb"), key=lambda file: file.stat().st_mtime)


def _unpack(package: Path) -> Kernel:
    """Unpack a kernel package into the cache."""
    folder = cache() / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as spare:
        _run(["dpkg-deb", "-x", str(package.absolute()), f"{spare}/kernel"], folder)
        images = list(Path(spare).glob("kernel/boot/vmlinuz-*"))
        if not images:
            raise NoGuest(f"{package} has no kernel")
        release = images[0].name.removeprefix("vmlinuz-")
        Path(spare, "kernel").rename(folder / release)
    return Kernel(folder / release, release)
