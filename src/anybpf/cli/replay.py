"""Running a program over a packet capture: verdicts counted, packets written back."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from anybpf.net import pcap
from anybpf.proto import retvals

if TYPE_CHECKING:
    from anybpf.libbpf.program import Program
    from anybpf.machine import Machine

#: a capture larger than this many bytes shows a progress bar on a terminal
LONG_CAPTURE = 4 * 1024 * 1024
#: per-packet header bytes of a capture, to guess progress from data read
RECORD_BYTES = 16


def replay(machine: Machine, program: Program, source: str, out: str | None,
           quiet: bool) -> dict[str, Any]:
    """Run `program` once a packet of `source`; the report of verdicts, rates and trace lines.

    The Machine's clock follows the capture: what a program reads are the packets' own times.
    """
    verdicts: Counter[str] = Counter()
    volume: Counter[str] = Counter()
    first_ns, boot_ns = None, machine.clock_ns
    start = time.perf_counter()
    with writer(source, out) as sink:
        for packet in progressing(source, quiet):
            first_ns = packet.time_ns if first_ns is None else first_ns
            machine.clock_ns = max(machine.clock_ns, boot_ns + packet.time_ns - first_ns)
            result = program.test_run(data=packet.data)
            verdict = verdict_text(program.type, result.retval)
            verdicts[verdict] += 1
            volume[verdict] += packet.wire_len
            if sink and retvals.passes(program.type, result.retval):
                sink.write(result.data or b"", packet.time_ns)
    return {
        "program": program.name,
        "packets": verdicts.total(),
        "seconds": time.perf_counter() - start,
        "verdicts": [{"verdict": name, "packets": n, "bytes": volume[name]}
                     for name, n in verdicts.most_common()],
        "trace": [line.text for line in machine.take_trace()],
    }


def verdict_text(prog_type: int, retval: int) -> str:
    return retvals.name(prog_type, retval) or str(retval)


@contextlib.contextmanager
def writer(source: str, out: str | None) -> Iterator[pcap.Writer | None]:
    """The output capture, with the link type of the first packet of `source`."""
    if out is None:
        yield None
        return
    first = next(pcap.read(source), None)
    with pcap.Writer(out, first.linktype if first else pcap.LINKTYPE_ETHERNET) as sink:
        yield sink


def progressing(source: str, quiet: bool) -> Iterator[pcap.Packet]:
    """The packets of `source`, with a progress bar for a long capture on a terminal."""
    size = os.path.getsize(source)
    if quiet or size < LONG_CAPTURE or not sys.stderr.isatty():
        yield from pcap.read(source)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=size)
        for packet in pcap.read(source):
            yield packet
            bar.advance(task, len(packet.data) + RECORD_BYTES)
