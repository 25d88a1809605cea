"""Reading BTF, lazily (tools/lib/bpf/btf.c).

Opening finds where the records start and no more; `type()` decodes one record, `find()` looks a
name up through an index of string offsets. Nothing else of a 5 MB BTF is ever touched.
Whatever is wrong with the bytes becomes one `LoadError(section=".BTF", offset=...)`.
"""

from __future__ import annotations

import builtins
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeVar

from anybpf import bits, uapi
from anybpf.btf import header, scan
from anybpf.btf import types as t
from anybpf.errors import LoadError

SECTION = ".BTF"
#: how many typedefs, modifiers and array levels may follow each other, as in libbpf and the kernel
MAX_DEPTH = 32
#: names that are looked for in the string table before an index of all names pays
SEARCHES = 32
#: bytes of a string that is counted as long, and how often the blob's size all of them may have
LONG_STRING, LONG_STRINGS_PER_BYTE = 256, 32

T = TypeVar("T", bound=t.Type)


class Btf:
    """A BTF blob; with `base`, a split BTF whose ids and string offsets continue those of `base`.

    `len(btf)` counts all types of base and blob with void, so valid ids are `range(len(btf))`.
    Raises LoadError if the header, the string table or the extent of a record is wrong.
    """

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        self.data = bytes(data)
        self.base = base
        head = header.read(self.data, SECTION)
        self.byteorder: header.ByteOrder = head.byteorder
        self._read_layout(head)
        self.start_id: int = 1 if base is None else len(base)
        self.start_str: int = 0 if base is None else base.end_str
        self._strings = self._read_strings()
        self._words = self._read_words()
        self._starts = self._read_starts()
        self._names: dict[int, list[int]] | None = None
        self._searches = 0
        self._long_strings: dict[int, str] = {}
        self._long_budget = LONG_STRINGS_PER_BYTE * len(self.data)
        self._types: dict[int, t.Type] = {0: t.VOID}
        self._found: dict[str, list[int]] = {}

    # -- opening ------------------------------------------------------------------------------

    def _read_layout(self, head: header.Header) -> None:
        if head.size < header.BTF_HEADER_SIZE:
            raise LoadError(f"bad header length {head.size}", SECTION, 4)
        header.refuse_tail(self.data, head, header.BTF_HEADER_SIZE, SECTION)
        prefix = header.PREFIX[head.byteorder]
        type_off: int
        type_len: int
        str_off: int
        str_len: int
        type_off, type_len, str_off, str_len = struct.unpack_from(prefix + "4I", self.data, 8)
        room = len(self.data) - head.size
        if type_off % 4:
            raise LoadError("type section is not aligned to 4 bytes", SECTION, 8)
        if type_off + type_len > room or str_off + str_len > room:
            raise LoadError("sections reach beyond the end of the data", SECTION, 8)
        if type_off < str_off + str_len and str_off < type_off + type_len:
            raise LoadError("type and string section overlap", SECTION, 8)
        self.type_start, self.type_len = head.size + type_off, type_len
        self.str_start, self.str_len = head.size + str_off, str_len

    def _read_strings(self) -> bytes:
        strings = self.data[self.str_start : self.str_start + self.str_len]
        if not strings and self.base is not None:
            return strings
        if len(strings) > uapi.BTF_MAX_NAME_OFFSET or not strings.endswith(b"\0"):
            raise LoadError("string table does not end with NUL", SECTION, self.str_start)
        if self.base is None and strings[0]:
            raise LoadError("string table does not begin with NUL", SECTION, self.str_start)
        return strings

    def _read_words(self) -> array[int]:
        if self.type_len % 4:
            raise LoadError("type section is cut short", SECTION, self.type_start + self.type_len)
        words = array(scan.WORD)
        words.frombytes(self.data[self.type_start : self.type_start + self.type_len])
        if self.byteorder != sys.byteorder:
            words.byteswap()
        return words

    def _read_starts(self) -> array[int]:
        starts, end = scan.starts(self._words)
        if end > len(self._words):
            raise LoadError("last type is cut short", SECTION, self._offset(starts[-1]))
        if end < len(self._words):
            raise LoadError(self._stopped_at(end), SECTION, self._offset(end))
        return starts

    def _stopped_at(self, word: int) -> str:
        if word + scan.HEAD_WORDS > len(self._words):
            return "last type is cut short"
        return f"unknown type kind {self._words[word + 1] >> 24 & 0x1F}"

    def _offset(self, word: int) -> int:
        return self.type_start + 4 * word

    # -- ids and strings ----------------------------------------------------------------------

    def __len__(self) -> int:
        return self.start_id + len(self._starts)

    def __repr__(self) -> str:
        return f"<Btf {len(self._starts)} types, {self.str_len} string bytes, {self.byteorder}>"

    @property
    def end_str(self) -> int:
        """The string offset that a split BTF on top of this one starts with."""
        return self.start_str + self.str_len

    def ids(self) -> range:
        """The ids of this blob's own types, without those of the base."""
        return range(self.start_id, len(self))

    def string(self, offset: int) -> str:
        """The string at `offset` of the string table (base's strings first). LoadError if none."""
        if self.base is not None and offset < self.start_str:
            return self.base.string(offset)
        start = offset - self.start_str
        if not 0 <= start < len(self._strings):
            if offset == 0:
                return ""
            raise LoadError(f"string offset {offset} is out of range", SECTION, self.str_start)
        end = self._strings.index(b"\0", start)
        if end - start > LONG_STRING:
            return self._long_string(start, end)
        return self._strings[start:end].decode("utf-8", "surrogateescape")

    def _long_string(self, start: int, end: int) -> str:
        """A long string is kept, and paid for: overlapping ones could fill any memory."""
        known = self._long_strings.get(start)
        if known is None:
            self._long_budget -= end - start
            if self._long_budget < 0:
                raise LoadError("too many long strings overlap", SECTION, self.str_start + start)
            known = self._strings[start:end].decode("utf-8", "surrogateescape")
            self._long_strings[start] = known
        return known

    name = string

    def string_offset(self, text: str) -> int:
        """The first offset at which `text` can be read, 0 if nowhere (or if it is empty)."""
        return next(iter(self._string_offsets(text)), 0) if text else 0

    @property
    def strings(self) -> bytes:
        """The string table of this blob, without that of the base."""
        return self._strings

    @property
    def words(self) -> array[int]:
        """The type section as 32-bit words in native order. Do not change it."""
        return self._words

    # -- types --------------------------------------------------------------------------------

    def type(self, type_id: int) -> t.Type:
        """The type with this id. LoadError for an id or name offset that does not exist."""
        known = self._types.get(type_id)
        if known is not None:
            return known
        if self.base is not None and type_id < self.start_id:
            return self.base.type(type_id)
        made = self._types[type_id] = self._decode(type_id)
        return made

    def _decode(self, type_id: int) -> t.Type:
        pos = self._word(type_id)
        words = self._words
        name_off, info, size = words[pos : pos + 3]
        record = Record(self, words, pos + 3, info, size)
        return DECODE[info >> 24 & 0x1F](record, self._name_at(pos, name_off))

    def _name_at(self, pos: int, offset: int) -> str:
        try:
            return self.string(offset)
        except LoadError as e:
            raise LoadError(e.message, SECTION, self._offset(pos)) from None

    def _word(self, type_id: int) -> int:
        index = type_id - self.start_id
        if not 0 <= index < len(self._starts):
            raise LoadError(f"type id {type_id} does not exist", SECTION)
        return self._starts[index]

    def record_words(self, type_id: int) -> list[int]:
        """All words of the record of one of this blob's own types."""
        pos = self._word(type_id)
        index = type_id - self.start_id + 1
        end = self._starts[index] if index < len(self._starts) else len(self._words)
        return list(self._words[pos:end])

    def offset_of(self, type_id: int) -> int:
        """The byte offset of this type's record in the blob that holds it, for error messages."""
        if self.base is not None and type_id < self.start_id:
            return self.base.offset_of(type_id)
        return self._offset(self._word(type_id)) if type_id else self.type_start

    def kind(self, type_id: int) -> int:
        """The BTF_KIND_* number of a type, without decoding it."""
        if not type_id:
            return uapi.BTF_KIND_UNKN
        if self.base is not None and type_id < self.start_id:
            return self.base.kind(type_id)
        return self._words[self._word(type_id) + 1] >> 24 & 0x1F

    def types(self) -> Iterator[tuple[int, t.Type]]:
        """This blob's own types with their ids, in order."""
        return ((i, self.type(i)) for i in self.ids())

    def expect(self, type_id: int, kind: builtins.type[T]) -> T:
        """The type with this id if it is of class `kind`, else LoadError."""
        found = self.type(type_id)
        if isinstance(found, kind):
            return found
        what = f"type {type_id} is {found.kind_name}, not {kind.__name__.upper()}"
        raise LoadError(what, SECTION, self.offset_of(type_id))

    # -- names --------------------------------------------------------------------------------

    def find_all(self, name: str, kind: int | None = None) -> list[int]:
        """Ids of all types called `name` (of BTF_KIND_* `kind`), base first, in order."""
        found = self.base.find_all(name) if self.base else []
        own = self._found.get(name)
        if own is None:
            own = self._found[name] = self._find_own(name)
        return [i for i in found + own if kind is None or self.kind(i) == kind]

    def find(self, name: str, kind: int | None = None) -> int:
        """The id of the first type called `name` (of BTF_KIND_* `kind`), 0 if there is none."""
        return next(iter(self.find_all(name, kind)), 0)

    def _find_own(self, name: str) -> list[int]:
        if not name:
            return []
        self._searches += 1
        if self._searches > SEARCHES:
            return sorted(self._index.get(name.encode("utf-8", "surrogateescape"), ()))
        spots = self._string_offsets(name)
        return sorted(i for spot in spots for i in self.name_ids.get(spot, ()))

    @property
    def name_ids(self) -> dict[int, list[int]]:
        """String offset -> this blob's own types with that name, in order. Do not change it."""
        if self._names is None:
            self._names = scan.names(self._words, self._starts, self.start_id)
        return self._names

    @cached_property
    def _index(self) -> dict[bytes, list[int]]:
        """Name -> ids. Names whose offset is wrong are left out, `type` reports them."""
        index: dict[bytes, list[int]] = {}
        ids, at, seen = self.name_ids, self.start_str, 0
        for text in self._strings.split(b"\0"):
            found = ids.get(at)
            if found is not None:
                index[text] = index[text] + found if text in index else found
                seen += 1
            at += len(text) + 1
        if seen < len(ids):
            self._index_rest(index)
        return index

    def _index_rest(self, index: dict[bytes, list[int]]) -> None:
        """Add names that are strings of the base, or ends of longer strings."""
        for offset, ids in self.name_ids.items():
            at = offset - self.start_str
            if offset < self.end_str and (at < 0 or (at and self._strings[at - 1])):
                text = self.string(offset).encode("utf-8", "surrogateescape")
                index[text] = index.get(text, []) + ids

    def _string_offsets(self, name: str) -> Iterator[int]:
        """Every offset at which `name` can be read, ends of longer strings included."""
        if self.base:
            yield from self.base._string_offsets(name)
        needle = name.encode("utf-8", "surrogateescape") + b"\0"
        at = self._strings.find(needle)
        while at >= 0:
            yield self.start_str + at
            at = self._strings.find(needle, at + 1)

    # -- following ----------------------------------------------------------------------------

    def _follow(self, type_id: int, kinds: frozenset[int]) -> int:
        for _ in range(MAX_DEPTH):
            if self.kind(type_id) not in kinds:
                return type_id
            type_id = self.target(type_id)
        raise LoadError("types are nested too deeply", SECTION, self.offset_of(type_id))

    def target(self, type_id: int) -> int:
        """The id that a PTR, modifier, TYPEDEF, FUNC, VAR or tag refers to."""
        if self.base is not None and type_id < self.start_id:
            return self.base.target(type_id)
        return self._words[self._word(type_id) + 2]

    def resolve(self, type_id: int) -> int:
        """The id behind typedefs, const, volatile, restrict and type tags."""
        return self._follow(type_id, t.ALIASES)

    def skip_modifiers(self, type_id: int) -> int:
        """The id behind const, volatile, restrict and type tags; typedefs stay."""
        return self._follow(type_id, t.MODIFIERS)

    @cached_property
    def pointer_size(self) -> int:
        """Bytes of a pointer: the size of `unsigned long` if BTF has one, else 8."""
        for name in ("long", "unsigned long", "long int", "long unsigned int"):
            found = self.find(name, uapi.BTF_KIND_INT)
            if found:
                return self.expect(found, t.Int).size
        return self.base.pointer_size if self.base else 8

    def size_of(self, type_id: int) -> int:
        """Size in bytes of a value of this type. LoadError for void, functions, endless nesting."""
        count = 1
        for _ in range(MAX_DEPTH):
            type_id = self.resolve(type_id)
            found = self.type(type_id)
            if isinstance(found, t.Array):
                count, type_id = count * found.nelems, found.type
            elif isinstance(found, t.Var):
                type_id = found.type
            else:
                return count * self._plain_size(type_id, found)
        raise LoadError("types are nested too deeply", SECTION, self.offset_of(type_id))

    def _plain_size(self, type_id: int, found: t.Type) -> int:
        if isinstance(found, t.Ptr):
            return self.pointer_size
        size = getattr(found, "size", None)
        if isinstance(size, int):
            return size
        what = f"type {type_id} ({found.kind_name}) has no size"
        raise LoadError(what, SECTION, self.offset_of(type_id))

    def to_bytes(self) -> bytes:
        """The blob as it was read."""
        return self.data


