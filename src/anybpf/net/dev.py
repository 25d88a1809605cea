"""Network devices, as far as packets of a test run need them (net/core/dev.c)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import NamedTuple, cast

from anybpf.core.kernel import Kernel


class NetDevice(NamedTuple):
    """One interface."""

    ifindex: int
    name: str
    address: bytes = bytes(6)
    """The six bytes of its hardware address."""
    broadcast: bytes = bytes(6)
    rx_queues: int = 1
    xdp: bool = True
    """Whether its driver registers receive queues for XDP."""


#: what every network namespace has
LOOPBACK = NetDevice(1, "lo")
_ALONE = {1: LOOPBACK}
_ALONE_INDEXES = array("I", _ALONE)


def devices_of(kernel: Kernel) -> Mapping[int, NetDevice]:
    """The interfaces of a Kernel by index: its `devices` if it was given any, else `lo`."""
    found = kernel.devices
    return _ALONE if found is None else cast("Mapping[int, NetDevice]", found)


def index_array(devices: Mapping[int, NetDevice]) -> array[int]:
    """The interface indexes as native 32-bit numbers."""
    return _ALONE_INDEXES if devices is _ALONE else array("I", sorted(devices))
