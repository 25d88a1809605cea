"""Records for perf events: bytes of the program, then bytes of the packet."""

from __future__ import annotations

import struct

from anybpf import uapi
from anybpf.machine import Machine
from anybpf.maps.perf_event import PerfEvent
from kernel.runs import MapSpec, call, load, make_maps
from kernel.test_helpers import PERF
from kernel.test_test_run import Case

EVENTS = {"events": MapSpec(uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2)}


def test_a_record_carries_packet_bytes() -> None:
    with Machine(cpus=2) as machine:
        fds = make_maps(machine, EVENTS)
        event = PerfEvent(cpu=0)
        machine.map_of(fds["events"]).update_object(bytes(4), event)
        flags = 20 << 32 | uapi.BPF_F_CURRENT_CPU
        case = Case(uapi.BPF_PROG_TYPE_XDP, PERF.format(flags=flags), maps=EVENTS,
                    data=bytes(range(60)))
        assert call(machine, load(machine, case, fds), case).retval == 0
        record, = event.records()
        assert record[:28] == struct.pack("<Q", 7) + bytes(range(20))
