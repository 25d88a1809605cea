"""Which CO-RE records need no target BTF (tools/lib/bpf/relo_core.c).

A record asks what the target kernel's type looks like. For the structs of the kernel's user ABI
the answer is known without asking; if the compiler's own layout is that one, the instruction is
right as it stands.
"""

from __future__ import annotations

from anybpf import uapi_structs
from anybpf.btf import types as t
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_spec import (
    FIELD_BYTE_OFFSET,
    FIELD_EXISTS,
    TYPE_EXISTS,
    TYPE_ID_LOCAL,
    TYPE_SIZE,
    essential_name,
)
from anybpf.errors import LoadError

STABLE_KINDS = frozenset({FIELD_BYTE_OFFSET, FIELD_EXISTS, TYPE_EXISTS, TYPE_SIZE})


def is_settled(btf: Btf, relo: CoreRelo) -> bool:
    """The instruction already holds what any kernel would answer."""
    if relo.kind == TYPE_ID_LOCAL:
        return True
    if relo.kind not in STABLE_KINDS:
        return False
    found = btf.type(btf.resolve(relo.type_id))
    layout = uapi_structs.STRUCTS.get(essential_name(found.name))
    if layout is None or not isinstance(found, t.Struct):
        return False
    if relo.kind in (TYPE_EXISTS, TYPE_SIZE):
        return relo.kind == TYPE_EXISTS or found.size == layout.size
    return _same_place(btf, found, layout, btf.string(relo.access_str_off))


def _same_place(btf: Btf, found: t.Struct, layout: uapi_structs.Struct, access: str) -> bool:
    """The member that `0:2:...` leads to first lies where the user ABI has it."""
    path = access.split(":")
    if len(path) < 2 or path[0] != "0" or not all(p.isdecimal() for p in path):
        return False
    index = int(path[1])
    if index >= len(found.members):
        return False
    member = found.members[index]
    if not member.name and len(path) > 2:             # __bpf_md_ptr: a union of one pointer
        member = _inside_union(btf, member, int(path[2]))
    return not member.bitfield_size and any(
        m.name == member.name and m.offset == member.offset for m in layout.members)


def _inside_union(btf: Btf, member: t.Member, index: int) -> t.Member:
    inner = btf.type(btf.resolve(member.type))
    if not isinstance(inner, t.Composite) or index >= len(inner.members):
        raise LoadError("CO-RE access string leads nowhere", ".BTF.ext")
    chosen = inner.members[index]
    return chosen._replace(bit_offset=chosen.bit_offset + member.bit_offset)
