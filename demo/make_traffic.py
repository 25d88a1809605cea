"""Write traffic.pcap: a few hundred packets of an invented network, the same every time."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from anybpf.net.pcap import Writer

GATEWAY, FRIEND, OFFICE, STRANGER = "10.0.0.1", "10.0.0.7", "10.0.0.23", "203.0.113.99"
MACS = bytes.fromhex("020000000001") + bytes.fromhex("020000000007")


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def ipv4(source: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    head += address(source) + address(GATEWAY)
    return MACS + b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(source: str, port: int) -> bytes:
    return ipv4(source, 6, struct.pack("!HHIIBBHHH", 40_000, port, 1, 0, 0x50, 2, 64_240, 0, 0))


def udp(source: str, port: int, data: bytes) -> bytes:
    return ipv4(source, 17, struct.pack("!HHHH", 40_000, port, 8 + len(data), 0) + data)


def ping(source: str, number: int) -> bytes:
    echo = struct.pack("!BBHHH", 8, 0, 0, 7, number) + bytes(range(32))
    return ipv4(source, 1, echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:])


#: how often each kind comes, and how to make the n-th one
KINDS: tuple[tuple[int, Callable[[int], bytes]], ...] = (
    (40, lambda n: tcp(FRIEND, 443)),
    (20, lambda n: tcp(OFFICE, 22)),
    (8, lambda n: tcp(OFFICE, 3389)),
    (12, lambda n: udp(STRANGER, 53, bytes(n % 40))),
    (8, lambda n: tcp(f"198.51.100.{n % 250}", 23)),
    (6, lambda n: ping(FRIEND, n)),
    (3, lambda n: MACS + b"\x08\x06" + bytes(28)),
    (2, lambda n: MACS + b"\x86\xdd\x60" + bytes(60)),
    (1, lambda n: tcp(FRIEND, 443)[:20]),
)


def main(path: Path) -> None:
    chance = random.Random(1)
    weights = [weight for weight, _ in KINDS]
    time_ns = 1_700_000_000_000_000_000
    with Writer(path) as pcap:
        for number in range(400):
            _, make = chance.choices(KINDS, weights)[0]
            time_ns += chance.randrange(50_000, 3_000_000)
            pcap.write(make(number), time_ns)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("traffic.pcap")))
