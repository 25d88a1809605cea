"""Stores into structs of the kernel's (btf_struct_access of bpf_verifier_ops; rows in proto)."""

from __future__ import annotations

from errno import EACCES

from anybpf.btf import types as t
from anybpf.btf import values
from anybpf.btf.parse import Btf
from anybpf.proto.writes import BY_TYPE, Place, Writes
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject


def check(env: Env, btf: Btf, type_id: int, off: int, size: int) -> None:
    """The program may write `size` bytes at `off` of the struct."""
    writes = env.target.ops.writes if env.target is not None and env.target.ops is not None \
        else BY_TYPE.get(env.facts.type)
    struct = btf.type(type_id)
    if writes is None or not isinstance(struct, t.Struct):
        raise env.reject(EACCES, "only read is supported")
    text, end = _refusal(btf, writes, struct, off, size)
    if text is None:
        return
    told = text.format(struct=struct.name, off=off, size=size, end=end)
    raise Reject(EACCES, told, env.idx, end="\n" if told else "")


def _refusal(btf: Btf, writes: Writes, struct: t.Struct, off: int,
             size: int) -> tuple[str | None, int]:
    """Why not, and where the member that is meant ends; None: it may be written."""
    texts, places = writes.texts, writes.structs.get(struct.name)
    if places is None:
        return texts.other, 0
    if texts.outside and off + size > struct.size:
        return texts.outside, struct.size
    if not places:
        return (None if off + size <= struct.size else texts.beyond), struct.size
    for place in places:
        start, end = _range(btf, struct, place)
        if off == start or (place.inside and start <= off < end):
            return (None if off + size <= end else texts.beyond), end
    return texts.field, 0


def _range(btf: Btf, struct: t.Struct, place: Place) -> tuple[int, int]:
    start, size = _member_at(btf, struct, place.path)
    if place.holds:
        name, _, path = place.holds.partition(".")
        held = btf.expect(btf.find(name, t.Struct.kind), t.Struct)
        inner, size = _member_at(btf, held, path)
        start += inner
    return start, start + size - place.short


def _member_at(btf: Btf, struct: t.Composite, path: str) -> tuple[int, int]:
    """Where the member of this path lies, and its size; -1 and 0 where there is none."""
    at, made = 0, struct
    size = 0
    for name in path.split("."):
        if name not in (known := values.members(btf, made)):
            return -1, 0
        found, bit = known[name]
        at, size = at + (bit + found.bit_offset) // 8, btf.size_of(found.type)
        inner = btf.type(btf.resolve(found.type))
        made = inner if isinstance(inner, t.Composite) else t.Struct("", 0)
    return at, size
