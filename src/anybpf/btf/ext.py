"""Reading .BTF.ext: functions, source lines and CO-RE records (tools/lib/bpf/btf.c).

Three tables, each a list of records per ELF section. Records may be longer than we know
(`record_size` says); the raw bytes are kept, since BPF_PROG_LOAD takes them as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from anybpf import uapi
from anybpf.btf import header
from anybpf.btf.graph import Renumber
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError

SECTION = ".BTF.ext"


class FuncInfo(NamedTuple):
    """A function begins at `insn_off`; `type_id` is its FUNC.

    In .BTF.ext `insn_off` is in bytes of the section, in bpf(2) in instructions of the program.
    """

    insn_off: int
    type_id: int


class LineInfo(NamedTuple):
    """The source line of the instruction at `insn_off` (as in FuncInfo); strings are offsets."""

    insn_off: int
    file_name_off: int
    line_off: int
    line_col: int

    @property
    def line(self) -> int:
        return self.line_col >> 10

    @property
    def column(self) -> int:
        return self.line_col & 0x3FF


class CoreRelo(NamedTuple):
    """A CO-RE relocation of the instruction at byte `insn_off`; `kind` is a BPF_CORE_* number."""

    insn_off: int
    type_id: int
    access_str_off: int
    kind: int


R = TypeVar("R", FuncInfo, LineInfo, CoreRelo)


class InfoSection(Generic[R]):
    """The records of one ELF section, whose name is at `name_off` of .BTF's strings."""

    def __init__(
        self, name_off: int, record_size: int, raw: bytes, prefix: str, make: Callable[..., R]
    ) -> None:
        self.name_off = name_off
        self.record_size = record_size
        self.raw = raw
        words = len(make(0, 0, 0, 0) if make is not FuncInfo else make(0, 0))
        layout = struct.Struct(f"{prefix}{words}I{record_size - 4 * words}x")
        self.records: tuple[R, ...] = tuple(make(*row) for row in layout.iter_unpack(raw))

    def __len__(self) -> int:
        return len(self.records)


class BtfExt(NamedTuple):
    """A parsed .BTF.ext: three tables of `InfoSection`s in file order."""

    byteorder: header.ByteOrder
    func_infos: tuple[InfoSection[FuncInfo], ...]
    line_infos: tuple[InfoSection[LineInfo], ...]
    core_relos: tuple[InfoSection[CoreRelo], ...]
    data: bytes

    @classmethod
    def parse(cls, data: bytes, byteorder: header.ByteOrder | None = None) -> BtfExt:
        """Read a .BTF.ext section. `byteorder` is what the file should have, None: any.

        Raises LoadError(section=".BTF.ext") if a header, table or record does not fit.
        """
        data = bytes(data)
        head = header.read(data, SECTION)
        if byteorder not in (None, head.byteorder):
            raise LoadError(f"byte order is {head.byteorder}", SECTION, 0)
        tables = _tables(data, head)
        return cls(
            head.byteorder,
            _infos(data, head, tables[0], FuncInfo, 8),
            _infos(data, head, tables[1], LineInfo, 16),
            _infos(data, head, tables[2], CoreRelo, 16),
            data,
        )

    def funcs(self, btf: Btf, section: str) -> tuple[FuncInfo, ...]:
        """The function records of the ELF section called `section`."""
        return _of_section(self.func_infos, btf, section)

    def lines(self, btf: Btf, section: str) -> tuple[LineInfo, ...]:
        """The line records of the ELF section called `section`."""
        return _of_section(self.line_infos, btf, section)

    def relos(self, btf: Btf, section: str) -> tuple[CoreRelo, ...]:
        """The CO-RE records of the ELF section called `section`."""
        return _of_section(self.core_relos, btf, section)

    def strings(self) -> Iterator[int]:
        """Every offset into .BTF's strings."""
        for infos, fields in zip(self._tables(), STRING_FIELDS, strict=True):
            for info in infos:
                yield info.name_off
                yield from (record[i] for record in info.records for i in fields)

    def renumbered(self, type_id: Renumber, string: Renumber) -> BtfExt:
        """The same tables for a .BTF whose type ids and string offsets have become others."""
        parts = [
            _table(infos, header.PREFIX[self.byteorder], fields, type_id, string)
            for infos, fields in zip(self._tables(), STRING_FIELDS, strict=True)
        ]
        return BtfExt.parse(_blob(parts, header.PREFIX[self.byteorder]))

    def to_bytes(self) -> bytes:
        """The section as it was read."""
        return self.data

    def _tables(self) -> tuple[Infos, Infos, Infos]:
        return self.func_infos, self.line_infos, self.core_relos


