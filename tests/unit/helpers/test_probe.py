"""Reading memory that may not be there."""

from __future__ import annotations

import ctypes
import errno
import struct

import pytest

from anybpf import uapi
from anybpf.machine import Machine
from kernel.runs import Outcome, run
from kernel.test_helpers import F
from kernel.test_test_run import Case


def read(helper: str, address: int, size: int = 8) -> tuple[int, bytes]:
    """The helper's answer, and the eight bytes that it may have written to."""
    text = f"""
        r6 = r1; r7 = -1; *(u64 *)(r6 + 0) = r7
        r1 = r10; r1 += -8; *(u64 *)(r10 - 8) = r7
        r2 = {size}; r3 = {address} ll
        call {F[helper]}
        r1 = *(u64 *)(r10 - 8); *(u64 *)(r6 + 0) = r1
        exit
    """
    with Machine() as machine:
        outcome: Outcome = run(machine, Case(
            uapi.BPF_PROG_TYPE_SYSCALL, text, data=None, data_out=False, data_size_out=0,
            ctx=bytes(8), prog_flags=uapi.BPF_F_SLEEPABLE))
    return struct.unpack("<i", struct.pack("<I", outcome.retval))[0], outcome.ctx_in


@pytest.mark.parametrize("helper", ["probe_read_user", "copy_from_user"])
def test_user_memory_is_that_of_the_caller(helper: str) -> None:
    buffer = ctypes.create_string_buffer(b"abcdefgh")
    assert read(helper, ctypes.addressof(buffer)) == (0, b"abcdefgh")


def test_strings_of_the_caller() -> None:
    buffer = ctypes.create_string_buffer(b"abc")
    count, data = read("probe_read_user_str", ctypes.addressof(buffer))
    assert (count, data[:4]) == (4, b"abc\0")
    long = ctypes.create_string_buffer(b"0123456789" * 20)
    assert read("probe_read_user_str", ctypes.addressof(long)) == (8, b"0123456\0")


@pytest.mark.parametrize(("helper", "address", "number"), [
    ("probe_read_user", 16, errno.EFAULT), ("probe_read_user_str", 16, errno.EFAULT),
    ("probe_read_kernel", 16, errno.ERANGE),
    ("probe_read_kernel", 0xFFFF_8000_0000_0000, errno.EFAULT),
    ("probe_read_kernel_str", 0xFFFF_8000_0000_0000, errno.EFAULT),
])
def test_a_fault_zeroes_the_destination(helper: str, address: int, number: int) -> None:
    assert read(helper, address) == (-number, bytes(8))


def test_kernel_helpers_do_not_read_the_caller() -> None:
    buffer = ctypes.create_string_buffer(b"abcdefgh")
    assert read("probe_read_kernel", ctypes.addressof(buffer)) == (-errno.ERANGE, bytes(8))
