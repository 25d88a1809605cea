"""Runs tail_calls.bpf.c on three kinds of frame, then once more without the IPv6 program."""

from __future__ import annotations

from pathlib import Path

from anybpf import Machine, Object
from anybpf.proto import retvals

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806


def frame(kind: int) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + bytes(50)


def main() -> None:
    with Object.open(Path(__file__).with_suffix(".bpf.c")).load(Machine()) as obj:
        entry = obj.programs["entry"]

        def show(name: str, kind: int) -> None:
            result = entry.test_run(data=frame(kind))
            print(f"{name}: {retvals.name(entry.type, result.retval)}")

        show("IPv4", IPV4)
        show("IPv6", IPV6)
        show("ARP", ARP)
        del obj.maps["handlers"][1]
        show("IPv6 without a handler", IPV6)
        print(f"seen: {obj.bss.seen_ipv4} IPv4, {obj.bss.seen_ipv6} IPv6, "
              f"{obj.bss.seen_other} other")


if __name__ == "__main__":
    main()
