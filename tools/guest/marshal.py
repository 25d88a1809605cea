"""One bpf(2) call as a call in the guest: its memory goes along and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from anybpf import uapi
from anybpf.syscall.record import fields
from guest import memory, pointers
from guest.pointers import MapShape, Pointer
from guest.remote import BPF
from guest.wire import Answer, Call, Patch, Segment

#: an address that is mapped neither here nor there
UNMAPPED = 8
#: the first address that is nobody's in user space
USER_END = 1 << 47
ADDRESS_SIZE = 8


class Struct:
    """A struct in this process's memory by field names; fields behind its end read as 0."""

    def __init__(self, name: str, data: bytes, shape: Callable[[int], MapShape], cpus: int) -> None:
        self.data, self.cpus = data, cpus
        self._fields, self._shape = fields(name), shape

    def __getitem__(self, name: str) -> int:
        return int.from_bytes(self.data[slice(*self.place(name))], "little")

    def place(self, name: str) -> tuple[int, int]:
        """A field's first byte and the byte after its end."""
        return self._fields[name][:2]

    def map(self, field: str) -> MapShape:
        """The map that a descriptor means."""
        return self._shape(self[field])


class Marshal:
    """Collects the segments of one call, and writes the answered ones back."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.patches: list[Patch] = []
        self._origins: list[tuple[Segment, int]] = []
        self._restore: dict[Segment, list[tuple[int, bytes]]] = {}

    def segment(self, made: Segment, address: int = 0) -> Segment:
        """Take a segment; what comes back of it is for `address`."""
        self.segments.append(made)
        if made.answered and address:
            self._origins.append((made, address))
        return made

    def point(self, parent: Segment, offset: int, target: Segment) -> None:
        """At `offset` of `parent` belongs the target's address; in the answer, ours again."""
        ours = parent.data[offset:offset + ADDRESS_SIZE]
        if len(ours) == ADDRESS_SIZE:
            self._restore.setdefault(parent, []).append((offset, ours))
            self.patches.append(Patch(parent, offset, target))

    def follow(self, parent: Segment, struct: Struct, rows: Iterable[Pointer]) -> None:
        """Take along what the struct in `parent` points to."""
        for row in rows:
            address, start = struct[row.field], struct.place(row.field)[0]
            if address:
                self.point_at(parent, start, address, row.size(struct), row.use)

    def point_at(self, parent: Segment, offset: int, address: int, size: int, use: int) -> None:
        """Take along `size` bytes at `address`, as far as they are mapped."""
        made = _TAKE[use](self, address, size)
        if made is not None:
            self.point(parent, offset, made)
        elif UNMAPPED < address < USER_END:
            self.forbid(parent, offset)

    def forbid(self, parent: Segment, offset: int) -> None:
        """An address that is not mapped here must not be mapped there, either."""
        ours = parent.data[offset:offset + ADDRESS_SIZE]
        self._restore.setdefault(parent, []).append((offset, ours))
        there = UNMAPPED.to_bytes(len(ours), "little")
        parent.data = parent.data[:offset] + there + parent.data[offset + len(ours):]

    # -- the ways to use memory

    def take_in(self, address: int, size: int) -> Segment | None:
        data = memory.read(address, size)
        return self.segment(Segment(data)) if data else None

    def take_inout(self, address: int, size: int) -> Segment | None:
        data = memory.read(address, size)
        return self.segment(Segment(data, answered=True), address) if data else None

    def take_string(self, address: int, size: int) -> Segment | None:
        data = memory.string(address, size)
        return self.segment(Segment(data)) if data else None

    def take_log(self, address: int, size: int) -> Segment | None:
        size = memory.extent(address, size)
        made = Segment(size=size, answered=True, string=True)
        return self.segment(made, address) if size else None

    def take_strings(self, address: int, count: int) -> Segment | None:
        table = self.take_in(address, ADDRESS_SIZE * count)
        if table is not None:
            for at in range(0, len(table.data), ADDRESS_SIZE):
                string = int.from_bytes(table.data[at:at + ADDRESS_SIZE], "little")
                if string:
                    self.point_at(table, at, string, pointers.PATH_MAX, pointers.STRING)
        return table

    # -- the answer

    def restored(self, segment: Segment, data: bytes) -> bytes:
        """An answered segment with our addresses in it; one that the kernel took away stays so."""
        whole = bytearray(data)
        for offset, ours in self._restore.get(segment, ()):
            end = offset + len(ours)
            if any(whole[offset:end]):
                whole[offset:end] = ours
        return bytes(whole)

    def write_back(self, answer: Answer) -> None:
        """Write what the kernel changed."""
        for segment, address in self._origins:
            data = self.restored(segment, answer.memory[segment])
            before = self.restored(segment, segment.data)
            if data != before:
                memory.write(address, data)

    def call(self, cmd: int, attr: Segment) -> Call:
        """The call, once all memory is collected."""
        return Call(BPF, [cmd, attr, attr.size], self.segments, self.patches)


_TAKE = {pointers.IN: Marshal.take_in, pointers.INOUT: Marshal.take_inout,
         pointers.STRING: Marshal.take_string, pointers.LOG: Marshal.take_log,
         pointers.STRINGS: Marshal.take_strings}


def rows_of(cmd: int, attr: Struct) -> tuple[pointers.Pointer, ...]:
    """The pointers of one call."""
    if cmd == uapi.BPF_LINK_CREATE:
        return pointers.LINKS.get(attr["link_create.attach_type"], ())
    return pointers.POINTERS.get(cmd, ())
