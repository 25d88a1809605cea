"""Values by their BTF type: bytes to Python objects and back (tools/bpf/bpftool/btf_dumper.c).

==================  ==========================================================================
C                   Python
==================  ==========================================================================
integers, pointers  int (any width; `_Bool` is bool)
enums               EnumNumber, an int that knows its name; encode takes the name or a number
char arrays         str if they hold NUL-padded printable UTF-8, else bytes
u8 arrays           bytes; encode also takes a list of numbers
other arrays        list
structs, unions     dict; members of anonymous structs and unions appear in their parent
float, double       float; wider ones are bytes
data sections       dict of variables
==================  ==========================================================================

Encoding also takes raw bytes of the right size anywhere, short arrays and missing members (zero),
numbers as text ("0x10"), and bpftool's form of anonymous members (`{"": {...}}`).
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Mapping, Sequence

from anybpf.btf import types as t
from anybpf.btf.format import format_value, json_value
from anybpf.btf.parse import MAX_DEPTH, Btf
from anybpf.btf.walk import FLOATS, Walker, is_signed, is_text, member_field, shift_of, span
from anybpf.errors import LoadError

__all__ = ["EnumNumber", "ValueMismatch", "decode", "encode", "format_value", "json_value"]


#: bytes of the largest value that is encoded, and how many members of nested anonymous structs
MAX_SIZE, MAX_MEMBERS = 1 << 26, 1 << 18


class ValueMismatch(ValueError):
    """A Python object does not fit its BTF type; `path` says where, as `flags.list[3]`."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}" if path else message)


class EnumNumber(int):
    """An enum's value: an int in every way, with the enumerator's `name` ("" if none has it)."""

    name: str

    def __new__(cls, value: int, name: str = "") -> EnumNumber:
        made = super().__new__(cls, value)
        made.name = name
        return made

    def __str__(self) -> str:
        return self.name or int.__repr__(self)

    def __reduce__(self) -> tuple[type[EnumNumber], tuple[int, str]]:
        return EnumNumber, (int(self), self.name)


def decode(btf: Btf, type_id: int, data: bytes) -> object:
    """The Python object for the value of type `type_id` at the start of `data`.

    Raises LoadError if `data` is shorter than the type, or the type has no values.
    """
    return Decoder(btf, bytes(data)).value(type_id)


class Decoder(Walker):
    """Leaves as Python objects."""

    def put(self, fields: dict[str, object], name: str, value: object) -> None:
        if name or not isinstance(value, dict):
            fields[name] = value
        else:
            fields.update(value)

    def ints(self, element: t.Int, raw: bytes) -> object:
        if is_text(element):
            return text_or_bytes(raw)
        if element.size == 1 and not element.signed:
            return raw
        return list(self.unpack(element, raw))

    def int_leaf(self, made: t.Int, value: int) -> object:
        return bool(value) if made.is_bool else value

    def enum_leaf(self, made: t.AnyEnum, value: int) -> object:
        return EnumNumber(value, made.name_of(value) or "")

    def bitfield(self, made: t.Type, value: int, width: int) -> object:
        if isinstance(made, t.AnyEnum):
            return self.enum_leaf(made, value)
        return self.int_leaf(made, value) if isinstance(made, t.Int) else value


def text_or_bytes(raw: bytes) -> str | bytes:
    """A char array as text, if encoding that text gives the same bytes again."""
    body = raw.rstrip(b"\0")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return raw
    return text if "\0" not in text and text.replace("\n", " ").isprintable() else raw


# -- encoding -------------------------------------------------------------------------------------


def encode(btf: Btf, type_id: int, value: object) -> bytes:
    """The bytes of `value` as type `type_id`; as many as `btf.size_of(type_id)`.

    Raises ValueMismatch (with the path of the offending part) if the object does not fit, and
    LoadError if the type itself is broken or has no values.
    """
    size = btf.size_of(type_id)
    if size > MAX_SIZE:
        raise LoadError(f"type {type_id} has {size} bytes, too many for a value")
    room = bytearray(size)
    Encoder(btf, room).put(type_id, value, 0, "")
    return bytes(room)