Infos = tuple[InfoSection[FuncInfo], ...] | tuple[InfoSection[LineInfo], ...] | (
    tuple[InfoSection[CoreRelo], ...]
)
#: for each table, which fields of its records are string offsets
STRING_FIELDS: tuple[tuple[int, ...], ...] = ((), (1, 2), (2,))
#: the field that is a type id, in records that have one
TYPE_FIELD = 1


def _table(
    infos: Infos, prefix: str, fields: tuple[int, ...], type_id: Renumber, string: Renumber
) -> bytes:
    """A table with other type ids and string offsets; what else is in its records stays."""
    if not infos:
        return b""
    out = bytearray(struct.pack(prefix + "I", infos[0].record_size))
    for info in infos:
        out += struct.pack(prefix + "2I", string(info.name_off), len(info))
        raw = bytearray(info.raw)
        for at, record in zip(range(0, len(raw), info.record_size), info.records, strict=True):
            changed = {i: string(record[i]) for i in fields}
            if TYPE_FIELD not in fields:
                changed[TYPE_FIELD] = type_id(record[TYPE_FIELD])
            for i, value in changed.items():
                struct.pack_into(prefix + "I", raw, at + 4 * i, value)
        out += raw
    return bytes(out)


def _blob(parts: list[bytes], prefix: str) -> bytes:
    """A section of these three tables."""
    layout, at = [], 0
    for part in parts:
        layout += [at, len(part)]
        at += len(part)
    size = header.COMMON_SIZE + 4 * len(layout)
    head = struct.pack(f"{prefix}{header.COMMON}6I", uapi.BTF_MAGIC, uapi.BTF_VERSION, 0, size,
                       *layout)  # fmt: skip
    return head + b"".join(parts)


def _of_section(infos: tuple[InfoSection[R], ...], btf: Btf, section: str) -> tuple[R, ...]:
    chosen = (i.records for i in infos if btf.string(i.name_off) == section)
    return tuple(record for records in chosen for record in records)


def _tables(data: bytes, head: header.Header) -> list[tuple[int, int]]:
    """(offset from the header's end, length) of the three tables; the third came later."""
    words = 6 if head.size >= 32 else 4
    known = header.COMMON_SIZE + 4 * words
    if head.size < known:
        raise LoadError(f"bad header length {head.size}", SECTION, 4)
    header.refuse_tail(data, head, known, SECTION)
    values = struct.unpack_from(f"{header.PREFIX[head.byteorder]}{words}I", data, 8)
    pairs = list(zip(values[::2], values[1::2], strict=True))
    return pairs + [(0, 0)] * (3 - len(pairs))


def _infos(
    data: bytes,
    head: header.Header,
    table: tuple[int, int],
    make: Callable[..., R],
    least: int,
) -> tuple[InfoSection[R], ...]:
    offset, length = table
    if not length:
        return ()
    start = head.size + offset
    if offset % 4:
        raise LoadError("table is not aligned to 4 bytes", SECTION, start)
    if start + length > len(data):
        raise LoadError("table reaches beyond the end of the data", SECTION, start)
    if length < 4:
        raise LoadError("table is cut short", SECTION, start)
    prefix = header.PREFIX[head.byteorder]
    (size,) = struct.unpack_from(prefix + "I", data, start)
    if size < least or size % 4:
        raise LoadError(f"bad record size {size}", SECTION, start)
    return tuple(_sections(data, start + 4, start + length, size, prefix, make))


def _sections(
    data: bytes, pos: int, end: int, size: int, prefix: str, make: Callable[..., R]
) -> list[InfoSection[R]]:
    found = []
    while pos < end:
        if pos + 8 > end:
            raise LoadError("table is cut short", SECTION, pos)
        name_off, count = struct.unpack_from(prefix + "2I", data, pos)
        stop = pos + 8 + count * size
        if not count or stop > end:
            raise LoadError(f"bad record count {count}", SECTION, pos + 4)
        found.append(InfoSection(name_off, size, data[pos + 8 : stop], prefix, make))
        pos = stop
    return found
