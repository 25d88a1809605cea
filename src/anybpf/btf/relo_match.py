"""Which types CO-RE takes for each other: three rules of growing strictness (relo_core.c).

`same_field`: a field may stand for another. `compatible`: two types agree in kind and shape
(type_exists). `Matcher`: the target has at least what the object's type has (type_matches).
The object's type comes first, the target's second. All ids may be of typedefs.
"""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.btf.relo_spec import COMPOSITE, bad, compatible_kinds, essential_name

#: how deep types may refer to each other
MAX_DEPTH = 32
#: pairs of types that one comparison may look at: a BTF made to hurt could ask for any number
MAX_PAIRS = 100_000

NAMED = frozenset({uapi.BTF_KIND_FWD, uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64})


def same_name(one: str, other: str) -> bool:
    """Equal names but for their flavours."""
    return one == other or essential_name(one) == essential_name(other)


def same_field(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """May a field of the second type be accessed where the first one is meant?"""
    for _ in range(MAX_DEPTH):
        local_id, target_id = local.resolve(local_id), target.resolve(target_id)
        kinds = local.kind(local_id), target.kind(target_id)
        if COMPOSITE.issuperset(kinds):
            return True
        if not compatible_kinds(*kinds):
            return False
        one, other = local.type(local_id), target.type(target_id)
        if not (isinstance(one, t.Array) and isinstance(other, t.Array)):
            return _same_leaf(one, other)
        local_id, target_id = one.type, other.type
    raise bad("arrays are nested too deeply")


def _same_leaf(one: t.Type, other: t.Type) -> bool:
    if one.kind in NAMED:
        return not one.name or not other.name or same_name(one.name, other.name)
    return _plain_ints(one, other) or isinstance(one, t.Ptr | t.Float)


def _plain_ints(one: t.Type, other: t.Type) -> bool:
    """Integers of any size will do, but for the bitfield-like ones of old compilers."""
    return (isinstance(one, t.Int) and isinstance(other, t.Int)
            and not one.offset and not other.offset)


# type_exists

#: kinds that are compatible as soon as they are equal
ALIKE = frozenset({uapi.BTF_KIND_UNKN, uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION,
                   uapi.BTF_KIND_ENUM, uapi.BTF_KIND_FWD, uapi.BTF_KIND_ENUM64})


def compatible(local: Btf, local_id: int, target: Btf, target_id: int,
               level: int = MAX_DEPTH, known: set[tuple[int, int, int]] | None = None) -> bool:
    """Are both of one kind, through pointers, arrays and functions?

    `known` are pairs of parameters, with their level, that are so.
    """
    known = set() if known is None else known
    if not compatible_kinds(local.kind(local_id), target.kind(target_id)):
        return False
    for _ in range(MAX_DEPTH):
        local_id, target_id = local.resolve(local_id), target.resolve(target_id)
        if not compatible_kinds(local.kind(local_id), target.kind(target_id)):
            return False
        one, other = local.type(local_id), target.type(target_id)
        if one.kind in ALIKE:
            return True
        if isinstance(one, t.FuncProto) and isinstance(other, t.FuncProto):
            if not _compatible_params(local, one, target, other, level, known):
                return False
            local_id, target_id = local.resolve(one.type), target.resolve(other.type)
        elif isinstance(one, t.Ptr | t.Array) and isinstance(other, t.Ptr | t.Array):
            local_id, target_id = one.type, other.type
        else:
            return _plain_ints(one, other)
    raise bad("types are nested too deeply")


def _compatible_params(local: Btf, one: t.FuncProto, target: Btf, other: t.FuncProto,
                       level: int, known: set[tuple[int, int, int]]) -> bool:
    if len(one.params) != len(other.params):
        return False
    if one.params and level <= 0:
        raise bad("functions are nested too deeply")
    for a, b in zip(one.params, other.params, strict=True):
        pair = local.resolve(a.type), target.resolve(b.type), level
        if pair not in known:
            if not compatible(local, pair[0], target, pair[1], level - 1, known):
                return False
            known.add(pair)
    return True


# type_matches

class Matcher:
    """Compares types of one BTF with those of another, each pair once."""

    def __init__(self, local: Btf, target: Btf) -> None:
        self.local, self.target = local, target
        self._known: dict[tuple[int, int, bool, int], bool] = {}

    def __call__(self, local_id: int, target_id: int) -> bool:
        """Has the target type all that the object's has? CoreError if that is too deep to say."""
        return self._match(local_id, target_id, False, MAX_DEPTH)

    def _match(self, local_id: int, target_id: int, behind: bool, level: int) -> bool:
        """`behind` a pointer a struct's name is enough."""
        key = (local_id, target_id, behind, level)
        known = self._known.get(key)
        if known is None:
            if level <= 0 or len(self._known) > MAX_PAIRS:
                raise bad("types are nested too deeply")
            known = self._known[key] = self._compare(*key)
        return known

    def _compare(self, local_id: int, target_id: int, behind: bool, level: int) -> bool:
        for _ in range(MAX_DEPTH):
            local_id, target_id = self.local.resolve(local_id), self.target.resolve(target_id)
            one, other = self.local.type(local_id), self.target.type(target_id)
            if not same_name(_name(one), _name(other)):
                return False
            step = self._step(one, other, behind, level)
            if isinstance(step, bool):
                return step
            local_id, target_id = step
            behind = behind or isinstance(one, t.Ptr)
        raise bad("types are nested too deeply")

    def _step(self, one: t.Type, other: t.Type, behind: bool,
              level: int) -> bool | tuple[int, int]:
        """A verdict, or the pair of types that decides."""
        if isinstance(one, t.Ptr) and isinstance(other, t.Ptr):
            return one.type, other.type
        if isinstance(one, t.Array) and isinstance(other, t.Array):
            return (one.type, other.type) if one.nelems == other.nelems else False
        if isinstance(one, t.FuncProto) and isinstance(other, t.FuncProto):
            same = self._params(one, other, behind, level)
            return (one.type, other.type) if same else False
        if isinstance(one, t.Composite):
            return self._composite(one, other, behind, level)
        return _same_end(one, other, behind)

    def _params(self, one: t.FuncProto, other: t.FuncProto, behind: bool, level: int) -> bool:
        if len(one.params) != len(other.params):
            return False
        return all(self._match(a.type, b.type, behind, level - 1)
                   for a, b in zip(one.params, other.params, strict=True))

    def _composite(self, one: t.Composite, other: t.Type, behind: bool, level: int) -> bool:
        if behind and isinstance(other, t.Fwd):
            return other.is_union == isinstance(one, t.Union)
        if behind or one.kind != other.kind or not isinstance(other, t.Composite):
            return behind and one.kind == other.kind
        if len(one.members) > len(other.members):
            return False
        return all(self._has_member(m, other, level) for m in one.members)

    def _has_member(self, member: t.Member, other: t.Composite, level: int) -> bool:
        return any(same_name(member.name, m.name)
                   and self._match(member.type, m.type, False, level - 1) for m in other.members)


def _name(found: t.Type) -> str:
    return "" if found.kind == uapi.BTF_KIND_UNKN else found.name


def _same_end(one: t.Type, other: t.Type, behind: bool) -> bool:
    """The verdict on two types that refer to no others."""
    if isinstance(one, t.Fwd):
        return _same_declared(one, other, behind)
    if isinstance(one, t.AnyEnum):
        return isinstance(other, t.AnyEnum) and _same_enum(one, other)
    if isinstance(one, t.Int):
        return (isinstance(other, t.Int) and one.size == other.size
                and one.signed == other.signed)
    return one.kind == other.kind == uapi.BTF_KIND_UNKN


def _same_declared(one: t.Fwd, other: t.Type, behind: bool) -> bool:
    if isinstance(other, t.Fwd):
        return one.is_union == other.is_union
    return behind and isinstance(other, t.Union if one.is_union else t.Struct)


def _same_enum(one: t.AnyEnum, other: t.AnyEnum) -> bool:
    if one.size != other.size or len(one.values) > len(other.values):
        return False
    there = {essential_name(v.name) for v in other.values}
    return all(essential_name(v.name) in there for v in one.values)