class Encoder:
    """One value on its way into `room`, which is zero to begin with."""

    def __init__(self, btf: Btf, room: bytearray) -> None:
        self.btf = btf
        self.room = room
        self._depth = 0

    def put(self, type_id: int, value: object, at: int, path: str) -> None:
        """Write `value` at byte `at`."""
        type_id = self.btf.resolve(type_id)
        made = self.btf.type(type_id)
        if isinstance(made, t.Var):
            return self.put(made.type, value, at, path)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._raw(type_id, bytes(value), at, path)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LoadError("types are nested too deeply")
        method = ENCODE.get(type(made))
        if method is None:
            raise LoadError(f"there is no value of type {type_id} ({made.kind_name})")
        method(self, made, value, at, path)
        self._depth -= 1
        return None

    def store(self, at: int, raw: bytes) -> None:
        if at + len(raw) > len(self.room):
            raise LoadError(f"type reaches beyond its size of {len(self.room)} bytes")
        self.room[at : at + len(raw)] = raw

    def _raw(self, type_id: int, raw: bytes, at: int, path: str) -> None:
        made, size = self.btf.type(type_id), self.btf.size_of(type_id)
        short = isinstance(made, t.Array) and len(raw) < size
        if len(raw) != size and not short:
            raise ValueMismatch(path, f"takes {size} bytes, not {len(raw)}")
        self.store(at, raw)

    def bits(self, bit: int, width: int, value: int) -> None:
        """Write the low `width` bits of `value` at bit `bit`."""
        first, nbytes = span(bit, width)
        if first + nbytes > len(self.room):
            raise LoadError(f"bitfield reaches beyond the {len(self.room)} bytes of its type")
        order = self.btf.byteorder
        shift = shift_of(bit, width, nbytes, order)
        mask = (1 << width) - 1 << shift
        whole = int.from_bytes(self.room[first : first + nbytes], order)
        whole = whole & ~mask | value << shift & mask
        self.store(first, whole.to_bytes(nbytes, order))

    def number(self, at: int, size: int, value: int) -> None:
        mask = (1 << size * 8) - 1
        self.store(at, (value & mask).to_bytes(size, self.btf.byteorder))


def _number(made: t.Type, value: object, path: str) -> int:
    """The int that a scalar of this type gets from a Python object."""
    if value is None and isinstance(made, t.Ptr):
        return 0
    if isinstance(value, str):
        return _from_text(made, value, path)
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        what = f"takes a number for {made.kind_name} '{made.name}', not {type(value).__name__}"
        raise ValueMismatch(path, what) from None


def _from_text(made: t.Type, value: str, path: str) -> int:
    named = made.value_of(value) if isinstance(made, t.AnyEnum) else None
    if named is not None:
        return named
    try:
        return int(value, 0)
    except ValueError:
        what = "an enumerator" if isinstance(made, t.AnyEnum) else "a number"
        raise ValueMismatch(path, f"{value!r} is not {what} of '{made.name}'") from None


def _fit(value: int, width: int, signed: bool, path: str) -> int:
    half = 1 << width >> 1
    low, high = (-half, half) if signed else (0, 1 << width)
    if not low <= value < high:
        sign = "signed" if signed else "unsigned"
        raise ValueMismatch(path, f"{value} does not fit {width} {sign} bits")
    return value


def _signed(made: t.Type, value: object, number: int) -> bool:
    """Must the number fit as a signed one? Text, as bpftool's "0x7", may be the plain bits."""
    return is_signed(made) and not (isinstance(value, str) and number >= 0)


def _put_bits(enc: Encoder, made: t.Type, value: object, where: tuple[int, int], path: str) -> None:
    bit, width = where
    number = _number(made, value, path)
    enc.bits(bit, width, _fit(number, width, _signed(made, value, number), path))


def _put_int(enc: Encoder, made: t.Int, value: object, at: int, path: str) -> None:
    if made.bits != made.size * 8 or made.offset:
        return _put_bits(enc, made, value, (at * 8 + made.offset, made.bits), path)
    number = _number(made, value, path)
    width = 1 if made.is_bool else made.bits
    signed = _signed(made, value, number)
    return enc.number(at, made.size, _fit(number, width, signed, path))


def _put_enum(enc: Encoder, made: t.AnyEnum, value: object, at: int, path: str) -> None:
    number = _number(made, value, path)
    enc.number(at, made.size, _fit(number, made.size * 8, number < 0, path))


