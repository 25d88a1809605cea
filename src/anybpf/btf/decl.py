"""C declarators and definitions of single types (tools/lib/bpf/btf_dump.c).

A declarator reads from the inside out: `int (*f[3])(void)`. BTF is the chain in that order (array,
pointer, function, int), so it is collected first and written from its far end.
"""

from __future__ import annotations

from anybpf.btf import types as t
from anybpf.btf.layout import Layout
from anybpf.btf.parse import SECTION, Btf
from anybpf.errors import LoadError

QUALIFIERS: dict[type[t.Type], str] = {
    t.Volatile: "volatile",
    t.Const: "const",
    t.Restrict: "restrict",
}
#: nested declarators, and pieces of text (these, and some for each type), before the BTF is
#: called endless
MAX_NESTING, FREE_PIECES, PIECES_PER_TYPE = 64, 1 << 16, 64

#: unnamed members between two named ones
MAX_PADS = 1 << 20

Chain = list[int]


class Declarator:
    """Writes declarations of one BTF's types; equal names are told apart as `name___2`."""

    def __init__(self, btf: Btf, layout: Layout) -> None:
        self.btf = btf
        self.layout = layout
        self._tags: dict[str, int] = {}
        self._identifiers: dict[str, int] = {}
        self._resolved: dict[int, str] = {}
        self._depth = 0
        self._pieces = FREE_PIECES + PIECES_PER_TYPE * len(btf)

    # -- names --------------------------------------------------------------------------------

    @staticmethod
    def _unique(name: str, seen: dict[str, int]) -> str:
        count = seen[name] = seen.get(name, 0) + 1
        return name if count == 1 else f"{name}___{count}"

    def _resolve(self, type_id: int, name: str, seen: dict[str, int]) -> str:
        if not name:
            return ""
        if type_id not in self._resolved:
            self._resolved[type_id] = self._unique(name, seen)
        return self._resolved[type_id]

    def identifier(self, type_id: int, name: str) -> str:
        """The name of a typedef."""
        return self._resolve(type_id, name, self._identifiers)

    def tag(self, type_id: int, made: t.Type) -> str:
        """`struct name`, `union name` or `enum name`."""
        bare = isinstance(made, t.Fwd) or (isinstance(made, t.AnyEnum) and not made.values)
        name = made.name if bare else self._resolve(type_id, made.name, self._tags)
        return f"{keyword(made)} {name}".rstrip()

    # -- definitions --------------------------------------------------------------------------

    def enum(self, type_id: int, made: t.AnyEnum, level: int) -> str:
        """An enum with its values."""
        head = self.tag(type_id, made)
        if not made.values:
            return head
        suffix = ""
        if isinstance(made, t.Enum64):
            suffix = "LL" if made.signed else "ULL"
        tabs = "\n" + "\t" * (level + 1)
        names = ((self._unique(v.name, self._identifiers), v.value) for v in made.values)
        body = "".join(f"{tabs}{name} = {value}{suffix}," for name, value in names)
        return f"{head} {{{body}\n{tabs[1:-1]}}}{self._enum_mode(made)}"

    def _enum_mode(self, made: t.AnyEnum) -> str:
        if made.size == 1:
            return " __attribute__((mode(byte)))"
        if made.size == 8 and isinstance(made, t.Enum) and self.btf.pointer_size == 8:
            return " __attribute__((mode(word)))"
        return ""

    def composite(self, type_id: int, made: t.Composite, level: int) -> str:
        """A struct or union with its members and the padding that C would not add by itself."""
        is_struct = isinstance(made, t.Struct)
        packed = is_struct and self.layout.is_packed(made)
        out = [self.tag(type_id, made), " {"]
        end, after_bitfield = 0, False
        for m in made.members:
            stays = m.bitfield_size != 0 and self.layout.fits(m, end)
            align = 1 if packed or stays else self.layout.align_of(m.type)
            in_bitfield = after_bitfield and m.bitfield_size != 0
            out += self._padding(end, m.bit_offset, align, in_bitfield, level + 1)
            out.append(self._member(m, level + 1))
            end = m.bit_offset + (m.bitfield_size or 8 * self._size(m.type))
            after_bitfield = m.bitfield_size != 0
        if is_struct:
            align = self.layout.align_of(type_id)
            out += self._padding(end, made.size * 8, align, False, level + 1)
        if made.members or made.size:
            out.append("\n" + "\t" * level)
        attributes = ", ".join(self.layout.attributes(made))
        out.append(f"}} __attribute__(({attributes}))" if attributes else "}")
        return "".join(out)

    def _member(self, m: t.Member, level: int) -> str:
        width = f": {m.bitfield_size}" if m.bitfield_size else ""
        return "\n" + "\t" * level + self.declare(m.type, m.name, level) + width + ";"

    def _size(self, type_id: int) -> int:
        try:
            return self.btf.size_of(type_id)
        except LoadError:
            return 0

    def _padding(
        self, now: int, then: int, align: int, in_bitfield: bool, level: int
    ) -> list[str]:
        pads = padding(now, then, align, in_bitfield, self.btf.pointer_size * 8)
        self._count(len(pads))
        tabs = "\n" + "\t" * level
        return [f"{tabs}{name}: {bits};" for name, bits in pads]

    def _count(self, pieces: int) -> None:
        self._pieces -= pieces
        if self._pieces < 0:
            raise LoadError("a declaration grows without end", SECTION)

    # -- declarators --------------------------------------------------------------------------

    def declare(self, type_id: int, name: str, level: int = 0) -> str:
        """`name` declared with this type; anonymous structs and enums are written out."""
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise LoadError("declarations are nested too deeply", SECTION)
        text = self._chain(self._collect(type_id), name, level)
        self._depth -= 1
        return text

    def _collect(self, type_id: int) -> Chain:
        """The ids from the declared thing to the type that its declaration begins with."""
        chain = [type_id]
        while type_id:
            made = self.btf.type(type_id)
            if not isinstance(made, t.Ref | t.FuncProto | t.Array | t.TypeTag):
                break
            type_id = made.type
            chain.append(type_id)
            if len(chain) > MAX_NESTING:
                raise LoadError("types are nested too deeply", SECTION)
        return chain

    def _qualifiers(self, chain: Chain) -> str:
        """Take `const` and its like off the end of the chain, to stand before a type's name."""
        out = ""
        while chain and (word := QUALIFIERS.get(type(self.btf.type(chain[-1])))):
            out += word + " "
            chain.pop()
        return out

    def _chain(self, chain: Chain, name: str, level: int) -> str:
        out, after_ptr = "", True
        while chain:
            self._count(1)
            type_id = chain.pop()
            made = self.btf.type(type_id)
            if isinstance(made, t.Array):
                return out + self._array(made, chain, name, level, after_ptr)
            if isinstance(made, t.FuncProto):
                return out + self._function(made, chain, name, level, after_ptr)
            out += self._link(type_id, made, chain, level, after_ptr)
            after_ptr = isinstance(made, t.Ptr)
        return out + named(name, after_ptr)

    def _link(self, type_id: int, made: t.Type, chain: Chain, level: int, after_ptr: bool) -> str:
        """One element of the chain that is neither array nor function."""
        if isinstance(made, t.Ptr):
            return "*" if after_ptr else " *"
        if type(made) in QUALIFIERS:
            return " " + QUALIFIERS[type(made)]
        return self._qualifiers(chain) + self._base(type_id, made, level)

    def _base(self, type_id: int, made: t.Type, level: int) -> str:
        """What a declaration begins with."""
        if isinstance(made, t.Composite):
            return self.tag(type_id, made) if made.name else self.composite(type_id, made, level)
        if isinstance(made, t.AnyEnum):
            return self.tag(type_id, made) if made.name else self.enum(type_id, made, level)
        if isinstance(made, t.Fwd):
            return self.tag(type_id, made)
        if isinstance(made, t.Typedef):
            return self.identifier(type_id, made.name)
        if isinstance(made, t.TypeTag):
            what = made.name if made.kind_flag else f'btf_type_tag("{made.name}")'
            return f" __attribute__(({what}))"
        if isinstance(made, t.Int | t.Float | t.Void):
            return made.name
        raise LoadError(f"{made.kind_name} cannot be declared", SECTION)

    def _array(self, made: t.Array, chain: Chain, name: str, level: int, after_ptr: bool) -> str:
        self._qualifiers(chain)
        if not chain:
            return f"{named(name, after_ptr)}[{made.nelems}]"
        space = " " if name and not after_ptr else ""
        inner_is_array = isinstance(self.btf.type(chain[-1]), t.Array)
        inner = self._chain(chain, name, level)
        return f"{space}{inner if inner_is_array else f'({inner})'}[{made.nelems}]"

    def _function(
        self, made: t.FuncProto, chain: Chain, name: str, level: int, after_ptr: bool
    ) -> str:
        self._qualifiers(chain)
        what = f" ({self._chain(chain, name, level)})" if chain else named(name, after_ptr)
        if not made.params or (len(made.params) == 1 and made.variadic):
            return what + "(void)"
        fixed = made.params[:-1] if made.variadic else made.params
        shown = [self.declare(p.type, p.name, level) for p in fixed]
        return f"{what}({', '.join(shown + ['...'] * made.variadic)})"


