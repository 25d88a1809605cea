"""Special members of a program's own structs (btf_find_struct_meta, kernel/bpf/btf.c)."""

from __future__ import annotations

from functools import lru_cache

from anybpf.btf.fields import LOADED, NODES, BadFields, Field, Finder, parse_fields
from anybpf.btf.parse import Btf


@lru_cache(maxsize=256)
def fields_of(btf: Btf, type_id: int, kernel: Btf | None = None,
              modules: tuple[Btf, ...] = ()) -> tuple[Field, ...]:
    """The special members of a struct, in order; none if it has none."""
    try:
        return tuple(parse_fields(btf, type_id, Finder(btf, LOADED, kernel, modules)))
    except BadFields:
        return ()


def find(btf: Btf, type_id: int, name: str, kernel: Btf | None = None) -> Field | None:
    """The struct's member `struct NAME`."""
    return next((one for one in fields_of(btf, type_id, kernel) if one.special.name == name), None)


def has_node(btf: Btf, type_id: int) -> bool:
    """Objects of the struct may be put into lists or trees."""
    return any(one.special.name in NODES for one in fields_of(btf, type_id))
