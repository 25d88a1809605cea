"""Other people's objects with some bytes changed: loaded and run, nothing but typed errors comes.

What is still a program runs checked, so whatever it does ends with a Fault and harms nobody.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anybpf import uapi
from anybpf.errors import BpfError, Fault, LoadError, NotSupported
from anybpf.libbpf import Object, Program
from anybpf.machine import Machine
from conftest import LIBXDP, LIRC
from kernel import packets

OBJECTS = sorted((*LIBXDP.glob("*.o"), *LIRC.glob("*.o")))
#: enough for every program that ends by itself
BUDGET = 100_000

pytestmark = pytest.mark.skipif(
    not OBJECTS, reason="neither of the Debian packages libxdp1 and ir-keytable is installed")
read = cache(Path.read_bytes)


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    copy = bytearray(data)
    for where, value in changes:
        copy[where % len(copy)] = value
    return bytes(copy)


def run(machine: Machine, program: Program, frames: list[bytes], samples: list[int]) -> str:
    """How the program ended."""
    try:
        if program.type == uapi.BPF_PROG_TYPE_LIRC_MODE2:
            machine.lirc_receiver(program).receive(samples)
        else:
            for frame in frames:
                program.test_run(frame)
    except (Fault, BpfError, NotSupported) as end:
        return type(end).__name__
    return "ran"


Changes = st.lists(st.tuples(st.one_of(st.integers(64, 4200), st.integers(0, 1 << 20)),
                             st.integers(0, 255)), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_objects(data: Any) -> None:
    path = data.draw(st.sampled_from(OBJECTS))
    changed = mutated(read(path), data.draw(Changes))
    frames = data.draw(st.lists(packets.packets(), max_size=4))
    samples = data.draw(st.lists(st.integers(0, uapi.U32), max_size=20))
    with Machine() as machine:
        machine.budget = BUDGET
        try:
            obj = Object.open(changed, name=path.stem).load(machine)
        except (LoadError, BpfError, NotSupported):
            return
        with obj:
            for program in obj.programs.values():
                if program.fd is not None:
                    run(machine, program, frames, samples)
        assert machine.open_fds == ()


#: AF_XDP sockets, fentry for want of a kernel's types, and a map of patterns that has no room for
#: any before a loader has sized it
UNSUITED: dict[str, type[Exception]] = {
    "xsk_def_xdp_prog.o": NotSupported, "xsk_def_xdp_prog_5.3.o": NotSupported,
    "xdpdump_bpf.o": BpfError, "raw.o": BpfError}


@pytest.mark.parametrize("path", OBJECTS, ids=lambda p: p.name)
def test_unchanged_objects_run(path: Path) -> None:
    """The same without changes: the test above is not all errors."""
    with Machine() as machine:
        opened = Object.open(mutated(read(path), []))
        if path.name in UNSUITED:
            with pytest.raises(UNSUITED[path.name]):
                opened.load(machine)
            return
        obj = opened.load(machine)
        ends = {run(machine, p, [packets.TABLE["tcp"]], [0x010001F4]) for p in
                obj.programs.values()}
        assert ends == {"ran"}
