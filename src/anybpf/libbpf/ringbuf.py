"""Reading what programs send: ring buffers and perf event arrays (tools/lib/bpf/ringbuf.c).

On Linux both are memory shared with the kernel; the Machine hands its records over itself.
"""

from __future__ import annotations

import errno
import mmap
import select
import struct
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported

if TYPE_CHECKING:
    from anybpf.libbpf.map import Map

BUSY, DISCARD = 1 << 31, 1 << 30
HEADER = 8                                #: bytes before a ring buffer record
PERF_PAGES = 8                            #: data pages of each CPU's perf buffer
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT, PERF_SAMPLE_RAW = 1, 10, 1 << 10
PERF_RECORD_LOST, PERF_RECORD_SAMPLE = 2, 9
PERF_ATTR_SIZE = 128
PERF_HEAD, PERF_TAIL = 1024, 1032         #: offsets in struct perf_event_mmap_page


class Reader(Protocol):
    """Takes records out of a map."""

    @property
    def lost(self) -> int:
        """How many records the kernel could not deliver."""

    def read(self, timeout: float = 0) -> Iterator[bytes]:
        """Records until there are none (and none came for `timeout` seconds)."""

    def close(self) -> None:
        """Unmap; the map itself stays."""


def open_reader(map: Map) -> Reader:
    """A reader for a loaded map. Raises NotSupported for other map types, BpfError."""
    if map.type not in READERS:
        raise NotSupported(f"records of {map!r}, which is no ring buffer")
    if hasattr(map.backend, "map_of"):
        return MachineReader(map)
    return READERS[map.type](map)


class MachineReader:
    """Asks the Machine's own objects: the ring buffer map, or an event put in for each CPU."""

    def __init__(self, map: Map) -> None:
        backend: Any = map.backend
        owner = backend.map_of(map.fd)
        self._sources: list[Any] = [owner]
        if map.type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            cpus = range(min(map.max_entries, backend.num_possible_cpus))
            self._sources = [backend.perf_event(cpu) for cpu in cpus]
            for cpu, event in zip(cpus, self._sources, strict=True):
                owner.update_object(cpu.to_bytes(4, sys.byteorder), event)

    @property
    def lost(self) -> int:
        return sum(getattr(source, "lost", 0) for source in self._sources)

    def read(self, timeout: float = 0) -> Iterator[bytes]:
        for source in self._sources:
            yield from source.records()

    def close(self) -> None:
        """Nothing is mapped."""


class RingBuffer:
    """BPF_MAP_TYPE_RINGBUF: one page with our position, one with the producer's, the data twice."""

    def __init__(self, map: Map) -> None:
        open_mapping = getattr(map.backend, "mmap", None)
        if open_mapping is None:
            raise NotSupported(f"ring buffers of backend {map.backend.name}")
        self._fd = map.fd or 0
        self._mask = map.max_entries - 1
        self._consumer = open_mapping(map.fd, mmap.PAGESIZE)
        self._shared = open_mapping(map.fd, mmap.PAGESIZE + 2 * map.max_entries,
                                    offset=mmap.PAGESIZE, writable=False)
        self._taken = memoryview(self._consumer).cast("Q")
        self._produced = memoryview(self._shared).cast("Q")
        self._lengths = memoryview(self._shared).cast("I")

    @property
    def lost(self) -> int:
        return 0                          # a program's reserve fails instead

    def read(self, timeout: float = 0) -> Iterator[bytes]:
        yield from self._available()
        while timeout and wait([self._fd], timeout):
            yield from self._available()

    def _available(self) -> Iterator[bytes]:
        while self._taken[0] < self._produced[0]:
            at = mmap.PAGESIZE + (self._taken[0] & self._mask)
            length = self._lengths[at // 4]
            if length & BUSY:
                return
            size = length & ~DISCARD
            record = self._shared[at + HEADER:at + HEADER + size]
            self._taken[0] += -(-(size + HEADER) // 8) * 8
            if not length & DISCARD:
                yield record

    def close(self) -> None:
        for view in (self._taken, self._produced, self._lengths):
            view.release()
        self._consumer.close()
        self._shared.close()


class PerfBuffer:
    """BPF_MAP_TYPE_PERF_EVENT_ARRAY: one event and one mapped ring for each online CPU."""

    def __init__(self, map: Map) -> None:
        self.lost = 0
        self._backend: Any = map.backend
        if getattr(map.backend, "perf_event_open", None) is None:
            raise NotSupported(f"perf buffers of backend {map.backend.name}")
        self._rings: list[PerfRing] = []
        for cpu in range(min(map.max_entries, map.backend.num_possible_cpus)):
            self._open(map, cpu)

    def _open(self, map: Map, cpu: int) -> None:
        attr = struct.pack("=IIQQQ", PERF_TYPE_SOFTWARE, PERF_ATTR_SIZE, PERF_COUNT_SW_BPF_OUTPUT,
                           1, PERF_SAMPLE_RAW).ljust(48, b"\0") + struct.pack("=I", 1)
        try:
            fd = self._backend.perf_event_open(attr.ljust(PERF_ATTR_SIZE, b"\0"), -1, cpu)
        except BpfError as e:
            if e.errno == errno.ENODEV:               # the CPU is not online
                return
            raise
        self._rings.append(PerfRing(self._backend, fd))
        map.update(cpu.to_bytes(4, sys.byteorder), fd.to_bytes(4, sys.byteorder))

    def read(self, timeout: float = 0) -> Iterator[bytes]:
        yield from self._available()
        while timeout and wait([ring.fd for ring in self._rings], timeout):
            yield from self._available()

    def _available(self) -> Iterator[bytes]:
        for ring in self._rings:
            for kind, body in ring.records():
                if kind == PERF_RECORD_SAMPLE:
                    size = int.from_bytes(body[:4], sys.byteorder)
                    yield body[4:4 + size]
                elif kind == PERF_RECORD_LOST:
                    self.lost += int.from_bytes(body[8:16], sys.byteorder)

    def close(self) -> None:
        for ring in self._rings:
            ring.close(self._backend)
        self._rings.clear()


class PerfRing:
    """One CPU's ring: a control page and `PERF_PAGES` pages of records."""

    def __init__(self, backend: Any, fd: int) -> None:
        self.fd = fd
        self._size = PERF_PAGES * mmap.PAGESIZE
        self._memory = backend.mmap(fd, mmap.PAGESIZE + self._size)
        self._words = memoryview(self._memory).cast("Q")

    def records(self) -> Iterator[tuple[int, bytes]]:
        """(type, body) of each record; they may wrap around the end."""
        head, tail = self._words[PERF_HEAD // 8], self._words[PERF_TAIL // 8]
        while tail < head:
            kind, _, size = struct.unpack("=IHH", self._bytes(tail, 8))
            if size < 8:
                break
            body = self._bytes(tail + 8, size - 8)
            tail += size
            self._words[PERF_TAIL // 8] = tail
            yield kind, body

    def _bytes(self, position: int, size: int) -> bytes:
        start = position % self._size
        base = mmap.PAGESIZE
        first = min(size, self._size - start)
        return bytes(self._memory[base + start:base + start + first]
                     + self._memory[base:base + size - first])

    def close(self, backend: Any) -> None:
        self._words.release()
        self._memory.close()
        backend.close(self.fd)


def wait(fds: list[int], timeout: float) -> bool:
    """Wait until one of the descriptors has records; False after `timeout` seconds."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


READERS: dict[int, type[RingBuffer] | type[PerfBuffer]] = {
    uapi.BPF_MAP_TYPE_RINGBUF: RingBuffer,
    uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY: PerfBuffer,
}
