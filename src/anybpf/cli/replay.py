"""Running a program over a packet capture: verdicts counted, packets written back."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from anybpf.errors import BpfError, Fault, NotSupported
from anybpf.net import pcap
from anybpf.proto import retvals

if TYPE_CHECKING:
    from anybpf.libbpf.program import Program
    from anybpf.machine import Machine

#: a capture larger than this many bytes shows a progress bar on a terminal
LONG_CAPTURE = 4 * 1024 * 1024
#: per-packet header bytes of a capture, to guess progress from data read
RECORD_BYTES = 16
#: Ethernet and IPv6 header; the kernel refuses a frame shorter than what it claims to be
SHORTEST = 54


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
            verdict, left = decided(program, packet, verdicts.total() + 1)
            verdicts[verdict] += 1
            volume[verdict] += packet.wire_len
            if sink and left is not None:
                sink.write(left, packet.time_ns)
    return {
        "program": program.name,
        "packets": verdicts.total(),
        "seconds": time.perf_counter() - start,
        "verdicts": [{"verdict": name, "packets": n, "bytes": volume[name]}
                     for name, n in verdicts.most_common()],
        "trace": [line.text for line in machine.take_trace()],
    }


def decided(program: Program, packet: pcap.Packet, number: int) -> tuple[str, bytes | None]:
    """The verdict on a packet, and the packet as it goes on (None: it does not).

    Frames too short for the kernel count as refused; other errors tell the packet's number.
    """
    if packet.linktype != pcap.LINKTYPE_ETHERNET:
        raise NotSupported(f"packet {number}: captures of link type {packet.linktype}, which are "
                           "no Ethernet frames")
    try:
        result = program.test_run(data=packet.data)
    except BpfError as error:
        if error.errno == errno.EINVAL and len(packet.data) < SHORTEST:
            return "refused (too short)", None
        raise BpfError(error.errno or errno.EINVAL, f"packet {number}: {error.strerror}") from error
    except Fault as fault:
        fault.args = (f"packet {number}: {fault}",)
        raise
    left = result.data or b"" if retvals.passes(program.type, result.retval) else None
    return verdict_text(program.type, result.retval), left


def verdict_text(prog_type: int, retval: int) -> str:
    return retvals.name(prog_type, retval) or str(retval)


@contextlib.contextmanager
def writer(source: str, out: str | None) -> Iterator[pcap.Writer | None]:
    """The output capture; refused if it is `source` itself, which writing would destroy."""
    if out is None:
        yield None
        return
    if os.path.exists(out) and os.path.samefile(source, out):
        raise click.UsageError("--pcap-out would overwrite the capture that is read")
    with pcap.Writer(out) as sink:
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
