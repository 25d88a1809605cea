"""Descriptors: lowest free number, references, the caller's own streams."""

from __future__ import annotations

import pytest

from anybpf.errors import BpfError
from anybpf.syscall import fds as module
from anybpf.syscall.fds import CAN_READ, FIRST, FileTable
from anybpf.syscall.ids import KernelObject


def test_lowest_free_number_first() -> None:
    files = FileTable()
    made = [files.install(KernelObject()) for _ in range(4)]
    assert made == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    files.close(FIRST + 2)
    files.close(FIRST)
    assert [files.install(KernelObject()) for _ in range(3)] == [FIRST, FIRST + 2, FIRST + 4]
    assert len(files) == 5


def test_dup_keeps_object_and_mode() -> None:
    files, thing = FileTable(), KernelObject()
    fd = files.install(thing, CAN_READ)
    again = files.dup(fd)
    assert files[again] == files[fd]
    assert (thing.refcnt, thing.users) == (2, 2)
    files.close_all()
    assert (thing.refcnt, thing.users, list(files)) == (0, 0, [])


@pytest.mark.parametrize("fd", [-1, 0, 2, FIRST, 1 << 40])
def test_closing_what_is_not_ours(fd: int) -> None:
    with pytest.raises(BpfError) as caught:
        FileTable().close(fd)
    assert caught.value.name == "EBADF"


def test_no_more_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", FIRST + 1)
    files = FileTable()
    files.install(KernelObject())
    with pytest.raises(BpfError) as caught:
        files.install(KernelObject())
    assert caught.value.name == "EMFILE"
