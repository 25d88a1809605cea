"""How a C compiler lays types out: alignment and packing, guessed from BTF (tools/lib/bpf/btf.c).

BTF states offsets and sizes but no alignment and no `packed`. Both follow from the natural
alignment of the members: a struct that breaks it must have been packed, a union that is larger than
its members must have been `aligned`. (A struct's end can be padded, where libbpf does so.)
"""

from __future__ import annotations

from anybpf.btf import types as t
from anybpf.btf.parse import MAX_DEPTH, SECTION, Btf
from anybpf.errors import LoadError

#: the largest alignment that is tried, as a power of two
MAX_ALIGN_SHIFT = 12


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
            known = 1 if self._breaks(made, natural, depth) else natural
            return max(known, self._union_align(made, known))
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
            if m.bitfield_size and not self.fits(m, m.bit_offset):
                return True
        return made.size % natural != 0

    def fits(self, bitfield: t.Member, at: int) -> bool:
        """Does a bitfield that begins at bit `at` stay within one unit of its type?"""
        unit = self._extent(bitfield._replace(bitfield_size=0))
        return not unit or at % unit + bitfield.bitfield_size <= unit

    def _union_align(self, made: t.Composite, natural: int) -> int:
        """What a union must have been `aligned` to, to have its size; 0 if nothing."""
        if not isinstance(made, t.Union):
            return 0
        bits = max((self._extent(m) for m in made.members), default=0)
        least = -(-bits // 8)
        if -(-least // natural) * natural >= made.size:
            return 0
        steps = (1 << i for i in range(natural.bit_length(), MAX_ALIGN_SHIFT + 1))
        return next((n for n in steps if -(-least // n) * n == made.size), 0)

    def _extent(self, member: t.Member) -> int:
        """How many bits a union's member takes."""
        try:
            return member.bitfield_size or 8 * self.btf.size_of(member.type)
        except LoadError:
            return 0

    def attributes(self, made: t.Composite) -> list[str]:
        """What must stand in the `__attribute__` of this struct or union."""
        packed = self.is_packed(made)
        aligned = self._union_align(made, 1 if packed else self._natural(made, 1))
        return ["packed"] * packed + ([f"aligned({aligned})"] if aligned else [])

    def is_packed(self, made: t.Composite) -> bool:
        """Must this struct have been declared packed?"""
        return self._breaks(made, self._natural(made, 1), 1)
