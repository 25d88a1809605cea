"""BTF types as a graph: references, and all else that a type is (tools/lib/bpf/btf.c).

Every type is its `shape` (kind, name, sizes, offsets: all that is not an id) and its `references`
(all that is), in an order that is the same for equal shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from anybpf.btf import types as t
from anybpf.btf.parse import Btf

Renumber = Callable[[int], int]


def references(made: t.Type) -> list[int]:
    """The ids that a type refers to."""
    if isinstance(made, t.Composite):
        return [m.type for m in made.members]
    if isinstance(made, t.FuncProto):
        return [made.type, *(p.type for p in made.params)]
    if isinstance(made, t.Datasec):
        return [v.type for v in made.vars]
    if isinstance(made, t.Array):
        return [made.index_type, made.type]
    if isinstance(made, t.Ref | t.Typedef | t.TypeTag | t.Func | t.Var | t.DeclTag):
        return [made.type]
    return []


#: kind -> where in a record's words the ids are that it refers to
ID_WORDS = {
    **dict.fromkeys((t.Ptr.kind, t.Typedef.kind, t.Volatile.kind, t.Const.kind, t.Restrict.kind,
                     t.Func.kind, t.Var.kind, t.DeclTag.kind, t.TypeTag.kind), slice(2, 3)),
    t.Array.kind: slice(3, 5),
    t.Struct.kind: slice(4, None, 3),
    t.Union.kind: slice(4, None, 3),
    t.FuncProto.kind: slice(2, None, 2),
    t.Datasec.kind: slice(3, None, 3),
}


def referenced(btf: Btf) -> set[int]:
    """The ids that some type of `btf` (or of its base) refers to, found without decoding any."""
    found = referenced(btf.base) if btf.base else set()
    for type_id in btf.ids():
        words = ID_WORDS.get(btf.kind(type_id))
        if words:
            found.update(btf.record_words(type_id)[words])
    return found


def relink(made: t.Type, renumber: Renumber) -> t.Type:
    """The same type with every id that it refers to replaced."""
    if isinstance(made, t.Composite):
        members = (m._replace(type=renumber(m.type)) for m in made.members)
        return replace(made, members=tuple(members))
    if isinstance(made, t.FuncProto):
        params = (p._replace(type=renumber(p.type)) for p in made.params)
        return replace(made, type=renumber(made.type), params=tuple(params))
    if isinstance(made, t.Datasec):
        return replace(made, vars=tuple(v._replace(type=renumber(v.type)) for v in made.vars))
    if isinstance(made, t.Array):
        index = renumber(made.index_type)
        return replace(made, type=renumber(made.type), index_type=index)
    if isinstance(made, t.Ref | t.Typedef | t.TypeTag | t.Func | t.Var | t.DeclTag):
        return replace(made, type=renumber(made.type))
    return made


def shape(made: t.Type) -> Hashable:
    """Everything about a type but the ids that it refers to."""
    return (made.kind, made.name, *SHAPES.get(type(made), _nothing)(made))


def _nothing(made: t.Type) -> tuple[Hashable, ...]:
    return ()


def _composite(made: t.Composite) -> tuple[Hashable, ...]:
    places = tuple((m.name, m.bit_offset, m.bitfield_size) for m in made.members)
    return made.size, made.kind_flag, places


#: class of type -> its fields that are no ids, behind kind and name
SHAPES: dict[type[t.Type], Callable[..., tuple[Hashable, ...]]] = {
    t.Int: lambda made: (made.size, made.bits, made.offset, made.encoding),
    t.Array: lambda made: (made.nelems,),
    t.Struct: _composite,
    t.Union: _composite,
    t.Enum: lambda made: (made.size, made.signed, made.values),
    t.Enum64: lambda made: (made.size, made.signed, made.values),
    t.Fwd: lambda made: (made.is_union,),
    t.Func: lambda made: (made.linkage,),
    t.FuncProto: lambda made: tuple(p.name for p in made.params),
    t.Var: lambda made: (made.linkage,),
    t.Datasec: lambda made: (made.size, tuple((v.offset, v.size) for v in made.vars)),
    t.Float: lambda made: (made.size,),
    t.DeclTag: lambda made: (made.component, made.kind_flag),
    t.TypeTag: lambda made: (made.kind_flag,),
}
