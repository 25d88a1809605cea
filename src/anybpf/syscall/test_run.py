"""BPF_PROG_TEST_RUN (bpf_prog_test_run in kernel/bpf/syscall.c, net/bpf/test_run.c).

Here the caller's memory and the union are read and written; what runs is `net.test_run`'s affair.
"""

from __future__ import annotations

import struct
from errno import EFAULT, EINVAL
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from anybpf.errors import BpfError, Fault
from anybpf.net.test_run import Input, TestRun, TestRunResult, test_run
from anybpf.syscall.attr import Attr
from anybpf.syscall.objects import ProgObject
from anybpf.syscall.state import State, TraceLine

if TYPE_CHECKING:
    from anybpf.core.run_ctx import RunCtx

_TRACE_HEAD = struct.Struct("<II")


class Call(NamedTuple):
    """The union's `test` as the caller gave it."""

    prog_fd: int
    retval: int
    data_size_in: int
    data_size_out: int
    data_in: int
    data_out: int
    repeat: int
    duration: int
    ctx_size_in: int
    ctx_size_out: int
    ctx_in: int
    ctx_out: int
    flags: int
    cpu: int
    batch_size: int


CALL = struct.Struct("<4I2Q4I2Q3I")


def _input(state: State, address: int, size: int) -> Input:
    """`data_in` or `ctx_in`, read when the kernel would read it."""
    return Input(size=size, present=bool(address), reader=partial(state.memory.read, address))


def _request(state: State, call: Call, prog: ProgObject) -> TestRun:
    return TestRun(
        data_in=_input(state, call.data_in, call.data_size_in),
        ctx_in=_input(state, call.ctx_in, call.ctx_size_in),
        data_out=bool(call.data_out), data_size_out=call.data_size_out,
        ctx_out=bool(call.ctx_out), ctx_size_out=call.ctx_size_out,
        repeat=call.repeat, duration=call.duration, flags=call.flags,
        cpu=call.cpu, batch_size=call.batch_size,
        attach_type=prog.facts.expected_attach_type,
        max_ctx_offset=prog.facts.max_ctx_offset, checked=state.checked,
        budget=state.budget, observer=partial(observe, state))


def observe(state: State, run: RunCtx) -> None:
    """Keep the run, and what it printed under the name of the program that printed it."""
    with state.lock:
        state.last_run = run
        data, at = run.trace, 0
        while at < len(data):
            number, length = _TRACE_HEAD.unpack_from(data, at)
            at += _TRACE_HEAD.size
            text = data[at:at + length].decode("utf-8", "replace")
            state.trace.append(TraceLine(_name(state, number), text, state.kernel.clock_ns,
                                         run.cpu))
            at += length


def _name(state: State, number: int) -> str:
    """The name of a program by its id, if it is still there."""
    try:
        return state.progs[number].facts.name
    except BpfError:
        return ""


def _name_source(state: State, fault: Fault) -> None:
    """Say which source line stopped the run, if the program is the only one of its name."""
    with state.lock:
        found = [p for p in state.progs if p.facts.name == fault.program]
        source = found[0].btf.source(fault.insn) if len(found) == 1 and found[0].btf else ""
    if source:
        fault.name_source(source)


def _write(state: State, address: int, data: bytes, error: int) -> None:
    """Write output; a bad pointer is EFAULT, unless the room is too small anyway."""
    try:
        state.memory.write(address, data)
    except BpfError as fault:
        raise BpfError(error or fault.errno or EFAULT) from None


def _answer(state: State, attr: Attr, call: Call, result: TestRunResult) -> None:
    """Write everything back, in the kernel's order."""
    if result.data_out is not None:
        _write(state, call.data_out, result.data_out, result.error)
    if result.data_size_out is not None:
        attr["test.data_size_out"] = result.data_size_out
    if result.retval is not None:
        attr["test.retval"] = result.retval
    if result.duration is not None:
        attr["test.duration"] = result.duration
    if result.ctx_in is not None:
        state.memory.write(call.ctx_in, result.ctx_in)
    if result.ctx_out is not None:
        _write(state, call.ctx_out, result.ctx_out, result.error)
    if result.ctx_size_out is not None:
        attr["test.ctx_size_out"] = result.ctx_size_out


def prog_test_run(state: State, attr: Attr) -> int:
    """BPF_PROG_TEST_RUN. The run itself does not hold the Machine's lock."""
    call = Call._make(attr.unpack(CALL))
    if bool(call.ctx_size_in) != bool(call.ctx_in):
        raise BpfError(EINVAL, "ctx_in and ctx_size_in must be given together")
    if bool(call.ctx_size_out) != bool(call.ctx_out):
        raise BpfError(EINVAL, "ctx_out and ctx_size_out must be given together")
    with state.lock:
        prog = state.object(call.prog_fd, ProgObject)
        prog.get()
    try:
        result = test_run(state.kernel, prog.native, _request(state, call, prog))
    except Fault as fault:
        _name_source(state, fault)
        raise
    finally:
        with state.lock:
            prog.put()
    _answer(state, attr, call, result)
    if result.error:
        raise BpfError(result.error)
    return 0
