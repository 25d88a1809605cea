"""Machine.lirc_receiver: programs by descriptor, and what they print."""

from __future__ import annotations

import gc
from collections.abc import Mapping

import pytest

from anybpf import uapi
from anybpf.attach import bpf_lirc as lirc
from anybpf.errors import BpfError, Fault
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import encode
from anybpf.libbpf import bpf
from anybpf.machine import Machine

SAMPLE_AS_KEY = """
r3 = *(u32 *)(r1 + 0)
r2 = {protocol}
r4 = 2
call 78
r0 = 0
exit
"""
PRINT = """
r1 = 0x0a6968
*(u64 *)(r10 - 8) = r1
r1 = r10
r1 += -8
r2 = 4
call 6
exit
"""


class Loaded:
    """A program of a Machine."""

    def __init__(self, machine: Machine, text: str,
                 prog_type: int = uapi.BPF_PROG_TYPE_LIRC_MODE2, *,
                 symbols: Mapping[str, Pseudo] | None = None) -> None:
        attr = bpf.ProgAttr(prog_type=prog_type, insns=encode(assemble(text, symbols or {})),
                            license="GPL", name="decoder")
        self.fd: int | None = bpf.prog_load(machine, attr).fd


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_programs_run_in_order(machine: Machine) -> None:
    made = [Loaded(machine, SAMPLE_AS_KEY.format(protocol=p)) for p in (7, 9)]
    receiver = machine.lirc_receiver(*made)
    assert receiver.receive([5, 6]) == [
        lirc.KeyDown(protocol, code, True, code - 5) for code in (5, 6) for protocol in (7, 9)]
    assert receiver.samples == 2


def test_refused_programs(machine: Machine) -> None:
    with pytest.raises(BpfError, match="Invalid argument"):
        machine.lirc_receiver(Loaded(machine, "r0 = 2\nexit", uapi.BPF_PROG_TYPE_XDP))
    unloaded = Loaded(machine, "r0 = 2\nexit")
    unloaded.fd = None
    with pytest.raises(BpfError, match="no open file"):
        machine.lirc_receiver(unloaded)


COUNT = """
r2 = 0
*(u32 *)(r10 - 4) = r2
r6 = r1
r1 = counters ll
r2 = r10
r2 += -4
call 1
if r0 == 0 goto out
r3 = *(u64 *)(r0 + 0)
r3 += 1
*(u64 *)(r0 + 0) = r3
r1 = r6
r2 = 1
r4 = 0
call 78
out:
r0 = 0
exit
"""


def test_the_receiver_holds_its_programs(machine: Machine) -> None:
    """Closing a program does not take it, or its maps, from where it is attached."""
    counters = bpf.map_create(machine, uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 1)
    made = Loaded(machine, COUNT, symbols={"counters": Pseudo(uapi.BPF_PSEUDO_MAP_FD, counters)})
    receiver = machine.lirc_receiver(made)
    for fd in (made.fd, counters):
        machine.close(fd)
    assert [e.scancode for e in receiver.receive([1, 1]) if isinstance(e, lirc.KeyDown)] == [1, 2]
    assert list(bpf.ids(machine, uapi.BPF_PROG_GET_NEXT_ID)) == [1]
    del receiver
    gc.collect()
    assert list(bpf.ids(machine, uapi.BPF_PROG_GET_NEXT_ID)) == []
    assert list(bpf.ids(machine, uapi.BPF_MAP_GET_NEXT_ID)) == []


def test_what_programs_print(machine: Machine) -> None:
    machine.lirc_receiver(Loaded(machine, PRINT)).receive([1, 2])
    assert [(line.program, line.text.strip()) for line in machine.trace] == [("decoder", "hi")] * 2


def test_a_fault_is_raised_and_the_next_sample_runs() -> None:
    machine = Machine(verify=False)
    bad = "r2 = *(u32 *)(r1 + 0)\nif r2 == 0 goto +1\nr0 = *(u64 *)(r2 + 0)\nr0 = 0\nexit"
    receiver = machine.lirc_receiver(Loaded(machine, bad))
    with pytest.raises(Fault) as caught:
        receiver.receive([8])
    assert (caught.value.insn, caught.value.address) == (2, 8)
    assert receiver.receive([0]) == []
