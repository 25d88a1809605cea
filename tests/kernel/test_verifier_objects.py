"""Programs that other people wrote: both verifiers say the same, to the byte of the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported
from anybpf.libbpf.object import Object
from anybpf.linux import Linux
from kernel.both_verifiers import Both, Pair

LIBXDP = Path("/usr/lib/x86_64-linux-gnu/bpf")
DEMO = Path(__file__).resolve().parents[2] / "demo" / "firewall.bpf.o"
#: objects whose programs need nothing that is missing; the `all` filters are too long for a test
OBJECTS = [LIBXDP / f"{name}.o" for name in (
    "xdp-dispatcher", "xdpdump_xdp", "xdpfilt_alw_eth", "xdpfilt_alw_ip", "xdpfilt_dny_udp",
    "xsk_def_xdp_prog")] + [DEMO]
#: what the verifier does not model yet
MISSING: set[str] = set()

pytestmark = pytest.mark.kernel


@pytest.fixture
def both() -> Both:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    return Both(uapi.BPF_LOG_LEVEL2)


def pairs(both: Both, path: Path) -> list[Pair]:
    """What both say of each program of an object."""
    if not path.exists():
        pytest.skip(f"{path.name} is not installed (Debian package libxdp1)")
    with_maps = Object.open(path)
    try:
        with_maps.load(both)
    except (BpfError, NotSupported) as error:
        if not both.pairs:
            pytest.skip(f"{path.name} does not load here: {error}")
    return both.pairs


@pytest.mark.parametrize("path", OBJECTS, ids=lambda p: p.stem)
def test_the_same_log(both: Both, path: Path) -> None:
    for pair in pairs(both, path):
        if pair.ours is None:
            assert pair.unsupported in MISSING
        else:
            assert pair.same_verdict, pair.ours.log[-2000:]
            assert not pair.first_difference
