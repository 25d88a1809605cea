"""Writing BTF: types to records, strings to a table (tools/lib/bpf/btf.c).

`BtfBuilder` starts empty, on top of a base, or from a parsed blob (`extend`), whose ids and string
offsets stay as they were.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence

from anybpf import uapi
from anybpf.btf import header, scan
from anybpf.btf import types as t
from anybpf.btf.parse import Btf

Words = list[int]
Intern = Callable[[str], int]

#: layout of an INT's extra word
INT_ENCODING_SHIFT, INT_OFFSET_SHIFT = 24, 16


class BtfBuilder:
    """Collects types and strings; `add()` gives the new type's id, `to_bytes()` the blob.

    >>> b = BtfBuilder()
    >>> b.add(t.Ptr(b.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))))
    2
    """

    def __init__(self, byteorder: header.ByteOrder = "little", base: Btf | None = None) -> None:
        self.byteorder: header.ByteOrder = byteorder
        self.base = base
        self._next = 1 if base is None else len(base)
        self._start_str = 0 if base is None else base.end_str
        self._strings = bytearray(b"\0" if base is None else b"")
        self._offsets: dict[str, int] = {"": 0}
        self._words: array[int] = array(scan.WORD)

    @classmethod
    def extend(cls, btf: Btf) -> BtfBuilder:
        """A builder that already holds the types and strings of `btf`."""
        made = cls.with_strings(btf)
        made._next = len(btf)
        made._words.extend(btf.words)
        return made

    @classmethod
    def with_strings(cls, btf: Btf) -> BtfBuilder:
        """A builder that already holds the strings of `btf`, at the same offsets, but no type."""
        made = cls(btf.byteorder, btf.base)
        made._strings = bytearray(btf.strings)
        made._offsets.update(_table(btf.strings, made._start_str))
        return made

    def __len__(self) -> int:
        return self._next

    def string(self, text: str) -> int:
        """The offset of `text` in the string table, added if it is not there yet."""
        known = self._offsets.get(text)
        if known is None:
            known = self._offsets[text] = self._in_base(text) or self._append(text)
        return known

    def _in_base(self, text: str) -> int:
        return self.base.string_offset(text) if self.base is not None else 0

    def _append(self, text: str) -> int:
        raw = text.encode("utf-8", "surrogateescape")
        if b"\0" in raw:
            raise ValueError(f"a BTF string cannot hold NUL: {text!r}")
        at = self._start_str + len(self._strings)
        self._strings += raw + b"\0"
        return at

    def add(self, made: t.Type) -> int:
        """Append a type and return its id. ValueError if a field does not fit its record."""
        self._words.extend(record(made, self.string))
        self._next += 1
        return self._next - 1

    def add_all(self, types: Iterable[t.Type]) -> list[int]:
        """Append several types; their ids."""
        return [self.add(one) for one in types]

    def to_bytes(self) -> bytes:
        """The blob: header, types, strings."""
        types = words_to_bytes(self._words, self.byteorder)
        layout = (0, len(types), len(types), len(self._strings))
        head = struct.pack(
            header.PREFIX[self.byteorder] + header.COMMON + "4I",
            uapi.BTF_MAGIC, uapi.BTF_VERSION, 0, header.BTF_HEADER_SIZE, *layout,
        )  # fmt: skip
        return head + types + bytes(self._strings)

    def build(self) -> Btf:
        """The blob, parsed."""
        return Btf(self.to_bytes(), self.base)


def words_to_bytes(words: Sequence[int], byteorder: header.ByteOrder) -> bytes:
    """32-bit words in the given byte order."""
    return struct.pack(f"{header.PREFIX[byteorder]}{len(words)}I", *words)


def _table(strings: bytes, start: int) -> dict[str, int]:
    """Each string -> its first offset."""
    found: dict[str, int] = {}
    at = 0
    for raw in strings.split(b"\0")[:-1]:
        found.setdefault(raw.decode("utf-8", "surrogateescape"), start + at)
        at += len(raw) + 1
    return found


def record(made: t.Type, intern: Intern) -> Words:
    """The 32-bit words of a type's record; `intern` gives the offset of a string."""
    if type(made) not in BODIES:
        raise ValueError(f"{made.kind_name} has no record")
    name_off = intern(made.name)
    vlen, flag, size, rest = BODIES[type(made)](made, intern)
    if vlen > 0xFFFF:
        raise ValueError(f"{made.kind_name} '{made.name}' has {vlen} elements, more than 65535")
    words = [name_off, int(flag) << 31 | made.kind << 24 | vlen, size, *rest]
    if any(not 0 <= w <= uapi.U32 for w in words):
        raise ValueError(f"a field of {made.kind_name} '{made.name}' is out of range")
    return words


