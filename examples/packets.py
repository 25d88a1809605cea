"""A few packets for the examples, built by hand: Ethernet, IPv4, then UDP or TCP."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

TCP, UDP = 6, 17
SYN, ACK = 0x02, 0x10


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol: int, payload: bytes, source: str, destination: str, ttl: int = 64) -> bytes:
    """An Ethernet frame with an IPv4 packet."""
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, ttl, protocol, 0) + addresses
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return bytes.fromhex("020000000001 020000000002 0800") + head + payload


def udp(port: int, text: bytes = b"hello", *, source: str = "10.0.0.1",
        destination: str = "10.0.0.2") -> bytes:
    """A UDP packet to `port`, without a checksum of its own (allowed for IPv4)."""
    head = struct.pack("!HHHH", 40000, port, 8 + len(text), 0)
    return ipv4(UDP, head + text, source, destination)


def tcp(port: int, flags: int = SYN, *, source: str = "10.0.0.1",
        destination: str = "10.0.0.2") -> bytes:
    """A TCP segment to `port` with its checksum."""
    segment = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, flags, 8192, 0, 0)
    pseudo = (IPv4Address(source).packed + IPv4Address(destination).packed
              + struct.pack("!BBH", 0, TCP, len(segment)))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    return ipv4(TCP, segment, source, destination)
