"""Kernel images made here: an ELF file with BTF, compressed, between other bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import subprocess

import pytest

from anybpf.btf import kernel, vmlinuz
from anybpf.errors import LoadError, NotSupported
from unit.btf import blobs

PACKERS = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}
#: boot code that happens to contain the magic of two compressions
BOOT = b"MZ" + bytes(510) + b"\x1f\x8b\x08 not gzip" + b"\xfd7zXZ\0 not xz" + bytes(500)


@pytest.fixture(scope="module")
def vmlinux():
    return blobs.xdp_objects()[0].read_bytes()


@pytest.mark.parametrize("name", PACKERS)
def test_the_kernel_in_the_image_is_found(vmlinux, name):
    if name == "lzma":
        packed = bytearray(PACKERS[name](vmlinux))
        assert packed.startswith(b"\x5d\0\0")
        packed[1:5] = (1 << 24).to_bytes(4, "little")
        image = BOOT + bytes(packed)
    else:
        image = BOOT + PACKERS[name](vmlinux) + b"signature"
    assert vmlinuz.extract(image) == vmlinux
    assert len(kernel.from_bytes(image)) == len(kernel.from_bytes(vmlinux))


def test_what_python_cannot_undo_is_named(vmlinux, monkeypatch):
    monkeypatch.setattr(vmlinuz, "_zstd", lambda: None)
    with pytest.raises(NotSupported, match="compressed with zstd"):
        vmlinuz.extract(BOOT + b"\x28\xb5\x2f\xfd" + vmlinux[::-1])


PROGRAMS = {"lz4": ("lz4", "-l", "-9"), "lzop": ("lzop", "-9"), "lzo": ("lzop", "-1")}


def packed(program: tuple[str, ...], data: bytes) -> bytes:
    if not shutil.which(program[0]):
        pytest.skip(f"{program[0]} is not installed")
    return subprocess.run([*program, "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_images_of_other_programs(vmlinux, name):
    image = BOOT + packed(PROGRAMS[name], vmlinux) + len(vmlinux).to_bytes(4, "little")
    assert vmlinuz.extract(image) == vmlinux


@pytest.mark.parametrize("image", [b"", b"x" * 1000, BOOT, b"\x1f\x8b\x08" * 500])
def test_no_kernel_inside(image):
    with pytest.raises(LoadError, match="no compressed kernel"):
        vmlinuz.extract(image)


def test_something_else_inside():
    with pytest.raises(LoadError):
        vmlinuz.extract(BOOT + gzip.compress(b"no ELF file"))


def test_broken_images_give_typed_errors_only(vmlinux):
    rnd = random.Random(1)
    good = BOOT + gzip.compress(vmlinux)
    for _ in range(100):
        image = bytearray(good)
        for _ in range(3):
            image[rnd.randrange(len(BOOT), len(image))] = rnd.randrange(256)
        try:
            kernel.from_bytes(bytes(image[: rnd.randrange(len(BOOT), len(image))]))
        except (LoadError, NotSupported) as e:
            assert str(e)  # noqa: PT017