def keyword(made: t.Type) -> str:
    """struct, union or enum."""
    if isinstance(made, t.AnyEnum):
        return "enum"
    is_union = made.is_union if isinstance(made, t.Fwd) else isinstance(made, t.Union)
    return "union" if is_union else "struct"


def named(name: str, after_ptr: bool) -> str:
    """The declared name, apart from what stands before it."""
    return name if after_ptr or not name else " " + name


def _up(offset: int, step: int) -> int:
    return -(-offset // step) * step


def padding(
    now: int, then: int, align: int, in_bitfield: bool, long_bits: int
) -> list[tuple[str, int]]:
    """Unnamed bitfields (type, width) that move the layout from bit `now` to bit `then`.

    `align` is the next member's alignment in bytes. Where the compiler gets there by itself nothing
    is needed; `type: 0` forces it to the type's next boundary.
    """
    if now >= then:
        return []
    pads = (("long", long_bits), ("int", 32), ("short", 16), ("char", 8))
    name, width = next((p for p in pads if _up(now, p[1]) <= then), pads[-1])
    start, out = _up(now, width), []
    if now < start <= then:
        if in_bitfield or _needs_mark(now, start, then, align):
            out.append((name, start - now if in_bitfield else 0))
        now = start
    if (then - now) // width > MAX_PADS:
        raise LoadError("a struct has too much padding", SECTION)
    out += [(name, width)] * ((then - now) // width)
    rest = (then - now) % width
    if rest:
        out.append((next(p[0] for p in reversed(pads) if p[1] >= rest), rest))
    return out


def _needs_mark(now: int, start: int, then: int, align: int) -> bool:
    """Would the compiler, left alone, not begin at boundary `start`?"""
    if start == then:
        return _up(now, max(align, 1) * 8) != start
    return then - start <= start - now
