"""Repeated runs and what they leave behind."""

from __future__ import annotations

import signal

import pytest

from anybpf import uapi
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx
from anybpf.errors import Fault
from anybpf.isa.asm import assemble
from anybpf.isa.insn import encode
from anybpf.net.entry import Memory, run_repeated


def program(kernel: Kernel, text: str) -> Prog:
    return Prog(encode(assemble(text)), kernel=kernel, prog_type=uapi.BPF_PROG_TYPE_SYSCALL)


COUNT = "r2 = *(u32 *)(r1 + 0); r2 += 1; *(u32 *)(r1 + 0) = r2; r0 = r2; exit"


def test_memory_stays_from_run_to_run() -> None:
    kernel = Kernel()
    run, memory = RunCtx(kernel), Memory(bytes(4))
    at = memory.enter(run)
    assert run_repeated(program(kernel, COUNT), run, at, 10000, True, 100) == 10000
    assert bytes(memory) == (10000).to_bytes(4, "little")


def test_memory_may_be_read_only() -> None:
    kernel = Kernel()
    run = RunCtx(kernel)
    at = Memory(bytes(4))
    with pytest.raises(Fault, match="write"):
        run_repeated(program(kernel, COUNT), run, at.enter(run, writable=False), 1, True, 100)


def test_no_memory_has_no_address() -> None:
    assert Memory(b"").enter(RunCtx(Kernel())) == 0


def test_the_budget_is_that_of_one_run() -> None:
    kernel = Kernel()
    prog = program(kernel, "r0 = 0; r0 = 0; r0 = 0; exit")
    assert run_repeated(prog, RunCtx(kernel), 0, 50, True, 10) == 0
    with pytest.raises(Fault):
        run_repeated(prog, RunCtx(kernel), 0, 50, True, 2)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_a_signal_goes_before_the_fault_of_an_endless_program() -> None:
    class Interrupt(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupt

    kernel = Kernel()
    prog = Prog(encode(assemble("again: goto again; exit")), kernel=kernel)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(Interrupt):
            run_repeated(prog, RunCtx(kernel), 0, 1, True, 1 << 26)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
