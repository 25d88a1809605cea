"""The devices of a kernel."""

from __future__ import annotations

from anybpf.core.kernel import Kernel
from anybpf.net.dev import LOOPBACK, NetDevice, devices_of, index_array


def test_a_kernel_without_devices_has_lo() -> None:
    assert devices_of(Kernel()) == {1: LOOPBACK}


def test_a_kernel_may_bring_its_own() -> None:
    own = {4: NetDevice(4, "veth0"), 2: NetDevice(2, "eth0")}
    kernel = Kernel()
    kernel.devices = own
    assert devices_of(kernel) is own
    assert list(index_array(own)) == [2, 4]
