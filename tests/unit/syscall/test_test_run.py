"""PROG_TEST_RUN: what is written back, and that a run does not stop the others."""

from __future__ import annotations

import ctypes
import threading

import pytest

from anybpf import uapi as u
from anybpf.errors import BpfError
from anybpf.isa import build as b
from anybpf.machine import Machine
from anybpf.syscall.attr import FIELDS, SIZE
from anybpf.syscall.test_run import CALL, Call
from kernel.calls import BAD, RETURN_1, Calls

PACKET = bytes(range(64))


def request(calls: Calls, prog: int, **fields: object) -> int | str:
    """A run on the packet."""
    return calls.call(u.BPF_PROG_TEST_RUN, test__prog_fd=prog,
                      **{"test__data_in": PACKET, "test__data_size_in": 64, **fields})


@pytest.mark.parametrize(("fields", "answer", "retval"), [
    ({}, 0, 1), ({"test__data_out": BAD}, "EFAULT", 0),
    ({"test__data_out": BAD, "test__data_size_out": 10}, "ENOSPC", 0),
    ({"test__data_size_in": 5}, "EINVAL", 0), ({"test__data_in": BAD}, "EFAULT", 0),
])
def test_answers(calls: Calls, fields: dict[str, object], answer: object, retval: int) -> None:
    assert request(calls, calls.prog(prog_type=u.BPF_PROG_TYPE_XDP), **fields) == answer
    assert calls.out("test.retval") == retval


def test_short_room_gets_the_beginning_and_the_whole_size(calls: Calls) -> None:
    out = calls.buffer(12)
    prog = calls.prog(prog_type=u.BPF_PROG_TYPE_XDP)
    assert request(calls, prog, test__data_out=ctypes.addressof(out),
                   test__data_size_out=10) == "ENOSPC"
    assert out.raw == PACKET[:10] + bytes(2)
    assert calls.out("test.data_size_out") == 64


def test_a_syscall_program_writes_its_context_back(calls: Calls) -> None:
    prog = calls.prog([b.st_mem(u.BPF_W, 1, 4, 7), *RETURN_1], prog_flags=u.BPF_F_SLEEPABLE,
                      prog_type=u.BPF_PROG_TYPE_SYSCALL)
    context = calls.buffer(8)
    assert calls.call(u.BPF_PROG_TEST_RUN, test__prog_fd=prog, test__ctx_size_in=8,
                      test__ctx_in=ctypes.addressof(context)) == 0
    assert context.raw == bytes([0, 0, 0, 0, 7, 0, 0, 0])


def test_the_machine_answers_while_a_program_runs(machine: Machine, calls: Calls) -> None:
    prog = calls.prog(prog_type=u.BPF_PROG_TYPE_XDP)
    thread = threading.Thread(target=request, args=(calls, prog), kwargs={
        "test__repeat": 3_000_000})
    thread.start()
    other = Calls(machine)
    rounds = 0
    while thread.is_alive():
        other.backend.close(other.map())
        rounds += 1
    assert rounds > 1


def test_a_program_closed_during_its_run_is_freed_after_it(machine: Machine, calls: Calls) -> None:
    prog = calls.prog(prog_type=u.BPF_PROG_TYPE_XDP)
    thread = threading.Thread(target=request, args=(calls, prog), kwargs={
        "test__repeat": 3_000_000})
    thread.start()
    try:
        while calls.backend.open_fds:    # type: ignore[attr-defined]
            machine.close(prog)
    except BpfError as error:
        pytest.fail(str(error))
    thread.join()
    assert calls.call(u.BPF_PROG_GET_NEXT_ID) == "ENOENT"


def test_the_layout_of_a_call() -> None:
    """Field by field as the table of the union has it."""
    assert len(Call._fields) == sum(name.startswith("test.") for name in FIELDS)
    raw = bytearray(SIZE)
    for number, name in enumerate(Call._fields, 1):
        field = FIELDS[f"test.{name}"]
        assert field.codec is not None
        field.codec.pack_into(raw, field.start, number)
    assert Call._make(CALL.unpack_from(raw)) == tuple(range(1, len(Call._fields) + 1))
