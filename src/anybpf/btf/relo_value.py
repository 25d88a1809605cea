"""The numbers that CO-RE puts into instructions (tools/lib/bpf/relo_core.c, bpf_core_calc_relo).

Each is worked out twice: on the object's own type, which says what the compiler has put into the
instruction, and on the target's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

from anybpf import bits, uapi
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.relo_spec import Spec, refused
from anybpf.errors import LoadError


class Value(NamedTuple):
    """What one side of a record comes to. `size` and `type_id` are those of the field that an
    instruction at this offset accesses, 0 where none is. `certain`: compilers agree on it."""

    number: int
    size: int = 0
    type_id: int = 0
    certain: bool = True


class Answer(NamedTuple):
    """A resolved record. `old` is what the instruction must hold now (if `validate`), `new` what
    it is to hold; `poison`: there is no such thing. `old_size` and `new_size` are the widths of
    the access in bytes; with `bad_size` changing one to the other would change the meaning."""

    local: Spec
    target: Spec | None
    old: int = 0
    new: int = 0
    poison: bool = False
    validate: bool = True
    old_size: int = 0
    new_size: int = 0
    bad_size: bool = False
    origin: str = ""

    @property
    def matched(self) -> bool:
        """The target has what was asked for."""
        return self.target is not None or self.local.kind == rs.TYPE_ID_LOCAL


class Place(NamedTuple):
    """The memory of a field: the bytes to load, and the bits in them (from the struct's start)."""

    type_id: int
    byte: int
    size: int
    bit: int
    bits: int
    is_bitfield: bool


def calculate(local: Spec, target: Spec | None, where: str) -> Answer:
    """The answer of one candidate, or of none. Raises CoreError (EINVAL, E2BIG)."""
    try:
        old = value(local, where)
        new = None if target is None else value(target, where)
    except LoadError as e:
        raise refused(where, e.message) from None
    if new is None:
        return Answer(local, None, old.number, 0, poison=local.kind not in HAS_ZERO,
                      validate=old.certain)
    return Answer(local, target, old.number, new.number, False, old.certain, old.size, new.size,
                  old.size != new.size and not _resizable(local, old, new, target))


#: a missing type or field has an answer here: 0
HAS_ZERO = rs.TYPE_KINDS | {rs.FIELD_EXISTS, rs.ENUMVAL_EXISTS}


def _resizable(local: Spec, old: Value, new: Value, target: Spec | None) -> bool:
    """Zero extension makes pointers and unsigned integers of any width the same."""
    if target is None:
        return True
    one = local.btf.type(local.btf.resolve(old.type_id))
    other = target.btf.type(target.btf.resolve(new.type_id))
    if isinstance(one, t.Int) and isinstance(other, t.Int):
        return uapi.BTF_INT_SIGNED not in (one.encoding, other.encoding)
    return isinstance(one, t.Ptr) and isinstance(other, t.Ptr)


def value(spec: Spec, where: str) -> Value:
    """What a record comes to on one side."""
    if spec.kind in rs.ENUM_KINDS:
        return _enumerator(spec)
    if spec.kind in rs.TYPE_KINDS:
        return _type(spec)
    if spec.kind == rs.FIELD_EXISTS:
        return Value(1)
    return _element(spec, where) if spec.steps[-1].name is None else _field(spec, where)


def _enumerator(spec: Spec) -> Value:
    if spec.kind == rs.ENUMVAL_EXISTS:
        return Value(1)
    step = spec.steps[0]
    found = spec.btf.type(step.type_id)
    assert isinstance(found, t.AnyEnum)
    number = found.values[step.number].value
    if isinstance(found, t.Enum):                    # libbpf reads any 32-bit value as signed
        number = bits.s32(number)
    return Value(number & uapi.U64)


def _type(spec: Spec) -> Value:
    if spec.kind == rs.TYPE_ID_TARGET:               # linking may have changed what is there
        return Value(spec.root, certain=False)
    return Value(spec.btf.size_of(spec.root) if spec.kind == rs.TYPE_SIZE else 1)


def _element(spec: Spec, where: str) -> Value:
    """An element of an array, or the root itself."""
    type_id = spec.steps[-1].type_id
    if spec.kind == rs.FIELD_BYTE_SIZE:
        return Value(spec.btf.size_of(type_id))
    if spec.kind != rs.FIELD_BYTE_OFFSET:
        raise refused(where, f"relo {spec.kind} can't be applied to array access")
    return Value(spec.bit_offset // 8, _access_size(spec, type_id), type_id)


def _access_size(spec: Spec, type_id: int) -> int:
    """Bytes of one load: of an array those of its elements."""
    return spec.btf.size_of(rs.element_type(spec.btf, type_id))


def _field(spec: Spec, where: str) -> Value:
    place = _place(spec, where)
    return FIELD_VALUES[spec.kind](spec, place)


def _place(spec: Spec, where: str) -> Place:
    step = spec.steps[-1]
    member = spec.btf.expect(step.type_id, t.Composite).members[step.number]
    type_id = spec.btf.resolve(member.type)
    size = spec.btf.size_of(type_id)
    if not member.bitfield_size:
        return Place(type_id, spec.bit_offset // 8, size, spec.bit_offset, size * 8, False)
    byte, size = _bitfield_load(spec, size, member.bitfield_size, where)
    return Place(type_id, byte, size, spec.bit_offset, member.bitfield_size, True)


def _bitfield_load(spec: Spec, size: int, width: int, where: str) -> tuple[int, int]:
    """(offset, size) of the smallest aligned load, no smaller than the type, of all bits."""
    if not size:
        raise refused(where, "bitfield of a type without size")
    while True:
        byte = spec.bit_offset // 8 // size * size
        if spec.bit_offset + width <= (byte + size) * 8:
            return byte, size
        if size >= 8:
            raise refused(where, f"relo {spec.kind} can't be satisfied for bitfield", errno.E2BIG)
        size *= 2


def _byte_offset(spec: Spec, place: Place) -> Value:
    if place.is_bitfield:
        return Value(place.byte, certain=False)
    return Value(place.byte, _access_size(spec, place.type_id), place.type_id)


def _byte_size(spec: Spec, place: Place) -> Value:
    return Value(place.size, certain=not place.is_bitfield)


def _signed(spec: Spec, place: Place) -> Value:
    found = spec.btf.type(place.type_id)
    return Value(int(isinstance(found, t.Int | t.AnyEnum) and found.signed))


def _lshift(spec: Spec, place: Place) -> Value:
    before = place.bit - place.byte * 8
    if spec.btf.byteorder == "little":
        shift = 64 - (before + place.bits)
    else:
        shift = (8 - place.size) * 8 + before
    return Value(shift & uapi.U32, certain=not place.is_bitfield)


def _rshift(spec: Spec, place: Place) -> Value:
    return Value(64 - place.bits & uapi.U32)


FIELD_VALUES: dict[int, Callable[[Spec, Place], Value]] = {
    rs.FIELD_BYTE_OFFSET: _byte_offset,
    rs.FIELD_BYTE_SIZE: _byte_size,
    rs.FIELD_SIGNED: _signed,
    rs.FIELD_LSHIFT_U64: _lshift,
    rs.FIELD_RSHIFT_U64: _rshift,
}
