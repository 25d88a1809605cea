"""Packets for XDP programs: a table of named ones, and strategies that make others."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

IPV4, ARP, IPV6, VLAN, QINQ = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AUTH, DEST, MOBILITY = 0, 43, 44, 50, 51, 60, 135

MACS = [bytes.fromhex(f"02000000000{i}") for i in range(1, 5)]
V4 = [bytes((10, 0, 0, i)) for i in range(1, 5)]
V6 = [bytes((0x20, 1, 0xD, 0xB8, *bytes(11), i)) for i in range(1, 5)]
PORTS = [0, 22, 53, 80, 443, 8080, 65535]
#: payload that an XDP test run takes as one linear frame, with pages of 4 KiB
LARGEST = 3000


def ethernet(kind: int, payload: bytes, *, source: bytes = MACS[0], target: bytes = MACS[1],
             tags: tuple[int, ...] = ()) -> bytes:
    tagged = b"".join(struct.pack(">HH", tag, 5) for tag in tags)
    return target + source + tagged + struct.pack(">H", kind) + payload


def ipv4(protocol: int, payload: bytes, *, source: bytes = V4[0], target: bytes = V4[1],
         words: int = 5, fragment: int = 0, version: int = 4) -> bytes:
    head = struct.pack(">BBHHHBBH", version << 4 | words, 0, 4 * words + len(payload), 1, fragment,
                       64, protocol, 0) + source + target
    return head + bytes(max(4 * words - 20, 0)) + payload


def ipv6(protocol: int, payload: bytes, *, source: bytes = V6[0], target: bytes = V6[1],
         extensions: tuple[int, ...] = (), version: int = 6) -> bytes:
    kinds = (*extensions, protocol)
    chain = b"".join(bytes((kinds[i + 1], 1 if kinds[i] in (HOP_BY_HOP, DEST) else 0))
                     + bytes(14 if kinds[i] in (HOP_BY_HOP, DEST) else 6)
                     for i in range(len(extensions)))
    return struct.pack(">IHBB", version << 28, len(chain) + len(payload), kinds[0],
                       64) + source + target + chain + payload


def tcp(source: int = 1000, target: int = 80, *, words: int = 5, size: int = 0) -> bytes:
    return struct.pack(">HHIIBBHHH", source, target, 1, 0, words << 4, 2, 512, 0, 0) + bytes(size)


def udp(source: int = 1000, target: int = 80, *, length: int = 8, size: int = 0) -> bytes:
    return struct.pack(">HHHH", source, target, length, 0) + bytes(size)


def _table() -> dict[str, bytes]:
    return {
        "arp": ethernet(ARP, bytes(28)),
        "strange type": ethernet(0x1234, bytes(46)),
        "llc": ethernet(46, bytes(46)),
        "nothing but ethernet": ethernet(IPV4, b""),
        "one byte of ipv4": ethernet(IPV4, b"\x45"),
        "half a tag": ethernet(VLAN, b"\0"),
        "tcp": ethernet(IPV4, ipv4(TCP, tcp())),
        "tcp from port 80": ethernet(IPV4, ipv4(TCP, tcp(80, 1))),
        "tcp to port 22": ethernet(IPV4, ipv4(TCP, tcp(1, 22))),
        "tcp elsewhere": ethernet(IPV4, ipv4(TCP, tcp(1, 2), source=V4[2], target=V4[3]),
                                  source=MACS[2], target=MACS[3]),
        "tcp backwards": ethernet(IPV4, ipv4(TCP, tcp(80, 1000), source=V4[1], target=V4[0]),
                                  source=MACS[1], target=MACS[0]),
        "large tcp": ethernet(IPV4, ipv4(TCP, tcp(size=1460))),
        "largest": ethernet(IPV4, ipv4(TCP, tcp(size=LARGEST))),
        "in two pages": ethernet(IPV4, ipv4(TCP, tcp(size=5000))),
        "udp": ethernet(IPV4, ipv4(UDP, udp())),
        "udp to port 53": ethernet(IPV4, ipv4(UDP, udp(9, 53))),
        "udp, short length": ethernet(IPV4, ipv4(UDP, udp(length=7))),
        "icmp": ethernet(IPV4, ipv4(ICMP, bytes(8))),
        "ipv4 of 24 bytes": ethernet(IPV4, ipv4(TCP, tcp(), words=6)),
        "ipv4 of 60 bytes": ethernet(IPV4, ipv4(UDP, udp(), words=15)),
        "ipv4 of 16 bytes": ethernet(IPV4, ipv4(TCP, tcp(), words=4)),
        "ipv4 of no bytes": ethernet(IPV4, ipv4(TCP, tcp(), words=0)),
        "ipv4 of version 5": ethernet(IPV4, ipv4(TCP, tcp(), version=5)),
        "first fragment": ethernet(IPV4, ipv4(UDP, udp(), fragment=0x2000)),
        "later fragment": ethernet(IPV4, ipv4(UDP, udp(), fragment=0x2010)),
        "tcp of 60 bytes": ethernet(IPV4, ipv4(TCP, tcp(words=15, size=40))),
        "tcp of 16 bytes": ethernet(IPV4, ipv4(TCP, tcp(words=4))),
        "tcp cut": ethernet(IPV4, ipv4(TCP, tcp()[:12])),
        "tcp options cut": ethernet(IPV4, ipv4(TCP, tcp(words=8))),
        "udp cut": ethernet(IPV4, ipv4(UDP, udp()[:7])),
        "ipv6": ethernet(IPV6, ipv6(TCP, tcp())),
        "ipv6 elsewhere": ethernet(IPV6, ipv6(TCP, tcp(9, 9), source=V6[2], target=V6[3]),
                                   source=MACS[2], target=MACS[3]),
        "ipv6 udp": ethernet(IPV6, ipv6(UDP, udp(80, 53))),
        "icmp6": ethernet(IPV6, ipv6(ICMP6, bytes(8))),
        "ipv6 with options": ethernet(IPV6, ipv6(TCP, tcp(), extensions=(HOP_BY_HOP, DEST))),
        "ipv6 fragment": ethernet(IPV6, ipv6(UDP, udp(), extensions=(FRAGMENT,))),
        "ipv6 routed": ethernet(IPV6, ipv6(TCP, tcp(), extensions=(ROUTING, DEST))),
        "ipv6 with many headers": ethernet(IPV6, ipv6(UDP, udp(), extensions=(DEST,) * 8)),
        "ipv6 authenticated": ethernet(IPV6, ipv6(TCP, tcp(), extensions=(AUTH,))),
        "ipv6 cut": ethernet(IPV6, ipv6(TCP, tcp())[:39]),
        "ipv6 of version 4": ethernet(IPV6, ipv6(TCP, tcp(), version=4)),
        "vlan": ethernet(IPV4, ipv4(TCP, tcp()), tags=(VLAN,)),
        "two vlans": ethernet(IPV4, ipv4(TCP, tcp()), tags=(QINQ, VLAN)),
        "three vlans": ethernet(IPV6, ipv6(UDP, udp()), tags=(QINQ, VLAN, VLAN)),
        "ten vlans": ethernet(IPV4, ipv4(TCP, tcp()), tags=(VLAN,) * 10),
        "vlan of arp": ethernet(ARP, bytes(28), tags=(VLAN,)),
    }


TABLE = _table()
#: what a test run refuses: no whole Ethernet header
REFUSED = (b"", b"\0", bytes(13))


def _payloads() -> st.SearchStrategy[tuple[int, bytes]]:
    port = st.sampled_from(PORTS)
    data = st.integers(0, 40)
    return st.one_of(
        st.builds(lambda s, d, w, n: (TCP, tcp(s, d, words=w, size=n)), port, port,
                  st.integers(0, 15), data),
        st.builds(lambda s, d, length, n: (UDP, udp(s, d, length=length, size=n)), port, port,
                  st.integers(0, 60), data),
        st.tuples(st.sampled_from((ICMP, ICMP6, ESP, 0, 255)), st.binary(max_size=20)))


def _networks() -> st.SearchStrategy[tuple[int, bytes]]:
    extensions = st.lists(st.sampled_from((HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DEST, MOBILITY)),
                          max_size=5).map(tuple)
    v4, v6 = st.sampled_from(V4), st.sampled_from(V6)
    return st.one_of(
        st.builds(lambda p, s, t, w, f, v: (
            IPV4, ipv4(*p, source=s, target=t, words=w, fragment=f, version=v)),
            _payloads(), v4, v4, st.sampled_from((5, 5, 5, 6, 15, 4, 0)),
            st.sampled_from((0, 0, 0x4000, 0x2000, 0x10)), st.sampled_from((4, 4, 4, 6))),
        st.builds(lambda p, s, t, e, v: (
            IPV6, ipv6(*p, source=s, target=t, extensions=e, version=v)),
            _payloads(), v6, v6, extensions, st.sampled_from((6, 6, 6, 4))),
        st.tuples(st.sampled_from((ARP, IPV4, IPV6, VLAN, 0x1234)), st.binary(max_size=64)))


def packets() -> st.SearchStrategy[bytes]:
    """Frames of at least an Ethernet header: well-formed, cut at any place, or noise."""
    mac = st.sampled_from(MACS)
    tags = st.lists(st.sampled_from((VLAN, QINQ)), max_size=4).map(tuple)
    whole = st.builds(lambda n, s, t, g: ethernet(*n, source=s, target=t, tags=g),
                      _networks(), mac, mac, tags)
    cut: Any = st.tuples(whole, st.integers(14, 100)).map(lambda pair: pair[0][:pair[1]])
    return st.one_of(whole, whole, cut, st.binary(min_size=14, max_size=200))
