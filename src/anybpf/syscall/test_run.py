"""BPF_PROG_TEST_RUN (bpf_prog_test_run in kernel/bpf/syscall.c, net/bpf/test_run.c).

Here the caller's memory and the union are read and written; what runs is `net.test_run`'s affair.
"""

from __future__ import annotations

import struct
from errno import EFAULT, EINVAL
from typing import TYPE_CHECKING

from anybpf.errors import BpfError
from anybpf.net.test_run import Input, TestRun, TestRunResult, test_run
from anybpf.syscall.attr import Attr
from anybpf.syscall.objects import ProgObject
from anybpf.syscall.state import State, TraceLine

if TYPE_CHECKING:
    from anybpf.core.run_ctx import RunCtx

_TRACE_HEAD = struct.Struct("<II")


def _input(state: State, attr: Attr, name: str) -> Input:
    """`data_in` or `ctx_in`, read when the kernel would read it."""
    address = attr[f"test.{name}_in"]
    return Input(size=attr[f"test.{name}_size_in"], present=bool(address),
                 reader=lambda size: state.memory.read(address, size))


def _request(state: State, attr: Attr, prog: ProgObject) -> TestRun:
    return TestRun(
        data_in=_input(state, attr, "data"), ctx_in=_input(state, attr, "ctx"),
        data_out=bool(attr["test.data_out"]), data_size_out=attr["test.data_size_out"],
        ctx_out=bool(attr["test.ctx_out"]), ctx_size_out=attr["test.ctx_size_out"],
        repeat=attr["test.repeat"], duration=attr["test.duration"], flags=attr["test.flags"],
        cpu=attr["test.cpu"], batch_size=attr["test.batch_size"],
        attach_type=prog.facts.expected_attach_type, checked=state.checked,
        budget=state.budget, observer=lambda run: observe(state, run))


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


def _write(state: State, address: int, data: bytes, error: int) -> None:
    """Write output; a bad pointer is EFAULT, unless the room is too small anyway."""
    try:
        state.memory.write(address, data)
    except BpfError as fault:
        raise BpfError(error or fault.errno or EFAULT) from None


def _answer(state: State, attr: Attr, result: TestRunResult) -> None:
    """Write everything back, in the kernel's order."""
    if result.data_out is not None:
        _write(state, attr["test.data_out"], result.data_out, result.error)
    for name in ("data_size_out", "retval", "duration"):
        value = getattr(result, name)
        if value is not None:
            attr[f"test.{name}"] = value
    if result.ctx_in is not None:
        state.memory.write(attr["test.ctx_in"], result.ctx_in)
    if result.ctx_out is not None:
        _write(state, attr["test.ctx_out"], result.ctx_out, result.error)
    if result.ctx_size_out is not None:
        attr["test.ctx_size_out"] = result.ctx_size_out


def prog_test_run(state: State, attr: Attr) -> int:
    """BPF_PROG_TEST_RUN. The run itself does not hold the Machine's lock."""
    if bool(attr["test.ctx_size_in"]) != bool(attr["test.ctx_in"]):
        raise BpfError(EINVAL, "ctx_in and ctx_size_in must be given together")
    if bool(attr["test.ctx_size_out"]) != bool(attr["test.ctx_out"]):
        raise BpfError(EINVAL, "ctx_out and ctx_size_out must be given together")
    with state.lock:
        prog = state.object(attr["test.prog_fd"], ProgObject)
        prog.get()
    try:
        result = test_run(state.kernel, prog.native, _request(state, attr, prog))
    finally:
        with state.lock:
            prog.put()
    _answer(state, attr, result)
    if result.error:
        raise BpfError(result.error)
    return 0