class Record:
    """One record under the decoder: its words after the common three, `info` and `size`."""

    __slots__ = ("_words", "btf", "info", "pos", "size")

    def __init__(self, btf: Btf, words: array[int], pos: int, info: int, size: int) -> None:
        self.btf, self._words, self.pos, self.info, self.size = btf, words, pos, info, size

    @property
    def vlen(self) -> int:
        return self.info & 0xFFFF

    @property
    def flag(self) -> bool:
        return bool(self.info >> 31)

    def word(self, index: int) -> int:
        return self._words[self.pos + index]

    def rows(self, width: int) -> Iterator[tuple[int, ...]]:
        """The `vlen` elements of `width` words each."""
        part = iter(self._words[self.pos : self.pos + self.vlen * width])
        return zip(*[part] * width, strict=True)

    def text(self, offset: int) -> str:
        return self.btf._name_at(self.pos - 3, offset)


def _int(r: Record, name: str) -> t.Int:
    data = r.word(0)
    made = t.Int(name, r.size, data & 0xFF, data >> 16 & 0xFF, data >> 24 & 0xF)
    made.bits = data & 0xFF
    return made


def _array(r: Record, name: str) -> t.Array:
    return t.Array(r.word(0), r.word(1), r.word(2), name)


def _members(r: Record) -> tuple[t.Member, ...]:
    if not r.flag:
        return tuple(t.Member(r.text(n), i, o) for n, i, o in r.rows(3))
    return tuple(t.Member(r.text(n), i, o & 0xFFFFFF, o >> 24) for n, i, o in r.rows(3))


