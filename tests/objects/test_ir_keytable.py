"""The infrared decoders of Debian's ir-keytable on pulses and spaces made here.

No kernel on a machine without infrared receivers can run them: what must come out is what the
protocols say, and what the rc_keymap(5) manual says of the parameters.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf.attach.bpf_lirc import (
    LIRC_MODE2_FREQUENCY,
    Event,
    KeyDown,
    PointerRel,
    Receiver,
    Repeat,
    from_durations,
    timeout,
)
from anybpf.errors import LoadError
from anybpf.libbpf.keytable import Protocol, RawKey, load_decoder, read_keymap
from anybpf.machine import Machine
from conftest import LIRC
from objects import infrared as ir

KEYMAPS = LIRC.parent
DECODERS = ("grundig", "imon_rsc", "manchester", "pulse_distance", "pulse_length", "raw", "rc_mm",
            "samsung36", "xbox-dvd")
#: not quite NEC, whose repeats begin with the pulse of a header: the decoder cannot tell these
NEC = {"header_pulse": 9000, "header_space": 4500, "repeat_pulse": 6000, "repeat_space": 2250,
       "bit_pulse": 560, "bit_0_space": 560, "bit_1_space": 1690, "trailer_pulse": 560,
       "bits": 32, "reverse": 1, "rc_protocol": 70}
SONY = {"header_pulse": 2400, "header_space": 600, "bit_0_pulse": 600, "bit_1_pulse": 1200,
        "bit_space": 600, "bits": 12, "reverse": 1, "rc_protocol": 71,
        "repeat_pulse": 4000, "repeat_space": 2000, "trailer_pulse": 600}
RC5 = {"toggle_bit": 11, "scancode_mask": 0x3000}
RAW_KEYS = (RawKey("KEY_POWER", (500, 1500, 500, 500, 500)),
            RawKey("KEY_MUTE", (500, 500, 500, 1500, 500)),
            RawKey("KEY_UP", (500, 1500, 500)))


class Key(NamedTuple):
    """A message and what must be decoded from it; `margin` is how sloppy it may be."""

    decoder: str
    parameters: dict[str, int]
    lengths: list[int]
    event: Event
    margin: int
    raw: tuple[RawKey, ...] = ()


def key(protocol: int, code: int, toggle: bool = False) -> KeyDown:
    return KeyDown(protocol, code, toggle, 0)


KEYS = {
    "grundig": Key("grundig", {}, ir.grundig(0b00_01_10_11_11_10_01_00),
                   key(64, 0b00_01_10_11_11_10_01_00), 100),
    "grundig, other header": Key(
        "grundig", {"header_pulse": 1500}, [1500, *ir.grundig(0xBEEF)[1:]], key(64, 0xBEEF), 100),
    "imon": Key("imon_rsc", {}, ir.imon_stick(6), PointerRel(4, 4, 0), 325),
    "imon, long header": Key("imon_rsc", {}, ir.imon_stick(11, 3250), PointerRel(-4, -2, 0), 325),
    "rc-5": Key("manchester", RC5, ir.manchester(0x3000 | 5 << 6 | 12, 14),
                key(66, 5 << 6 | 12), 200),
    "rc-5 toggled": Key("manchester", RC5, ir.manchester(0x3800 | 30 << 6 | 53, 14),
                        key(66, 30 << 6 | 53, True), 200),
    "rc-5 as it comes": Key("manchester", {}, ir.manchester(0x3801, 14), key(66, 0x3801), 200),
    "nec": Key("pulse_distance", NEC, ir.pulse_distance(0xE718FF00, NEC), key(70, 0xE718FF00), 200),
    "nec, highest bit first": Key(
        "pulse_distance", NEC | {"reverse": 0}, ir.pulse_distance(0x12345678, NEC | {"reverse": 0}),
        key(70, 0x12345678), 200),
    "nec repeat": Key("pulse_distance", NEC, ir.repeat(NEC), Repeat(0), 200),
    "sony": Key("pulse_length", SONY, ir.pulse_length(0x095, SONY), key(71, 0x095), 200),
    "sony, highest bit first": Key(
        "pulse_length", SONY | {"reverse": 0}, ir.pulse_length(0x095, SONY | {"reverse": 0}),
        key(71, 0x095), 200),
    "pulse length repeat": Key("pulse_length", SONY, ir.repeat(SONY), Repeat(0), 200),
    "raw, first": Key("raw", {}, [500, 1500, 500, 500, 500, ir.GAP], key(68, 0), 200, RAW_KEYS),
    "raw, second": Key("raw", {"rc_protocol": 72}, [500, 500, 500, 1500, 500, ir.GAP], key(72, 1),
                       200, RAW_KEYS),
    "raw, third": Key("raw", {}, [500, 1500, 500, ir.GAP], key(68, 2), 200, RAW_KEYS),
    "rc-mm": Key("rc_mm", {}, ir.rc_mm(0b00_01_10_11), key(65, 0b00_01_10_11), 60),
    "rc-mm, 24 bits": Key("rc_mm", {"bits": 24}, ir.rc_mm(0xABCDEF, 24), key(65, 0xABCDEF), 60),
    "samsung36": Key("samsung36", {}, ir.samsung36(0x40400E00F), key(69, 0x40400E00F), 300),
    "xbox": Key("xbox-dvd", {}, ir.xbox_dvd(0xA0B), key(68, 0xA0B), 200),
}
AllKeys = pytest.mark.parametrize("name", KEYS)


@pytest.fixture(autouse=True)
def decoders(lirc_objects: list[Path]) -> None:
    """Skips all of this where the package is not installed."""


def receiver_of(made: Key, machine: Machine) -> Receiver:
    remote = Protocol(made.decoder, parameters=made.parameters, raw=made.raw)
    obj = load_decoder(LIRC / f"{made.decoder}.o", machine, remote)
    return machine.lirc_receiver(*obj.programs.values())


def heard(receiver: Receiver, lengths: list[int]) -> list[Event]:
    """What is decoded from a message, without the numbers of the samples."""
    return [event._replace(sample=0) for event in receiver.receive(from_durations(lengths))]


def test_these_are_all_decoders(lirc_objects: list[Path]) -> None:
    assert {p.stem for p in lirc_objects} == {made.decoder for made in KEYS.values()}
    assert {p.stem for p in lirc_objects} == set(DECODERS)


@AllKeys
def test_message(name: str) -> None:
    made = KEYS[name]
    assert heard(receiver_of(made, Machine()), made.lengths) == [made.event]


@AllKeys
def test_only_the_whole_message(name: str) -> None:
    """Nothing is decoded from a beginning; the idle time at the end may matter or not."""
    made = KEYS[name]
    for length in range(len(made.lengths) - 1):
        assert heard(receiver_of(made, Machine()), made.lengths[:length]) == [], length
    assert heard(receiver_of(made, Machine()), made.lengths[:-1]) in ([], [made.event])


@AllKeys
def test_idle_as_a_timeout(name: str) -> None:
    made = KEYS[name]
    receiver = receiver_of(made, Machine())
    samples = from_durations(made.lengths[:-1])
    events = receiver.receive([*samples, timeout(made.lengths[-1])])
    assert [e._replace(sample=0) for e in events] == [made.event]


@AllKeys
def test_sloppy_within_the_margin(name: str) -> None:
    made = KEYS[name]
    seeded = random.Random(name)
    for _ in range(20):
        slop = [seeded.randint(1 - made.margin, made.margin - 1) for _ in made.lengths]
        if any(us + off <= 0 for us, off in zip(made.lengths, slop, strict=True)):
            slop = [max(off, 0) for off in slop]
        receiver = receiver_of(made, Machine())
        assert heard(receiver, ir.shifted(made.lengths, slop)) == [made.event], slop


@AllKeys
def test_other_samples_between_change_nothing(name: str) -> None:
    made = KEYS[name]
    receiver = receiver_of(made, Machine())
    samples = [s for sample in from_durations(made.lengths)
               for s in (LIRC_MODE2_FREQUENCY | 38000, sample)]
    assert [e._replace(sample=0) for e in receiver.receive(samples)] == [made.event]
    assert receiver.samples == 2 * len(made.lengths)


@AllKeys
@pytest.mark.parametrize("change", [
    lambda lengths: [3 * us for us in lengths],
    lambda lengths: [us // 3 for us in lengths],
    lambda lengths: lengths[1:],
    lambda lengths: [50] * 200,
], ids=["three times as slow", "three times as fast", "light for dark", "noise"])
def test_wrong_messages(name: str, change: Callable[[list[int]], list[int]]) -> None:
    made = KEYS[name]
    assert heard(receiver_of(made, Machine()), change(made.lengths)) == []


@pytest.mark.parametrize("name", ["grundig", "nec", "sony", "rc-mm", "samsung36", "xbox", "imon",
                                  "rc-5 toggled", "raw, first", "rc-5 as it comes"])
def test_held_key(name: str) -> None:
    """The same message again and again, each decoded at its own sample."""
    made = KEYS[name]
    receiver = receiver_of(made, Machine())
    events = receiver.receive(from_durations(made.lengths * 5))
    assert [e._replace(sample=0) for e in events] == [made.event] * 5
    steps = {b.sample - a.sample for a, b in pairwise(events)}
    assert steps == {len(made.lengths)}


STICK = ((0, -4), (0, 4), (4, 0), (-4, 0), (4, -4), (-4, 4), (4, 4), (-4, -4),
         (2, -4), (-2, 4), (4, 2), (-4, -2), (4, -2), (-4, 2), (2, 4), (-2, -4))


@pytest.mark.parametrize("direction", range(16))
def test_stick(direction: int) -> None:
    receiver = receiver_of(KEYS["imon"], Machine())
    x, y = STICK[direction]
    assert heard(receiver, ir.imon_stick(direction)) == [PointerRel(x, y, 0)]


@pytest.mark.parametrize("check", [0xA0B, 0x5F5, 0x000, 0xFFF])
def test_xbox_wants_the_inverted_code(check: int) -> None:
    assert heard(receiver_of(KEYS["xbox"], Machine()), ir.xbox_dvd(0xA0B, check)) == []


def test_samsung36_wants_the_long_space() -> None:
    lengths = ir.samsung36(0x40400E00F)
    at = lengths.index(4450)
    assert heard(receiver_of(KEYS["samsung36"], Machine()),
                 [*lengths[:at], 1600, *lengths[at + 1:]]) == []


def test_headerless_message() -> None:
    parameters = NEC | {"header_optional": 1}
    lengths = ir.pulse_distance(0x00FF18E7, NEC, header=False)
    assert heard(receiver_of(Key("pulse_distance", parameters, [], Repeat(0), 0), Machine()),
                 lengths) == [key(70, 0x00FF18E7)]
    assert heard(receiver_of(KEYS["nec"], Machine()), lengths) == []


def test_manchester_with_header() -> None:
    """v4l-utils 1.22 writes the state after the header where its end overwrites it, so nothing is
    ever decoded; a corrected decoder would get the code."""
    made = Key("manchester", {"header_pulse": 3000, "header_space": 2000, "bits": 10},
               ir.manchester(0x2A5, 10, header=(3000, 2000)), key(66, 0x2A5), 0)
    receiver = receiver_of(made, Machine())
    assert heard(receiver, made.lengths) in ([], [made.event])
    assert heard(receiver, ir.manchester(0x2A5, 10)) == []


Codes = st.integers(0, 0xFFFFFFFF)


@settings(max_examples=25, deadline=None)
@given(Codes, st.booleans())
def test_any_code(code: int, reverse: bool) -> None:
    """One machine with all decoders of codes, one message each: every code comes out again."""
    nec, sony = NEC | {"reverse": int(reverse)}, SONY | {"reverse": int(reverse), "bits": 20}
    rc5 = {"bits": 16}
    start = 0x8000 | code & 0x7FFF
    for made in (
            Key("pulse_distance", nec, ir.pulse_distance(code, nec), key(70, code), 0),
            Key("pulse_length", sony, ir.pulse_length(code & 0xFFFFF, sony),
                key(71, code & 0xFFFFF), 0),
            Key("manchester", rc5, ir.manchester(start, 16), key(66, start), 0),
            Key("rc_mm", {"bits": 32}, ir.rc_mm(code, 32), key(65, code), 0),
            Key("samsung36", {}, ir.samsung36(code), key(69, code), 0),
            Key("grundig", {}, ir.grundig(code & 0xFFFF), key(64, code & 0xFFFF), 0),
            Key("xbox-dvd", {}, ir.xbox_dvd(code & 0xFFF), key(68, code & 0xFFF), 0)):
        assert heard(receiver_of(made, Machine()), made.lengths) == [made.event]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 0xFFFFFFFF), max_size=80))
def test_any_samples_are_harmless(samples: list[int]) -> None:
    """Whatever arrives, the decoders stay within their memory (a checked run would end)."""
    machine = Machine()
    for made in {m.decoder: m for m in KEYS.values()}.values():
        receiver_of(made, machine).receive(samples)


KEYMAP_CASES = {
    "dish_network.toml": ("pulse_distance", lambda code, p: ir.pulse_distance(code, p)),
    "samsung_ak59_00125a.toml": ("pulse_distance", lambda code, p: ir.pulse_distance(code, p)),
    "xbox_dvd.toml": ("xbox-dvd", lambda code, p: ir.xbox_dvd(code)),
}


@pytest.mark.parametrize("name", KEYMAP_CASES)
def test_remote_control_of_a_keymap(name: str) -> None:
    """Every key of a real remote control, sent by the parameters of its keymap."""
    decoder, send = KEYMAP_CASES[name]
    remote = read_keymap(KEYMAPS / name)[0]
    assert len(remote.scancodes) >= 7
    machine = Machine()
    obj = load_decoder(LIRC / f"{decoder}.o", machine, remote)
    receiver = machine.lirc_receiver(obj.programs["bpf_decoder"])
    for code in remote.scancodes:
        events = receiver.receive(from_durations(send(code, remote.parameters)))
        assert [e.scancode for e in events if isinstance(e, KeyDown)] == [code]


def test_keymap_of_two_protocols() -> None:
    """The Samsung remote control of two decoders: each hears only its own keys."""
    first, second = read_keymap(KEYMAPS / "samsung_ak59_00125a.toml")
    assert (first.protocol, second.protocol) == ("pulse_distance", "samsung36")
    machine = Machine()
    loaded = [load_decoder(LIRC / f"{p.protocol}.o", machine, p) for p in (first, second)]
    receiver = machine.lirc_receiver(*(obj.programs["bpf_decoder"] for obj in loaded))
    for code in first.scancodes:
        assert heard(receiver, ir.pulse_distance(code, first.parameters)) == [key(64, code)]
    for code in second.scancodes:
        assert heard(receiver, ir.samsung36(code)) == [key(69, code)]


def test_all_keymaps_read() -> None:
    remotes = [r for path in sorted(KEYMAPS.glob("*.toml")) for r in read_keymap(path)]
    assert len(remotes) > 100
    assert all(r.protocol for r in remotes)
    assert sum(bool(r.scancodes) for r in remotes) > len(remotes) - 5


def test_raw_keys_need_a_raw_decoder() -> None:
    with pytest.raises(LoadError, match="no decoder of raw keys"):
        load_decoder(LIRC / "grundig.o", Machine(), Protocol("grundig", raw=RAW_KEYS))
