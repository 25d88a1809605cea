"""Infrared decoders on pulses and spaces (drivers/media/rc/bpf-lirc.c).

A receiver hands every sample to the programs attached to it, in order; they keep what they need in
maps and report keys by helpers. A sample is a 32-bit number: what happened in the upper 8 bits,
how long it took in microseconds in the lower 24 (LIRC_MODE_MODE2 of linux/lirc.h).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from anybpf import uapi
from anybpf.core.interpreter import DEFAULT_BUDGET, run
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx
from anybpf.errors import BpfError
from anybpf.helpers.lirc import LircContext

LIRC_MODE2_SPACE = 0x00000000
LIRC_MODE2_PULSE = 0x01000000
LIRC_MODE2_FREQUENCY = 0x02000000
LIRC_MODE2_TIMEOUT = 0x03000000
LIRC_MODE2_OVERFLOW = 0x04000000
LIRC_VALUE_MASK = 0x00FFFFFF
LIRC_MODE2_MASK = 0xFF000000

#: most programs that one receiver takes (the kernel's BPF_MAX_PROGS)
MAX_PROGS = 64


def _sample(kind: int, value: int) -> int:
    if not 0 <= value <= LIRC_VALUE_MASK:
        raise ValueError(f"{value} does not fit the 24 bits of a sample")
    return kind | value


def pulse(us: int) -> int:
    """Light for `us` microseconds."""
    return _sample(LIRC_MODE2_PULSE, us)


def space(us: int) -> int:
    """Darkness for `us` microseconds."""
    return _sample(LIRC_MODE2_SPACE, us)


def timeout(us: int) -> int:
    """Darkness for so long that the receiver went idle."""
    return _sample(LIRC_MODE2_TIMEOUT, us)


def from_durations(durations: Iterable[int]) -> list[int]:
    """Samples of pulse, space, pulse ... lengths in microseconds, beginning with a pulse."""
    return [space(us) if i & 1 else pulse(us) for i, us in enumerate(durations)]


class KeyDown(NamedTuple):
    """A key was decoded. `protocol` is an RC_PROTO_* number; `sample` the index of its sample."""

    protocol: int
    scancode: int
    toggle: bool
    sample: int


class Repeat(NamedTuple):
    """The last key is held."""

    sample: int


class PointerRel(NamedTuple):
    """A pointing device moved."""

    x: int
    y: int
    sample: int


Event = KeyDown | Repeat | PointerRel

_EVENTS: dict[int, Callable[..., Event]] = {
    uapi.BPF_FUNC_rc_keydown:
        lambda protocol, code, toggle, x, y, at: KeyDown(protocol, code, bool(toggle), at),
    uapi.BPF_FUNC_rc_repeat: lambda protocol, code, toggle, x, y, at: Repeat(at),
    uapi.BPF_FUNC_rc_pointer_rel: lambda protocol, code, toggle, x, y, at: PointerRel(x, y, at),
}


class Receiver:
    """An infrared receiver of `kernel` with the programs that decode its samples.

    Raises BpfError: EINVAL for a program that is no lirc_mode2 program, EEXIST for one that is
    attached already, E2BIG beyond 64 programs. `observer` is called after every run.
    """

    def __init__(self, kernel: Kernel, programs: Sequence[Prog] = (), *, checked: bool = True,
                 budget: int = DEFAULT_BUDGET,
                 observer: Callable[[RunCtx], None] | None = None) -> None:
        self.programs: list[Prog] = []
        self.checked = checked
        self.budget = budget
        self.samples = 0
        """Samples received so far."""
        self.run = RunCtx(kernel)
        """The last run: printk lines and the like."""
        self._observer = observer
        self._context = LircContext()
        for prog in programs:
            self.attach(prog)

    def attach(self, prog: Prog) -> None:
        """Let `prog` see the samples that come from now on, after the programs before it."""
        if prog.prog_type != uapi.BPF_PROG_TYPE_LIRC_MODE2:
            raise BpfError(errno.EINVAL)
        if prog in self.programs:
            raise BpfError(errno.EEXIST)
        if len(self.programs) >= MAX_PROGS:
            raise BpfError(errno.E2BIG)
        self.programs.append(prog)

    def detach(self, prog: Prog) -> None:
        """Raises BpfError(ENOENT) if `prog` is not attached."""
        if prog not in self.programs:
            raise BpfError(errno.ENOENT)
        self.programs.remove(prog)

    def receive(self, samples: Iterable[int]) -> list[Event]:
        """Run the programs on each sample; what they reported, in order."""
        return [event for sample in samples for event in self._receive_one(sample)]

    def _receive_one(self, sample: int) -> list[Event]:
        self._context.sample = sample
        for prog in self.programs:
            self._run(prog)
        at = self.samples
        self.samples += 1
        return [_EVENTS[helper](*rest, at) for helper, *rest in self._context.take()]

    def _run(self, prog: Prog) -> None:
        self.run.reset()
        try:
            run(prog, self.run, self._context.address, checked=self.checked, budget=self.budget)
        finally:
            if self._observer is not None:
                self._observer(self.run)
