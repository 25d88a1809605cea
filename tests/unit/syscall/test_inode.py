"""The bpf file system: paths, pins and their references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anybpf.errors import BpfError
from anybpf.syscall.ids import KernelObject
from anybpf.syscall.inode import ROOT, BpfFs


@pytest.fixture
def fs() -> BpfFs:
    made = BpfFs()
    made.mkdir(f"{ROOT}/d")
    made.pin(f"{ROOT}/d/x", KernelObject())
    return made


def test_a_pin_holds_its_object(fs: BpfFs) -> None:
    thing = KernelObject()
    fs.pin(f"{ROOT}/y", thing)
    assert fs.get(f"{ROOT}//d/../y") is thing
    assert (thing.refcnt, thing.users) == (1, 1)
    fs.unlink(f"{ROOT}/y")
    assert (thing.refcnt, thing.users) == (0, 0)
    assert list(fs) == [f"{ROOT}/d/x"]


@pytest.mark.parametrize(("go", "name"), [
    (lambda fs: fs.pin(f"{ROOT}/d", KernelObject()), "EEXIST"),
    (lambda fs: fs.pin(f"{ROOT}/d/x/y", KernelObject()), "ENOTDIR"),
    (lambda fs: fs.pin(f"{ROOT}/a.b", KernelObject()), "EPERM"),
    (lambda fs: fs.pin("/tmp/x", KernelObject()), "EPERM"),
    (lambda fs: fs.pin("", KernelObject()), "ENOENT"),
    (lambda fs: fs.pin(f"{ROOT}/{'n' * 256}", KernelObject()), "ENAMETOOLONG"),
    (lambda fs: fs.get(f"{ROOT}/d"), "EACCES"),
    (lambda fs: fs.get(f"{ROOT}/none/x"), "ENOENT"),
    (lambda fs: fs.mkdir(ROOT), "EEXIST"),
    (lambda fs: fs.rmdir(ROOT), "EPERM"),
    (lambda fs: fs.rmdir(f"{ROOT}/d"), "ENOTEMPTY"),
    (lambda fs: fs.rmdir(f"{ROOT}/zz"), "ENOENT"),
    (lambda fs: fs.unlink(f"{ROOT}/d"), "EACCES"),
])
def test_errors(fs: BpfFs, go: Callable[[BpfFs], Any], name: str) -> None:
    with pytest.raises(BpfError) as caught:
        go(fs)
    assert caught.value.name == name


def test_directories_come_and_go(fs: BpfFs) -> None:
    fs.unlink(f"{ROOT}/d/x")
    fs.rmdir(f"{ROOT}/d")
    with pytest.raises(BpfError):
        fs.pin(f"{ROOT}/d/x", KernelObject())


def test_clear_lets_everything_go(fs: BpfFs) -> None:
    thing = fs.get(f"{ROOT}/d/x")
    fs.clear()
    assert (list(fs), thing.refcnt) == ([], 0)
