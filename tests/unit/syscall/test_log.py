"""Logs: which arguments go together, and what is kept of a long text."""

from __future__ import annotations

import ctypes

import pytest

from anybpf.errors import BpfError
from anybpf.syscall.log import MAX_SIZE, Log
from anybpf.syscall.memory import OwnMemory
from anybpf.verifier.log import encoded

TEXT = "first line\nlast line\n"


@pytest.mark.parametrize(("level", "address", "size"), [
    (1, 8, 0), (1, 0, 8), (0, 8, 8), (16, 0, 0), (1 << 31, 0, 0), (1, 8, MAX_SIZE + 1)])
def test_bad_arguments(level: int, address: int, size: int) -> None:
    with pytest.raises(BpfError) as caught:
        Log(level, address, size)
    assert caught.value.name == "EINVAL"


@pytest.mark.parametrize(("level", "size", "kept", "errno"), [
    (1, 64, TEXT.encode(), 0), (1, len(TEXT) + 1, TEXT.encode(), 0),
    (1, 11, b"last line\n", 28), (9, 11, b"first line", 28), (1, 1, b"", 28), (8, 64,
                                                                            TEXT.encode(), 0)])
def test_what_is_kept(level: int, size: int, kept: bytes, errno: int) -> None:
    buffer = ctypes.create_string_buffer(b"?" * 64)
    log = Log(level, ctypes.addressof(buffer), size)
    log.write(TEXT.encode())
    assert log.finish(OwnMemory()) == (len(TEXT) + 1, errno)
    assert buffer.raw.split(b"\0")[0] == kept
    assert buffer.raw[len(kept) + 1:64] == b"?" * (63 - len(kept))


def test_nothing_is_kept_at_level_0_and_bad_buffers_are_said() -> None:
    quiet = Log(0, 0, 0)
    quiet.write(TEXT.encode())
    assert quiet.finish(OwnMemory()) == (0, 0)
    bad = Log(1, 8, 100)
    bad.write(TEXT.encode())
    assert bad.finish(OwnMemory()) == (len(TEXT) + 1, 14)


def test_names_that_are_no_utf8_come_out_as_they_were() -> None:
    buffer = ctypes.create_string_buffer(16)
    log = Log(1, ctypes.addressof(buffer), 16)
    log.write(encoded("type \udcff\n"))
    assert log.finish(OwnMemory()) == (8, 0)
    assert buffer.raw[:8] == b"type \xff\n\0"
