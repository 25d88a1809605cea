"""What remote controls send: lengths of pulse, space, pulse ... in microseconds, by protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

Lengths = list[int]
#: idle after a message
GAP = 40_000


def bits_of(code: int, count: int, *, reverse: bool = False) -> list[int]:
    """The bits in the order of sending: highest first, or lowest first."""
    order = range(count) if reverse else range(count - 1, -1, -1)
    return [code >> i & 1 for i in order]


def pulse_distance(code: int, p: Mapping[str, int], *, header: bool = True) -> Lengths:
    """NEC and its like: a bit is the space after a pulse."""
    lengths = [p["header_pulse"], p["header_space"]] if header else []
    for bit in bits_of(code, p["bits"], reverse=bool(p.get("reverse"))):
        lengths += [p["bit_pulse"], p["bit_1_space" if bit else "bit_0_space"]]
    return [*lengths, p["trailer_pulse"], GAP]


def pulse_length(code: int, p: Mapping[str, int]) -> Lengths:
    """Sony and its like: a bit is the length of a pulse."""
    lengths = [p["header_pulse"], p["header_space"]]
    for bit in bits_of(code, p["bits"], reverse=bool(p.get("reverse"))):
        lengths += [p["bit_1_pulse" if bit else "bit_0_pulse"], p["bit_space"]]
    return [*lengths[:-1], GAP]


def repeat(p: Mapping[str, int]) -> Lengths:
    return [p["repeat_pulse"], p["repeat_space"], p["trailer_pulse"], GAP]


def manchester(code: int, count: int, half: int = 888, header: Iterable[int] = ()) -> Lengths:
    """RC-5 and its like: 1 is dark, then light; 0 the other way. The first bit must be a 1."""
    light = [level for bit in bits_of(code, count) for level in ((0, 1) if bit else (1, 0))][1:]
    lengths = [half * len(list(run)) for _, run in groupby(light)]
    if light[-1]:
        return [*header, *lengths, GAP]
    return [*header, *lengths[:-1], lengths[-1] + GAP]


def rc_mm(code: int, bits: int = 8) -> Lengths:
    """RC-MM: two bits are one of four spaces."""
    lengths = [417, 278]
    for shift in range(bits - 2, -2, -2):
        lengths += [167, (278, 444, 611, 778)[code >> shift & 3]]
    return [*lengths, 167, GAP]


def samsung36(code: int) -> Lengths:
    """16 bits, a long space, 20 bits."""
    lengths = [4500, 4500]
    for i, bit in enumerate(bits_of(code, 36)):
        lengths += [500, 4450] if i == 16 else []
        lengths += [500, 1600 if bit else 500]
    return [*lengths, 500, GAP]


def xbox_dvd(code: int, check: int | None = None) -> Lengths:
    """The inverted code, then the code: 12 bits each."""
    sent = (~code & 0xFFF if check is None else check) << 12 | code
    lengths = [4000, 3900]
    for bit in bits_of(sent, 24):
        lengths += [550, 1900 if bit else 900]
    return [*lengths, 550, GAP]


def grundig(code: int) -> Lengths:
    """16 bits by twos: the space before a pulse, and for 0 a longer pulse too."""
    lengths = [900, 2900, 1300]
    for shift in range(14, -2, -2):
        lengths += ((2200, 1139), (472, 583), (1139, 583), (1806, 583))[code >> shift & 3]
    return [*lengths, GAP]


def imon_stick(direction: int, header: int = 2000) -> Lengths:
    """The stick of the iMON RSC: four bits as spaces."""
    lengths = [header]
    for bit in bits_of(direction, 4):
        lengths += [1800 if bit else 625, 625]
    return [*lengths, GAP]


def shifted(lengths: Sequence[int], offsets: Sequence[int]) -> Lengths:
    """The same message from a sloppy remote control."""
    return [us + offsets[i % len(offsets)] for i, us in enumerate(lengths)]
