"""Split BTF that outlives its base (tools/lib/bpf/btf_relocate.c).

A module's BTF refers to that of the very vmlinux that it was built with. *Distilling* keeps of that
base what the module needs, structs and enums by name and size only; everything nameless moves into
the split BTF. *Relocating* finds these names in another base and renumbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.graph import references, relink
from anybpf.btf.parse import MAX_DEPTH, SECTION, Btf
from anybpf.errors import LoadError

BASE_SECTION = ".BTF.base"
#: what may stand in a distilled base
DISTILLED = t.Int | t.Float | t.Fwd | t.Composite | t.AnyEnum
#: what declarations and modules' types do not refer to in a base
UNEXPECTED = t.Func | t.Var | t.Datasec | t.DeclTag


class Distilled(NamedTuple):
    """A small base, and the split BTF on top of it."""

    base: Btf
    split: Btf


# -- distilling -----------------------------------------------------------------------------------


def distill(btf: Btf) -> Distilled:
    """The same types as in split BTF `btf`, on a base of only what they refer to.

    Raises ValueError if `btf` has no base, LoadError for references that no type has.
    """
    if btf.base is None:
        raise ValueError("only split BTF can be distilled")
    needed = sorted(_needed(btf))
    named = [i for i in needed if _stays(btf.type(i))]
    base = BtfBuilder(btf.byteorder)
    ids = {0: 0} | {i: base.add(_outline(btf.type(i))) for i in named}
    made = base.build()
    moved = [i for i in needed if i not in ids]
    ids |= {old: new for new, old in enumerate([*btf.ids(), *moved], len(made))}
    split = BtfBuilder(btf.byteorder, made)
    for type_id in (*btf.ids(), *moved):
        split.add(relink(btf.type(type_id), ids.__getitem__))
    return Distilled(made, split.build())


def _needed(btf: Btf) -> set[int]:
    """The types of the base that are referred to, except from inside structs with a name."""
    found: set[int] = set()
    waiting = list(btf.ids())
    while waiting:
        type_id = waiting.pop()
        for one in references(btf.type(type_id)):
            if not one or one >= btf.start_id or one in found:
                _check_exists(btf, type_id, one)
                continue
            found.add(one)
            made = btf.type(one)
            if isinstance(made, UNEXPECTED):
                what = f"unexpected reference to base type {one} of kind {made.kind_name}"
                raise LoadError(what, SECTION, btf.offset_of(type_id))
            if not (isinstance(made, t.Composite) and made.name):
                waiting.append(one)
    return found


def _check_exists(btf: Btf, type_id: int, target: int) -> None:
    if target >= len(btf):
        raise LoadError(f"type id {target} does not exist", SECTION, btf.offset_of(type_id))


def _stays(made: t.Type) -> bool:
    """Does a needed type stay in the base, because it can be found by name?"""
    return isinstance(made, t.Int | t.Float | t.Fwd) or (
        isinstance(made, t.Composite | t.AnyEnum) and bool(made.name)
    )


def _outline(made: t.Type) -> t.Type:
    """A struct, union or enum without what is in it."""
    if isinstance(made, t.Composite):
        return type(made)(made.name, made.size)
    if isinstance(made, t.AnyEnum):
        return t.Enum(made.name, made.size)
    return made


# -- relocating -----------------------------------------------------------------------------------


def relocate(split: Btf, base: Btf) -> Btf:
    """Split BTF on a distilled base, as split BTF on `base`.

    Raises LoadError naming the type if the base has none of that name (and size, where that
    matters) or two that cannot be told apart; ValueError if `split` has no base of its own.
    """
    distilled = split.base
    if distilled is None or distilled.base is not None:
        raise ValueError("only BTF on a distilled base can be relocated")
    places = _places(split, distilled, base)
    shift = len(base) - len(distilled)
    builder = BtfBuilder(split.byteorder, base)
    for type_id, made in split.types():
        for one in references(made):
            _check_exists(split, type_id, one)
        builder.add(relink(made, lambda i: places[i] if i < split.start_id else i + shift))
    return builder.build()


def _places(split: Btf, distilled: Btf, base: Btf) -> list[int]:
    """For each id of the distilled base the one in `base`."""
    embedded = set(_embedded(split))
    rivals = Counter(
        base.type(i).name for i in _candidates(base, distilled) if _is_composite(base, i)
    )
    places = [0] * len(distilled)
    for type_id, made in distilled.types():
        if not isinstance(made, DISTILLED) or not made.name:
            what = f"a distilled base holds no {made.kind_name} '{made.name}'"
            raise LoadError(what, BASE_SECTION, distilled.offset_of(type_id))
        by_size = type_id in embedded or rivals[made.name] > 1
        found = [i for i in base.find_all(made.name) if matches(made, base.type(i), by_size)]
        if len(found) != 1:
            raise LoadError(_miss(made, type_id, found), BASE_SECTION, distilled.offset_of(type_id))
        places[type_id] = found[0]
    return places


def _candidates(base: Btf, distilled: Btf) -> Iterator[int]:
    names = {made.name for _, made in distilled.types()}
    return (i for name in names for i in base.find_all(name))


def _is_composite(btf: Btf, type_id: int) -> bool:
    return isinstance(btf.type(type_id), t.Composite)


def _miss(made: t.Type, type_id: int, found: list[int]) -> str:
    what = f"distilled base BTF type '{made.name}' [{type_id}]"
    if not found:
        return f"{what} is not mapped to base BTF id"
    size = getattr(made, "size", 0)
    first, second = found[:2]
    return (
        f"{what}, size {size} has multiple candidates of the same size (ids [{first}, {second}]) "
        "in base BTF"
    )


def _embedded(split: Btf) -> Iterator[int]:
    """The structs of the base that structs of the split BTF contain: their size must stay."""
    for _, made in split.types():
        if not isinstance(made, t.Composite):
            continue
        for member in made.members:
            inner = _element(split, member.type)
            if inner < split.start_id and _is_composite(split, inner):
                yield inner


def _element(btf: Btf, type_id: int) -> int:
    """The id behind modifiers, typedefs and arrays."""
    for _ in range(MAX_DEPTH):
        type_id = btf.resolve(type_id)
        made = btf.type(type_id)
        if not isinstance(made, t.Array):
            return type_id
        type_id = made.type
    raise LoadError("types are nested too deeply", SECTION, btf.offset_of(type_id))


def matches(distilled: t.Type, real: t.Type, by_size: bool) -> bool:
    """Is `real`, which has the same name, what was distilled? Of structs the size may not count."""
    if isinstance(distilled, t.Fwd):
        return _is_declared(distilled, real)
    if isinstance(distilled, t.AnyEnum):
        return isinstance(real, t.AnyEnum) and real.size == distilled.size
    if isinstance(distilled, t.Int):
        same = isinstance(real, t.Int) and real.encoding == distilled.encoding
        return same and isinstance(real, t.Int) and real.size == distilled.size
    if isinstance(distilled, t.Float):
        return real == distilled
    assert isinstance(distilled, t.Composite)
    if not isinstance(real, t.Composite) or real.kind != distilled.kind:
        return False
    return not by_size or real.size == distilled.size


def _is_declared(declaration: t.Fwd, real: t.Type) -> bool:
    if isinstance(real, t.Fwd):
        return real.is_union == declaration.is_union
    return isinstance(real, t.Union if declaration.is_union else t.Struct)
