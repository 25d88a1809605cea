"""The caller's log buffer: what the Machine and the running kernel leave in it, byte for byte.

All of the buffer is compared: also what lies behind the text, which earlier text has left there.
"""

from __future__ import annotations

import ctypes
import re

import pytest

from anybpf import uapi as u
from anybpf.isa.asm import assemble
from anybpf.isa.insn import Insn
from kernel.calls import BAD, Calls
from kernel.errno_cases import BTF

pytestmark = pytest.mark.kernel

FILL = b"?"
TIME = re.compile(rb"verification time \d+ usec")

PROGRAMS = {
    "accepted": "r0 = 1\nexit",
    "two paths": """
        r0 = *(u32 *)(r1 + 0)
        if r0 == 7 goto one
        if r0 > 9 goto two
        r0 = 1
        exit
    one:
        r0 = 2
        exit
    two:
        r0 = 3
        exit
    """,
    "refused on the second path": """
        r0 = *(u32 *)(r1 + 0)
        r2 = r10
        if r0 == 7 goto bad
        r0 = 1
        r0 += 2
        r0 += 3
        exit
    bad:
        r0 = *(u64 *)(r2 - 520)
        exit
    """,
    "refused at once": "r0 = r5\nexit",
    "loops": """
        r0 = 0
    again:
        r0 += 1
        if r0 < 12 goto again
        exit
    """,
    "refused by its shape": "goto +5\nexit",
}
SIZES = (1, 2, 3, 7, 20, 64, 90, 100, 101, 150, 200, 333, 500, 777, 1024, 4096)
FIXED = u.BPF_LOG_FIXED


def code(name: str) -> list[Insn]:
    return assemble(PROGRAMS[name])


def seen(calls: Calls, insns: list[Insn], level: int, size: int) -> tuple[int | str, bytes, int]:
    """The answer, the whole buffer, the size of the log."""
    log = calls.buffer(FILL * max(size, 1))
    answer = calls.open(u.BPF_PROG_LOAD, **calls.prog_fields(
        insns, log_level=level, log_size=size, log_buf=ctypes.addressof(log) if size else 0))
    return answer, log.raw, calls.out("log_true_size")


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("level", [1, 2, 3, 1 | FIXED, 2 | FIXED, FIXED])
def test_buffers_of_many_sizes(both: tuple[Calls, Calls], name: str, level: int) -> None:
    for size in SIZES:
        mine, theirs = (seen(calls, code(name), level, size) for calls in both)
        assert mine == theirs, f"buffer of {size} bytes"


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("level", [0, 1, 2, FIXED, 2 | FIXED])
def test_the_size_without_a_buffer(both: tuple[Calls, Calls], name: str, level: int) -> None:
    mine, theirs = (seen(calls, code(name), level, 0) for calls in both)
    assert mine == theirs


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("level", [4, 5, 6, 7, 4 | FIXED])
def test_statistics(both: tuple[Calls, Calls], name: str, level: int) -> None:
    texts = []
    for calls in both:
        answer, log, size = seen(calls, code(name), level, 1 << 16)
        text, _, _ = log.partition(b"\0")
        if level == 4 | FIXED:                  # the first zero may be that of an erased path
            text = log.split(FILL)[0].rstrip(b"\0")
        assert size > len(text)
        texts.append((answer, TIME.sub(b"verification time", text)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("level", [0, 1, 2, 4, 7, 1 | FIXED, FIXED])
def test_logs_of_types(both: tuple[Calls, Calls], good: bool, level: int) -> None:
    for size in (0, *SIZES, 1 << 14):
        seen = []
        for calls in both:
            log = calls.buffer(FILL * max(size, 1))
            data = BTF if good else BTF[:-1] + b"x"
            answer = calls.open(u.BPF_BTF_LOAD, btf=data, btf_size=len(data), btf_log_level=level,
                                btf_log_size=size, btf_log_buf=ctypes.addressof(log) if size else 0)
            seen.append((answer, log.raw, calls.out("btf_log_true_size")))
        assert seen[0] == seen[1], f"buffer of {size} bytes"


@pytest.mark.parametrize(("level", "size", "address"), [
    (16, 100, None), (1 << 31, 100, None), (0, 100, None), (1, 0, BAD), (1, 100, 0),
    (1, (u.U32 >> 2) + 1, None), (1, u.U32 >> 2, None), (1, 100, BAD), (2, 100, BAD),
    (32, 0, 0), (17, 100, None), (1 | FIXED, 100, BAD)])
@pytest.mark.parametrize("name", ["accepted", "refused at once"])
def test_what_goes_together(both: tuple[Calls, Calls], name: str, level: int, size: int,
                            address: int | None) -> None:
    answers = []
    for calls in both:
        where = calls.pointer(4096) if address is None else address
        answer = calls.open(u.BPF_PROG_LOAD, **calls.prog_fields(
            code(name), log_level=level, log_size=size, log_buf=where))
        answers.append((answer, calls.out("log_true_size")))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["two paths", "refused on the second path"])
@pytest.mark.parametrize("room", [40, 150])
def test_a_buffer_that_ends_too_early(both: tuple[Calls, Calls], name: str, room: int) -> None:
    answers = [(calls.open(u.BPF_PROG_LOAD, **calls.prog_fields(
        code(name), log_level=2, log_size=4096, log_buf=calls.at_page_end(bytes(room)))),
        calls.out("log_true_size")) for calls in both]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("size", [72, 100, 144])
def test_an_attr_without_room_for_the_size(both: tuple[Calls, Calls], size: int) -> None:
    answers = []
    for calls in both:
        log = calls.buffer(FILL * 50)
        answer = calls.open(u.BPF_PROG_LOAD, size=size, **calls.prog_fields(
            code("two paths"), log_level=1, log_size=50, log_buf=ctypes.addressof(log)))
        answers.append((answer, log.raw))
    assert answers[0] == answers[1]
