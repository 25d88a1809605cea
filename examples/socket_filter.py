"""Runs socket_filter.bpf.c on a few packets and prints how many bytes it keeps of each."""

from __future__ import annotations

from pathlib import Path

import packets

from anybpf import Machine, Object

PACKETS = {
    "SYN": packets.tcp(443, packets.SYN),
    "SYN+ACK": packets.tcp(443, packets.SYN | packets.ACK),
    "ACK": packets.tcp(443, packets.ACK),
    "UDP": packets.udp(443),
    "too short": packets.tcp(443)[:40],
}


def main() -> None:
    with Object.open(Path(__file__).with_suffix(".bpf.c")).load(Machine()) as obj:
        for name, packet in PACKETS.items():
            print(f"{name}: {obj.programs['socket_filter'].test_run(data=packet).retval}")


if __name__ == "__main__":
    main()