def _put_pointer(enc: Encoder, made: t.Ptr, value: object, at: int, path: str) -> None:
    size = enc.btf.pointer_size
    enc.number(at, size, _fit(_number(made, value, path), size * 8, False, path))


def _put_float(enc: Encoder, made: t.Float, value: object, at: int, path: str) -> None:
    letter = FLOATS.get(made.size)
    if letter is None or not isinstance(value, int | float):
        need = "a number" if letter else f"{made.size} raw bytes"
        raise ValueMismatch(path, f"takes {need} for '{made.name}', not {type(value).__name__}")
    order = "<" if enc.btf.byteorder == "little" else ">"
    try:
        enc.store(at, struct.pack(order + letter, value))
    except OverflowError:
        raise ValueMismatch(path, f"{value} does not fit '{made.name}'") from None


def _put_array(enc: Encoder, made: t.Array, value: object, at: int, path: str) -> None:
    element = enc.btf.type(enc.btf.resolve(made.type))
    if isinstance(value, str) and isinstance(element, t.Int) and element.size == 1:
        return _put_text(enc, made, value, at, path)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueMismatch(path, f"takes a sequence, not {type(value).__name__}")
    if len(value) > made.nelems:
        raise ValueMismatch(path, f"takes {made.nelems} elements, not {len(value)}")
    size = enc.btf.size_of(made.type) if value else 0
    for i, one in enumerate(value):
        enc.put(made.type, one, at + i * size, f"{path}[{i}]")
    return None


def _put_text(enc: Encoder, made: t.Array, value: str, at: int, path: str) -> None:
    raw = value.encode("utf-8", "surrogateescape")
    if len(raw) > made.nelems:
        raise ValueMismatch(path, f"takes {made.nelems} characters, not {len(raw)}")
    enc.store(at, raw)


def members(btf: Btf, made: t.Composite, bit: int = 0) -> dict[str, tuple[t.Member, int]]:
    """name -> (member, its struct's first bit), with the members of anonymous ones among them."""
    known: dict[str, tuple[t.Member, int]] = {}
    waiting, seen = [(made, bit)], 0
    while waiting:
        struct_, base = waiting.pop()
        seen += 1 + len(struct_.members)
        if seen > MAX_MEMBERS:
            raise LoadError("anonymous members are nested without end")
        for member in struct_.members:
            known.setdefault(member.name, (member, base))
            inner = None if member.name else btf.type(btf.resolve(member.type))
            if isinstance(inner, t.Composite):
                waiting.append((inner, base + member.bit_offset))
    return known


def _put_composite(enc: Encoder, made: t.Composite, value: object, at: int, path: str) -> None:
    if not isinstance(value, Mapping):
        names = ", ".join(m.name for m in made.members if m.name)
        raise ValueMismatch(path, f"'{made.name or 'anonymous'}' takes a mapping of its members "
                                  f"({names}), not {type(value).__name__}")
    known = members(enc.btf, made, at * 8)
    for name in value:
        if name not in known:
            raise ValueMismatch(path, f"'{made.name or 'anonymous'}' has no member '{name}'")
        _put_member(enc, *known[name], value[name], f"{path}.{name}" if path else str(name))


def _put_member(enc: Encoder, member: t.Member, base: int, value: object, path: str) -> None:
    target = enc.btf.type(enc.btf.resolve(member.type))
    bit, width = member_field(member, target)
    if width:
        _put_bits(enc, target, value, (base + bit, width), path)
    else:
        enc.put(member.type, value, (base + bit) // 8, path)


def _put_datasec(enc: Encoder, made: t.Datasec, value: object, at: int, path: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueMismatch(path, f"takes a mapping, not {type(value).__name__}")
    known = {enc.btf.type(v.type).name: v for v in made.vars}
    for name in value:
        if name not in known:
            raise ValueMismatch(path, f"'{made.name}' has no variable '{name}'")
        enc.put(known[name].type, value[name], at + known[name].offset, str(name))


#: class of type -> what writes its values
ENCODE: dict[type[t.Type], Callable[..., None]] = {
    t.Int: _put_int,
    t.Ptr: _put_pointer,
    t.Array: _put_array,
    t.Struct: _put_composite,
    t.Union: _put_composite,
    t.Enum: _put_enum,
    t.Enum64: _put_enum,
    t.Float: _put_float,
    t.Datasec: _put_datasec,
}
