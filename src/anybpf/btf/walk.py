"""Walking the bytes of a value along its BTF type (tools/bpf/bpftool/btf_dumper.c).

`Walker` knows structure: members, elements, bitfields, byte order, bounds. What a leaf becomes is
said by its two subclasses: Python objects in `values`, bpftool's JSON in `format`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import ClassVar

from anybpf.btf import header
from anybpf.btf import types as t
from anybpf.btf.parse import MAX_DEPTH, SECTION, Btf
from anybpf.errors import LoadError

#: bytes of an integer -> struct's letter (signed ones; upper case is unsigned)
LETTERS = {1: "b", 2: "h", 4: "i", 8: "q"}
#: bytes of a floating point number -> struct's letter; Python cannot read wider ones
FLOATS = {2: "e", 4: "f", 8: "d"}
#: values visited before a BTF is taken for one that multiplies: these, and some for each byte
FREE_VALUES, VALUES_PER_BYTE = 1 << 16, 16


def shift_of(bit: int, width: int, nbytes: int, order: header.ByteOrder) -> int:
    """How far the bitfield is from the lowest bit of the `nbytes` that hold it."""
    return bit % 8 if order == "little" else nbytes * 8 - bit % 8 - width


def span(bit: int, width: int) -> tuple[int, int]:
    """First byte and number of bytes that a bitfield touches."""
    first = bit // 8
    return first, (bit + width + 7) // 8 - first


def member_field(member: t.Member, target: t.Type) -> tuple[int, int]:
    """(first bit in the struct, width) of a member; width 0 if it is no bitfield."""
    if member.bitfield_size:
        return member.bit_offset, member.bitfield_size
    if isinstance(target, t.Int) and (target.bits != target.size * 8 or member.bit_offset % 8):
        return member.bit_offset + target.offset, target.bits
    return member.bit_offset, 0


def is_text(element: t.Type) -> bool:
    """Is an array of this a string: the type `char`, or an INT that says so itself?"""
    if not isinstance(element, t.Int) or element.size != 1:
        return False
    return element.is_char or element.name == "char"


class Walker:
    """One walk over `data`, which starts with the value."""

    def __init__(self, btf: Btf, data: bytes) -> None:
        self.btf = btf
        self.data = data
        self.order = btf.byteorder
        self.prefix = header.PREFIX[btf.byteorder]
        self._budget = FREE_VALUES + VALUES_PER_BYTE * len(data)
        self._depth = 0

    def value(self, type_id: int, at: int = 0) -> object:
        """The value of this type that begins at byte `at`."""
        type_id = self.btf.resolve(type_id)
        made = self.btf.type(type_id)
        method = self.METHODS.get(type(made))
        if method is None:
            raise self.error(f"there is no value of type {type_id} ({made.kind_name})", type_id)
        self._enter(type_id)
        found: object = method(self, made, at)
        self._depth -= 1
        return found

    def error(self, message: str, type_id: int) -> LoadError:
        return LoadError(message, SECTION, self.btf.offset_of(type_id))

    def _enter(self, type_id: int) -> None:
        self._depth += 1
        self._budget -= 1
        if self._depth > MAX_DEPTH:
            raise self.error("types are nested too deeply", type_id)
        if self._budget < 0:
            raise self.error("the type has too many members for its size", type_id)

    # -- bytes --------------------------------------------------------------------------------

    def take(self, at: int, size: int) -> bytes:
        """`size` bytes from `at`; LoadError if the type reaches beyond the value."""
        part = self.data[at : at + size]
        if len(part) < size:
            raise LoadError(f"value of {len(self.data)} bytes ends before byte {at + size}")
        return part

    def number(self, at: int, size: int, signed: bool) -> int:
        return int.from_bytes(self.take(at, size), self.order, signed=signed)

    def bits(self, bit: int, width: int, signed: bool) -> int:
        """The `width` bits from bit `bit` of the value, counted as the byte order does."""
        first, nbytes = span(bit, width)
        whole = self.number(first, nbytes, False)
        raw = whole >> shift_of(bit, width, nbytes, self.order) & (1 << width) - 1
        return raw - (1 << width) if signed and width and raw >> width - 1 else raw

    # -- structure ----------------------------------------------------------------------------

    def composite(self, made: t.Composite, at: int) -> object:
        fields: dict[str, object] = {}
        for member in made.members:
            self.put(fields, member.name, self.member(member, at))
        return fields

    def member(self, member: t.Member, at: int) -> object:
        target = self.btf.type(self.btf.resolve(member.type))
        bit, width = member_field(member, target)
        if not width:
            return self.value(member.type, at + bit // 8)
        self._budget -= 1
        return self.bitfield(target, self.bits(at * 8 + bit, width, is_signed(target)), width)

    def put(self, fields: dict[str, object], name: str, value: object) -> None:
        fields[name] = value

    def array(self, made: t.Array, at: int) -> object:
        element_id = self.btf.resolve(made.type)
        element = self.btf.type(element_id)
        if isinstance(element, t.Int) and self.is_plain(element):
            return self.ints(element, self.take(at, element.size * made.nelems))
        if not made.nelems:
            return []
        size = self.btf.size_of(element_id)
        return [self.value(element_id, at + i * size) for i in range(made.nelems)]

    def is_plain(self, element: t.Int) -> bool:
        """Can an array of these be unpacked at once?"""
        whole = element.bits == element.size * 8 and not element.offset
        return element.size in LETTERS and whole and not element.is_bool

    def ints(self, element: t.Int, raw: bytes) -> object:
        return list(self.unpack(element, raw))

    def unpack(self, element: t.Int, raw: bytes) -> Sequence[int]:
        letter = LETTERS[element.size]
        code = letter if element.signed else letter.upper()
        return struct.unpack(f"{self.prefix}{len(raw) // element.size}{code}", raw)

    def datasec(self, made: t.Datasec, at: int) -> object:
        fields: dict[str, object] = {}
        for var in made.vars:
            target = self.btf.type(var.type)
            if isinstance(target, t.Var):
                fields[target.name] = self.value(target.type, at + var.offset)
        return fields

    # -- leaves -------------------------------------------------------------------------------

    def integer(self, made: t.Int, at: int) -> object:
        if made.bits == made.size * 8 and not made.offset:
            return self.int_leaf(made, self.number(at, made.size, made.signed))
        bit = at * 8 + made.offset
        return self.bitfield(made, self.bits(bit, made.bits, made.signed), made.bits)

    def int_leaf(self, made: t.Int, value: int) -> object:
        return value

    def enumeration(self, made: t.AnyEnum, at: int) -> object:
        return self.enum_leaf(made, self.number(at, made.size, made.signed))

    def enum_leaf(self, made: t.AnyEnum, value: int) -> object:
        return value

    def bitfield(self, made: t.Type, value: int, width: int) -> object:
        return value

    def pointer(self, made: t.Ptr, at: int) -> object:
        return self.number(at, self.btf.pointer_size, False)

    def floating(self, made: t.Float, at: int) -> object:
        raw = self.take(at, made.size)
        letter = FLOATS.get(made.size)
        return struct.unpack(self.prefix + letter, raw)[0] if letter else raw

    METHODS: ClassVar[dict[type[t.Type], Callable[..., object]]] = {
        t.Int: lambda self, made, at: self.integer(made, at),
        t.Ptr: lambda self, made, at: self.pointer(made, at),
        t.Array: lambda self, made, at: self.array(made, at),
        t.Struct: lambda self, made, at: self.composite(made, at),
        t.Union: lambda self, made, at: self.composite(made, at),
        t.Enum: lambda self, made, at: self.enumeration(made, at),
        t.Enum64: lambda self, made, at: self.enumeration(made, at),
        t.Float: lambda self, made, at: self.floating(made, at),
        t.Var: lambda self, made, at: self.value(made.type, at),
        t.Datasec: lambda self, made, at: self.datasec(made, at),
    }


def is_signed(made: t.Type) -> bool:
    """Is an integer or enum of this type signed?"""
    return isinstance(made, t.Int | t.AnyEnum) and made.signed
