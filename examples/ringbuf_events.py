"""Runs ringbuf_events.bpf.c on a few packets, reads its records and its trace lines."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import packets

from anybpf import Machine, Object


def main() -> None:
    machine = Machine()
    with Object.open(Path(__file__).with_suffix(".bpf.c")).load(machine) as obj:
        program, events = obj.programs["ringbuf_events"], obj.maps["events"]
        for packet in (packets.udp(53), packets.tcp(80, source="10.0.0.9"), bytes(60)):
            program.test_run(data=packet)
        for event in events.records("event"):
            source = IPv4Address(event["source"].to_bytes(4, "little"))
            print(f"from {source}: protocol {event['protocol']}, {event['length']} bytes")
        for line in machine.take_trace():
            print("trace:", line.text)
        program.test_run(data=packets.udp(53), repeat=200)      # nobody reads: the buffer fills
        print(f"{len(list(events.records()))} records kept, {obj.bss.lost} lost")


if __name__ == "__main__":
    main()
