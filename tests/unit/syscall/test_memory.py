"""The caller's memory: bad addresses are an errno, never a crash."""

from __future__ import annotations

import ctypes
import mmap

import pytest

from anybpf.errors import BpfError
from anybpf.syscall.memory import PAGE, OwnMemory, read_string

BAD = (0, 8, 1 << 47, 1 << 48, (1 << 64) - 8, 1 << 64, -8)


def test_reads_and_writes() -> None:
    buffer = ctypes.create_string_buffer(b"hello")
    memory, address = OwnMemory(), ctypes.addressof(buffer)
    assert memory.read(address, 5) == b"hello"
    memory.write(address + 1, b"ALL")
    assert buffer.raw == b"hALLo\0"


@pytest.mark.parametrize("address", BAD)
def test_bad_addresses(address: int) -> None:
    memory = OwnMemory()
    for go in (lambda: memory.read(address, 4), lambda: memory.write(address, b"1234")):
        with pytest.raises(BpfError) as caught:
            go()
        assert caught.value.name == "EFAULT"


@pytest.mark.parametrize("address", BAD)
def test_nothing_at_a_bad_address_is_fine(address: int) -> None:
    memory = OwnMemory()
    memory.write(address, b"")
    assert memory.read(address, 0) == b""


def test_a_huge_read_fails_before_it_allocates() -> None:
    with pytest.raises(BpfError):
        OwnMemory().read(PAGE, 1 << 39)


def test_strings_end_at_nul_or_limit_or_fault() -> None:
    area = mmap.mmap(-1, 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    memory = OwnMemory()
    memory.write(start + PAGE - 4, b"abcdefg\0hi")
    assert read_string(memory, start + PAGE - 4, 100) == b"abcdefg"
    assert read_string(memory, start + PAGE - 4, 6) == b"abcdef"
    assert read_string(memory, start, 0) == b""
    with pytest.raises(BpfError):
        read_string(memory, 8, 10)