Body = tuple[int, bool, int, Words]


def _int(made: t.Int, intern: Intern) -> Body:
    data = made.encoding << INT_ENCODING_SHIFT | made.offset << INT_OFFSET_SHIFT | made.bits
    return 0, False, made.size, [data]


def _array(made: t.Array, intern: Intern) -> Body:
    return 0, False, 0, [made.type, made.index_type, made.nelems]


def _composite(made: t.Composite, intern: Intern) -> Body:
    flag = made.kind_flag or any(m.bitfield_size for m in made.members)
    rest: Words = []
    for m in made.members:
        where = m.bitfield_size << 24 | m.bit_offset if flag else m.bit_offset
        if flag and not (m.bit_offset <= 0xFFFFFF and m.bitfield_size <= 0xFF):
            raise ValueError(f"member '{m.name}' does not fit a struct with bitfields")
        rest += (intern(m.name), m.type, where)
    return len(made.members), flag, made.size, rest


def _enum(made: t.Enum, intern: Intern) -> Body:
    rest: Words = []
    for v in made.values:
        _fits(v, made.signed, 32)
        rest += (intern(v.name), v.value & uapi.U32)
    return len(made.values), made.signed, made.size, rest


def _enum64(made: t.Enum64, intern: Intern) -> Body:
    rest: Words = []
    for v in made.values:
        _fits(v, made.signed, 64)
        rest += (intern(v.name), v.value & uapi.U32, v.value >> 32 & uapi.U32)
    return len(made.values), made.signed, made.size, rest


def _fits(v: t.EnumValue, signed: bool, width: int) -> None:
    low, high = (-(1 << width - 1), 1 << width - 1) if signed else (0, 1 << width)
    if not low <= v.value < high:
        raise ValueError(f"enumerator '{v.name}' = {v.value} does not fit {width} bits")


def _func_proto(made: t.FuncProto, intern: Intern) -> Body:
    rest = [word for p in made.params for word in (intern(p.name), p.type)]
    return len(made.params), False, made.type, rest


def _datasec(made: t.Datasec, intern: Intern) -> Body:
    return len(made.vars), False, made.size, [word for v in made.vars for word in v]


def _ref(made: t.Ref | t.Typedef, intern: Intern) -> Body:
    return 0, False, made.type, []


#: class of type -> (vlen, kind flag, size or type, further words)
BODIES: dict[type[t.Type], Callable[..., Body]] = {
    t.Int: _int,
    t.Ptr: _ref,
    t.Array: _array,
    t.Struct: _composite,
    t.Union: _composite,
    t.Enum: _enum,
    t.Fwd: lambda made, _: (0, made.is_union, 0, []),
    t.Typedef: _ref,
    t.Volatile: _ref,
    t.Const: _ref,
    t.Restrict: _ref,
    t.Func: lambda made, _: (made.linkage, False, made.type, []),
    t.FuncProto: _func_proto,
    t.Var: lambda made, _: (0, False, made.type, [made.linkage]),
    t.Datasec: _datasec,
    t.Float: lambda made, _: (0, False, made.size, []),
    t.DeclTag: lambda made, _: (0, made.kind_flag, made.type, [made.component & uapi.U32]),
    t.TypeTag: lambda made, _: (0, made.kind_flag, made.type, []),
    t.Enum64: _enum64,
}
