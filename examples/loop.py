"""Runs loop.bpf.c on a packet and prints its most frequent bytes."""

from __future__ import annotations

from pathlib import Path

import packets

from anybpf import Machine, Object


def main() -> None:
    with Object.open(Path(__file__).with_suffix(".bpf.c")).load(Machine()) as obj:
        packet = packets.udp(80, b"abracadabra" * 10)
        print("rounds:", obj.programs["loop"].test_run(data=packet).retval, "of", len(packet))
        counts = list(obj.bss.histogram)
        for byte in sorted(range(256), key=lambda b: -counts[b])[:3]:
            print(f"{byte:#04x} {chr(byte)!r}: {counts[byte]} times")


if __name__ == "__main__":
    main()
