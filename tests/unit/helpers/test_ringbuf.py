"""Records in ring buffers, and what a run that ends early leaves behind."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.errors import Fault
from anybpf.machine import Machine
from kernel.runs import MapSpec, call, load, make_maps, run
from kernel.test_test_run import Case

RING = {"ring": MapSpec(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096)}
RESERVE = "r1 = ring ll; r2 = 16; r3 = 0; call 131; r6 = r0; "


def retval(text: str) -> int:
    with Machine(verify=False) as machine:
        return run(machine, Case(uapi.BPF_PROG_TYPE_XDP, text, maps=RING)).retval


def test_a_record_ends_with_its_submission() -> None:
    with pytest.raises(Fault):
        retval(RESERVE + "r1 = r6; r2 = 0; call 132; r1 = 1; *(u64 *)(r6 + 0) = r1; exit")


@pytest.mark.parametrize("access", ["*(u64 *)(r6 + 16) = r1", "*(u64 *)(r6 - 8) = r1"])
def test_a_record_has_bounds(access: str) -> None:
    with pytest.raises(Fault):
        retval(RESERVE + f"r1 = 1; {access}; r0 = 0; exit")


def test_what_was_not_reserved_cannot_be_submitted() -> None:
    with pytest.raises(Fault):
        retval(RESERVE + "r1 = r6; r1 += 8; r2 = 0; call 132; r0 = 0; exit")
    with pytest.raises(Fault):
        retval(RESERVE + "r1 = r6; r2 = 0; call 132; r1 = r6; r2 = 0; call 133; r0 = 0; exit")


def test_a_record_that_was_kept_is_given_back() -> None:
    """It is discarded when the run ends: the consumer goes on to the next record."""
    output = ("r1 = 7; *(u64 *)(r10 - 8) = r1; r1 = ring ll; r2 = r10; r2 += -8; r3 = 8; r4 = 0; "
              "call 130; exit")
    with Machine(verify=False) as machine:
        fds = make_maps(machine, RING)
        for text in (RESERVE + "r0 = 1; exit", output):
            case = Case(uapi.BPF_PROG_TYPE_XDP, text, maps=RING)
            assert call(machine, load(machine, case, fds), case).error == 0
        assert list(machine.map_of(fds["ring"]).records()) == [(7).to_bytes(8, "little")]
