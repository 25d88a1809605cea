"""The interpreter against the running kernel: random programs leave the same memory."""

from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import HealthCheck, assume, given, settings

from anybpf import uapi
from anybpf.core.prog import Prog
from anybpf.errors import BpfError
from anybpf.isa.insn import Insn, encode
from anybpf.libbpf import bpf
from anybpf.linux import Linux
from unit.core.random_programs import BODY, OUTPUT, START, whole
from unit.core.rig import Rig

pytestmark = pytest.mark.kernel


def run_on_linux(linux: Linux, code: bytes, ctx: bytes) -> bytes | None:
    """The context after a run by the kernel, None where its verifier refuses the program."""
    attr = bpf.ProgAttr(prog_type=uapi.BPF_PROG_TYPE_SYSCALL, insns=code, license="GPL",
                        prog_flags=uapi.BPF_F_SLEEPABLE)
    try:
        fd = bpf.prog_load(linux, attr).fd
    except BpfError:
        return None
    try:
        return bpf.prog_test_run(linux, fd, ctx=ctx).ctx
    finally:
        linux.close(fd)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(body=BODY, start=START)
def test_random_programs_leave_the_same_memory(kernel: Linux, body: list[Insn],
                                               start: list[int]) -> None:
    # r0 must be a plain return value, and nothing unreachable: else the verifier refuses
    insns = whole(body)
    code = encode([*insns[:-1], Insn(0xB7, 0, 0, 0, 0), insns[-1]])
    ctx = struct.pack("<9Q", *start) + bytes(OUTPUT - 72)
    wanted = run_on_linux(kernel, code, ctx)
    assume(wanted is not None)
    rig = Rig()
    address = rig.memory(ctx)
    prog = Prog(code, kernel=rig.kernel)
    for checked in (True, False):
        ctypes.memmove(address, ctx, OUTPUT)
        assert rig.run(prog, address, checked=checked) == 0
        assert rig.peek(address, OUTPUT) == wanted, checked
