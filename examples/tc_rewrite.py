"""Runs tc_rewrite.bpf.c on a TCP packet: the result is the packet built for the new address."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import packets

from anybpf import Machine, Object


def main() -> None:
    with Object.open(Path(__file__).with_suffix(".bpf.c")).load(Machine()) as obj:
        old, new = IPv4Address("10.0.0.2"), IPv4Address("192.0.2.7")
        obj.maps["destinations"].update(old.packed, new.packed)
        result = obj.programs["tc_rewrite"].test_run(data=packets.tcp(80, destination=str(old)))
        assert result.data is not None
        print("new destination:", IPv4Address(result.data[30:34]))
        expected = packets.tcp(80, destination=str(new))
        print("checksums right:", result.data == expected)


if __name__ == "__main__":
    main()
