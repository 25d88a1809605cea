"""Infrared receivers: encodings, attaching, and other people's decoders on pulses of our own."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from anybpf import uapi
from anybpf.attach import bpf_lirc
from anybpf.attach.bpf_lirc import KeyDown, PointerRel, Receiver, Repeat
from anybpf.core.prog import Prog
from anybpf.errors import BpfError, Fault
from anybpf.isa.asm import assemble
from anybpf.isa.insn import encode
from anybpf.libbpf.object import Object
from anybpf.machine import Machine
from anybpf.net.context import context_table


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as m:
        yield m


def program(machine: Machine, text: str, prog_type: int = uapi.BPF_PROG_TYPE_LIRC_MODE2) -> Prog:
    return Prog(encode(assemble(text)), kernel=machine.kernel, prog_type=prog_type,
                context=context_table(prog_type))


def test_samples() -> None:
    assert bpf_lirc.from_durations([100, 200, 300]) == [0x01000064, 200, 0x0100012C]
    assert bpf_lirc.timeout(5) == 0x03000005
    with pytest.raises(ValueError, match="24 bits"):
        bpf_lirc.pulse(1 << 24)


KEY = "r6 = r1; r3 = *(u32 *)(r6 + 0); r2 = 5; r4 = 1; r1 = r6; call 78; r0 = 0; exit"


def test_reports_keep_their_order(machine: Machine) -> None:
    again = "r6 = r1; call 77; r1 = r6; r2 = 3; r3 = -4; call 92; r0 = 0; exit"
    receiver = Receiver(machine.kernel, [program(machine, KEY), program(machine, again)])
    assert receiver.receive([7, 8]) == [
        KeyDown(5, 7, True, 0), Repeat(0), PointerRel(3, -4, 0),
        KeyDown(5, 8, True, 1), Repeat(1), PointerRel(3, -4, 1)]


def test_attaching(machine: Machine) -> None:
    prog = program(machine, KEY)
    receiver = Receiver(machine.kernel, [prog])
    for act, number in ((receiver.attach, errno.EEXIST), (receiver.detach, 0),
                        (receiver.detach, errno.ENOENT)):
        if number:
            with pytest.raises(BpfError) as caught:
                act(prog)
            assert caught.value.errno == number
        else:
            act(prog)
    with pytest.raises(BpfError) as caught:
        receiver.attach(program(machine, "r0 = 0; exit", uapi.BPF_PROG_TYPE_XDP))
    assert caught.value.errno == errno.EINVAL
    assert receiver.receive([1]) == []


@pytest.mark.parametrize("access", ["r0 = *(u32 *)(r1 + 4)", "*(u32 *)(r1 + 0) = r1",
                                    "r0 = *(u64 *)(r1 + 0)"])
def test_a_sample_is_all_there_is(machine: Machine, access: str) -> None:
    with pytest.raises(Fault):
        Receiver(machine.kernel, [program(machine, f"{access}; r0 = 0; exit")]).receive([1])


def distances(code: int, bits: int = 4) -> list[int]:
    """Bits as long or short spaces between equal pulses."""
    durations = [2125, 1875]
    for i in reversed(range(bits)):
        durations += [625, 1625 if code >> i & 1 else 375]
    return bpf_lirc.from_durations([*durations, 625, 20000])


def lengths(code: int, bits: int = 4) -> list[int]:
    """Bits as long or short pulses between equal spaces."""
    durations = [2125, 1875]
    for i in reversed(range(bits)):
        durations += [1625 if code >> i & 1 else 375, 625]
    return bpf_lirc.from_durations([*durations, 20000])


def decoder(machine: Machine, path: Path) -> Receiver:
    loaded = Object.open(path)
    loaded.load(machine)
    return Receiver(machine.kernel, [machine.prog_of(p.fd) for p in loaded.programs.values()])


@pytest.mark.parametrize(("name", "encoding"), [
    ("pulse_distance", distances), ("pulse_length", lengths)])
def test_debians_decoders_find_the_code(machine: Machine, lirc_objects: list[Path], name: str,
                                        encoding: object) -> None:
    path = next(p for p in lirc_objects if p.stem == name)
    receiver = decoder(machine, path)
    assert callable(encoding)
    for code in range(16):
        events = receiver.receive(encoding(code))
        assert [e.scancode for e in events if isinstance(e, KeyDown)] == [code]


def test_noise_is_no_key(machine: Machine, lirc_objects: list[Path]) -> None:
    """All but `raw`, whose map gets its size from the keymap that it is loaded for."""
    for path in (p for p in lirc_objects if p.stem != "raw"):
        receiver = decoder(machine, path)
        assert receiver.receive(bpf_lirc.from_durations([33, 77] * 50)) == [], path.name
