"""Captures built byte by byte: both formats, both byte orders, micro- and nanoseconds."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybpf.errors import LoadError
from anybpf.net.pcap import Packet, Writer, packets, read

ETHERNET = 1


def old(order: str, magic: int, fraction: int, data: bytes = b"abc") -> bytes:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, ETHERNET)
    return head + struct.pack(order + "IIII", 7, fraction, len(data), 60) + data


def block(kind: int, content: bytes, order: str = "<") -> bytes:
    content += bytes(-len(content) % 4)
    length = struct.pack(order + "I", 12 + len(content))
    return struct.pack(order + "I", kind) + length + content + length


def ng(order: str, options: bytes, packet: bytes) -> bytes:
    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    card = block(1, struct.pack(order + "HHI", ETHERNET, 0, 0) + options, order)
    return section + card + packet


def enhanced(order: str, stamp: int, data: bytes, card: int = 0) -> bytes:
    head = struct.pack(order + "IIIII", card, stamp >> 32, stamp & 0xFFFFFFFF, len(data), 99)
    return block(6, head + data, order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap(order: str, magic: int, fraction_ns: int) -> None:
    (packet,) = packets(old(order, magic, 5))
    assert packet == Packet(b"abc", 7_000_000_000 + 5 * fraction_ns, 60, ETHERNET)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_default_resolution_is_microseconds(order: str) -> None:
    (packet,) = packets(ng(order, b"", enhanced(order, 3_000_001, b"xyz")))
    assert packet == Packet(b"xyz", 3_000_001_000, 99, ETHERNET)


@pytest.mark.parametrize(("tsresol", "ticks", "time_ns"), [
    (9, 5, 5), (3, 5, 5_000_000), (0x80 | 10, 1024, 1_000_000_000)])
def test_pcapng_resolution_option(tsresol: int, ticks: int, time_ns: int) -> None:
    option = struct.pack("<HHB3xHH", 9, 1, tsresol, 0, 0)
    (packet,) = packets(ng("<", option, enhanced("<", ticks, b"x")))
    assert packet.time_ns == time_ns


def test_pcapng_simple_and_unknown_blocks() -> None:
    simple = block(3, struct.pack("<I", 5) + b"hello")
    assert [p.data for p in packets(ng("<", b"", block(77, b"??") + simple))] == [b"hello"]


def test_writer_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with Writer(path) as out:
        out.write(b"one", 1_500_000_000_000_000_001)
        out.write(b"two", 2, wire_len=1500)
    assert list(read(path)) == [Packet(b"one", 1_500_000_000_000_000_001, 3, ETHERNET),
                                Packet(b"two", 2, 1500, ETHERNET)]


@pytest.mark.parametrize(("data", "message"), [
    (b"nonsense", "neither pcap nor pcapng"),
    (old("<", 0xA1B2C3D4, 0)[:-1], "runs past the end"),
    (old("<", 0xA1B2C3D4, 0)[:30], "packet header cut short"),
    (ng("<", b"", enhanced("<", 0, b"x", card=3)), "interface 3, which no block describes"),
    (ng("<", b"", block(6, bytes(8))), "packet block cut short"),
    (ng("<", b"", struct.pack("<II", 6, 5)), "block header cut short"),
    (ng("<", b"", struct.pack("<III", 6, 5, 0)), "block of 5 bytes"),
])
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message) as error:
        list(packets(data))
    assert error.value.offset is not None


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(LoadError, match="empty file"):
        list(read(path))


@given(st.binary(max_size=300), st.sampled_from([0, 24, 28, 60]), st.sampled_from(["pcap", "ng"]))
def test_any_bytes_give_packets_or_a_load_error(noise: bytes, at: int, kind: str) -> None:
    good = old("<", 0xA1B2C3D4, 1) if kind == "pcap" else ng("<", b"", enhanced("<", 9, b"q" * 9))
    data = good[:at] + noise + good[at:]
    lengths = []
    with contextlib.suppress(LoadError):
        lengths += [len(p.data) for p in packets(data)]
    assert sum(lengths) <= len(data)
