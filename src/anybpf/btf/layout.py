"""How a C compiler lays types out: alignment and packing, guessed from BTF (tools/lib/bpf/btf.c).

BTF states offsets and sizes but no alignment and no `packed`. Both follow from the natural
alignment of the members: a struct that breaks it must have been packed.
"""

from __future__ import annotations

from anybpf.btf import types as t
from anybpf.btf.parse import MAX_DEPTH, SECTION, Btf
from anybpf.errors import LoadError


class Layout:
    """Alignments of one BTF's types, each worked out once."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._known: dict[int, int] = {}

    def align_of(self, type_id: int, depth: int = 0) -> int:
        """Bytes that a value of this type is aligned to; 0 for what has no values."""
        known = self._known.get(type_id)
        if known is None:
            if depth > MAX_DEPTH:
                raise LoadError("types are nested too deeply", SECTION)
            known = self._known[type_id] = self._align(type_id, depth + 1)
        return known

    def _align(self, type_id: int, depth: int) -> int:
        made = self.btf.type(self.btf.resolve(type_id))
        if isinstance(made, t.Composite):
            natural = self._natural(made, depth)
            return 1 if self._breaks(made, natural, depth) else natural
        if isinstance(made, t.Array):
            return self.align_of(made.type, depth)
        if isinstance(made, t.Ptr):
            return self.btf.pointer_size
        if isinstance(made, t.Int | t.AnyEnum | t.Float):
            return min(self.btf.pointer_size, made.size)
        return 0

    def _natural(self, made: t.Composite, depth: int) -> int:
        """The strictest alignment among the members."""
        return max((self.align_of(m.type, depth) for m in made.members), default=1) or 1

    def _breaks(self, made: t.Composite, natural: int, depth: int) -> bool:
        """Is a member or the end somewhere that natural alignment would not put it?"""
        for m in made.members:
            align = self.align_of(m.type, depth)
            if align and not m.bitfield_size and m.bit_offset % (8 * align):
                return True
        return made.size % natural != 0

    def is_packed(self, made: t.Composite) -> bool:
        """Must this struct have been declared packed?"""
        return self._breaks(made, self._natural(made, 1), 1)