def _struct(r: Record, name: str) -> t.Struct:
    return t.Struct(name, r.size, _members(r), r.flag)


def _union(r: Record, name: str) -> t.Union:
    return t.Union(name, r.size, _members(r), r.flag)


def _enum(r: Record, name: str) -> t.Enum:
    signed = r.flag
    pairs = ((r.text(n), bits.s32(v) if signed else v) for n, v in r.rows(2))
    return t.Enum(name, r.size, tuple(t.EnumValue(*p) for p in pairs), signed)


def _enum64(r: Record, name: str) -> t.Enum64:
    signed = r.flag
    triples = ((r.text(n), low | high << 32) for n, low, high in r.rows(3))
    values = tuple(t.EnumValue(n, bits.s64(v) if signed else v) for n, v in triples)
    return t.Enum64(name, r.size, values, signed)


def _func_proto(r: Record, name: str) -> t.FuncProto:
    return t.FuncProto(r.size, tuple(t.Param(r.text(n), i) for n, i in r.rows(2)), name)


def _datasec(r: Record, name: str) -> t.Datasec:
    return t.Datasec(name, r.size, tuple(t.SecVar(*row) for row in r.rows(3)))


#: BTF_KIND_* -> the decoder of its record
DECODE: dict[int, Callable[[Record, str], t.Type]] = {
    uapi.BTF_KIND_INT: _int,
    uapi.BTF_KIND_PTR: lambda r, name: t.Ptr(r.size, name),
    uapi.BTF_KIND_ARRAY: _array,
    uapi.BTF_KIND_STRUCT: _struct,
    uapi.BTF_KIND_UNION: _union,
    uapi.BTF_KIND_ENUM: _enum,
    uapi.BTF_KIND_FWD: lambda r, name: t.Fwd(name, r.flag),
    uapi.BTF_KIND_TYPEDEF: lambda r, name: t.Typedef(name, r.size),
    uapi.BTF_KIND_VOLATILE: lambda r, name: t.Volatile(r.size, name),
    uapi.BTF_KIND_CONST: lambda r, name: t.Const(r.size, name),
    uapi.BTF_KIND_RESTRICT: lambda r, name: t.Restrict(r.size, name),
    uapi.BTF_KIND_FUNC: lambda r, name: t.Func(name, r.size, r.vlen),
    uapi.BTF_KIND_FUNC_PROTO: _func_proto,
    uapi.BTF_KIND_VAR: lambda r, name: t.Var(name, r.size, r.word(0)),
    uapi.BTF_KIND_DATASEC: _datasec,
    uapi.BTF_KIND_FLOAT: lambda r, name: t.Float(name, r.size),
    uapi.BTF_KIND_DECL_TAG: lambda r, name: t.DeclTag(name, r.size, bits.s32(r.word(0)), r.flag),
    uapi.BTF_KIND_TYPE_TAG: lambda r, name: t.TypeTag(name, r.size, r.flag),
    uapi.BTF_KIND_ENUM64: _enum64,
}
