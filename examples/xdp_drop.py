"""Runs xdp_drop.bpf.c on packets to several ports and prints its counters."""

from __future__ import annotations

from pathlib import Path

import packets

from anybpf import Machine, Object
from anybpf.proto import retvals


def main() -> None:
    with Object.open(Path(__file__).with_suffix(".bpf.c")) as obj:
        obj.rodata.blocked_port = 9999                  # before it is loaded
        obj.load(Machine())
        program = obj.programs["xdp_drop"]
        for port in (53, 80, 9999):
            result = program.test_run(data=packets.udp(port), repeat=10)
            print(f"UDP to port {port}: {retvals.name(program.type, result.retval)}")
        for verdict, name in ((1, "dropped"), (2, "passed")):
            copies = obj.maps["counters"][verdict]      # one value for each CPU
            total = sum(copy["packets"] for copy in copies)
            size = sum(copy["bytes"] for copy in copies)
            print(f"{name}: {total} packets, {size} bytes")


if __name__ == "__main__":
    main()
