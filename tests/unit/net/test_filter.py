"""Socket buffers as eth_type_trans leaves them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anybpf.net.filter import LAYOUT, SkBuff

MAC, OTHER = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])
IP4 = b"\x08\0" + bytes(12) + bytes([10, 0, 0, 1, 10, 0, 0, 2])


def frame(to: bytes = MAC, rest: bytes = IP4) -> bytes:
    return to + OTHER + rest


def skb(data: bytes, **options: bool) -> SkBuff:
    return SkBuff(data, address=MAC, broadcast=b"\xff" * 6, **options)


@pytest.mark.parametrize(("to", "kind"), [
    (MAC, 0), (b"\xff" * 6, 1), (b"\1" * 6, 2), (OTHER, 3)])
def test_the_packet_type_follows_from_the_destination(to: bytes, kind: int) -> None:
    assert skb(frame(to))["pkt_type"] == kind


@pytest.mark.parametrize(("rest", "protocol"), [
    (b"\x08\x06" + bytes(4), 0x0608), (b"\x05\xffab", 0x0400), (b"\x05\xff\xff\xff", 0x0100),
    (b"\x00\x00", 0x0400)])
def test_the_protocol(rest: bytes, protocol: int) -> None:
    assert skb(frame(rest=rest))["protocol"] == protocol


def test_where_the_data_begins() -> None:
    assert bytes(skb(frame())) == frame()
    assert bytes(skb(frame(), l2=False)) == frame()[14:]


def test_a_header_is_put_back_empty() -> None:
    packet = skb(frame(), l2=False)
    packet.restore_header()
    assert bytes(packet) == bytes(14) + frame()[14:]


def test_the_socket_has_the_packets_addresses() -> None:
    packet = skb(frame())
    assert packet["family"] == 2
    assert packet["local_ip4"].to_bytes(4, "little") == bytes([10, 0, 0, 1])
    assert packet["remote_ip4"].to_bytes(4, "little") == bytes([10, 0, 0, 2])


def test_a_complete_checksum_notices_a_change() -> None:
    packet = skb(frame())
    assert not packet.checksum_holds()
    packet.start_checksum()
    assert packet.checksum_holds()


def test_members() -> None:
    packet = skb(frame())
    packet["mark"] = 0x11223344
    packet.cb = [1, 2, 3, 4, 5]
    assert (packet["mark"], packet.cb) == (0x11223344, (1, 2, 3, 4, 5))
    assert packet["cb"] & 0xFFFFFFFF == 1
    with pytest.raises(ValueError, match="five"):
        packet.cb = range(6)
    with pytest.raises(OverflowError):
        packet["mark"] = 1 << 32
    with pytest.raises(KeyError):
        packet["colour"]


def test_a_frame_has_an_ethernet_header() -> None:
    with pytest.raises(ValueError, match="Ethernet"):
        skb(bytes(13))


def test_members_do_not_overlap() -> None:
    ends = sorted((offset, offset + size) for offset, size in LAYOUT.values())
    assert all(a[1] <= b[0] for a, b in pairwise(ends))
