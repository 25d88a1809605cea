"""Merging equal BTF types (tools/lib/bpf/btf.c: btf__dedup).

Many compilation units bring the same types again, some only declared where others define. Four
passes find for each type its canonical twin: plain types by their shape; structs by comparing the
graphs below them, on the hypothesis that what is met along the way is equal as well; forward
declarations by a unique name; everything that refers to others by shape and canonical references.
What is its own twin stays, in the old order.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder, record
from anybpf.btf.ext import SECTION as EXT_SECTION
from anybpf.btf.ext import BtfExt
from anybpf.btf.graph import Renumber, references, relink, shape
from anybpf.btf.parse import SECTION, Btf
from anybpf.errors import LoadError

#: pairs of types compared (these, and so many for each type) before the BTF is called hostile
FREE_STEPS, STEPS_PER_TYPE = 1 << 16, 4096
#: how far below a struct two of them are told apart before they are compared
SKETCH_DEPTH = 3
#: how deep types that a compiler has made twice are compared for being the same
MAX_SAME_DEPTH = 16

PLAIN = t.Int | t.Float | t.Fwd
UNMERGED = t.Var | t.Datasec
#: the kinds that are equal if shape and canonical references are
REFERRING = t.Ref | t.Typedef | t.TypeTag | t.Func | t.FuncProto | t.Array | t.DeclTag


class Merged(NamedTuple):
    """The merged BTF, for each old id the new one, and the .BTF.ext that belongs to it."""

    btf: Btf
    ids: list[int]
    ext: BtfExt | None = None


def dedup(btf: Btf, ext: BtfExt | None = None) -> Merged:
    """Merge equal types of `btf`, its own with each other and with those of its base.

    `ext` is the .BTF.ext that refers to it. Raises LoadError for ids that do not exist, and for a
    circle that no struct interrupts.
    """
    return Dedup(btf).run(ext)


class Dedup:
    """The state of one merge: `canon` says for each id its twin, None while unknown."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.types = [btf.type(i) for i in range(len(btf))]
        self._check_references()
        self.shapes = [shape(one) for one in self.types]
        self.canon: list[int | None] = [None] * len(btf)
        self.steps = FREE_STEPS + STEPS_PER_TYPE * len(btf)
        self._by_shape: dict[Hashable, list[int]] = {}
        self._by_sketch: dict[int, list[int]] = {}
        self._sketches: tuple[dict[int, int], ...] = tuple({} for _ in range(SKETCH_DEPTH))
        self._enums: dict[str, list[int]] = {}
        self._by_refs: dict[Hashable, int] = {}
        self._keep_base()

    def _check_references(self) -> None:
        for type_id in self.btf.ids():
            for one in references(self.types[type_id]):
                if one >= len(self.types):
                    where = self.btf.offset_of(type_id)
                    raise LoadError(f"type id {one} does not exist", SECTION, where)

    def _keep_base(self) -> None:
        """Void and the types of the base are their own twins, and others' candidates."""
        for type_id in range(self.btf.start_id):
            self.canon[type_id] = type_id
            made = self.types[type_id]
            if isinstance(made, t.AnyEnum):
                self._enums.setdefault(made.name, []).append(type_id)
            elif isinstance(made, REFERRING):
                self._by_refs.setdefault((self.shapes[type_id], *references(made)), type_id)
            elif isinstance(made, t.Composite):
                self._by_sketch.setdefault(self._struct_sketch(type_id), []).append(type_id)
            else:
                self._by_shape.setdefault(self.shapes[type_id], []).append(type_id)

    def run(self, ext: BtfExt | None = None) -> Merged:
        """All passes in order, then the new blob."""
        for type_id in self.btf.ids():
            self._plain(type_id)
        for type_id in self.btf.ids():
            self._struct(type_id)
        self._resolve_forwards()
        for type_id in self.btf.ids():
            self._referring(type_id)
        return self._compact(ext)

    def find(self, type_id: int) -> int:
        """The twin of a twin's twin: as far as it is known."""
        while (twin := self.canon[type_id]) is not None and twin != type_id:
            type_id = twin
        return type_id

    # -- plain types --------------------------------------------------------------------------

    def _plain(self, type_id: int) -> None:
        made = self.types[type_id]
        if isinstance(made, UNMERGED):
            self.canon[type_id] = type_id
        elif isinstance(made, t.AnyEnum):
            self._enum(type_id, made)
        elif isinstance(made, PLAIN):
            twins = self._by_shape.setdefault(self.shapes[type_id], [type_id])
            self.canon[type_id] = twins[0]

    def _enum(self, type_id: int, made: t.AnyEnum) -> None:
        """An enum without values is a declaration of any enum of its name."""
        twin = type_id
        for other in reversed(self._enums.get(made.name, [])):
            if self.shapes[other] == self.shapes[type_id] or (made.name and not made.values):
                twin = other
                break
            values = getattr(self.types[other], "values", ())
            if made.name and not values:
                self.canon[other] = type_id
        self.canon[type_id] = twin
        if twin == type_id:
            self._enums.setdefault(made.name, []).append(type_id)

    # -- structs ------------------------------------------------------------------------------

    def _struct_sketch(self, type_id: int) -> int:
        """A number that is the same for structs that may be equal."""
        below = (self._sketch(i, SKETCH_DEPTH - 1) for i in references(self.types[type_id]))
        return hash((self.shapes[type_id], *below))

    def _sketch(self, type_id: int, depth: int) -> int:
        """The same for a type, down to `depth`: of what may be only declared just the name."""
        known = self._sketches[depth].get(type_id)
        if known is None:
            known = self._sketches[depth][type_id] = self._draw(type_id, depth)
        return known

    def _draw(self, type_id: int, depth: int) -> int:
        made = self.types[type_id]
        if made.name and isinstance(made, t.Composite | t.Fwd):
            is_union = made.is_union if isinstance(made, t.Fwd) else isinstance(made, t.Union)
            return hash((is_union, made.name))
        if made.name and isinstance(made, t.AnyEnum):
            return hash(("enum", made.name))
        below = (self._sketch(i, depth - 1) for i in references(made)) if depth else ()
        return hash((self.shapes[type_id], *below))

    def _struct(self, type_id: int) -> None:
        if self.canon[type_id] is not None or not isinstance(self.types[type_id], t.Composite):
            return
        twins = self._by_sketch.setdefault(self._struct_sketch(type_id), [])
        found = next((one for one in reversed(twins) if self._merge(type_id, one)), type_id)
        self.canon[type_id] = found
        if found == type_id:
            twins.append(type_id)

    def _merge(self, type_id: int, twin: int) -> bool:
        """Are the graphs below both equal? Then what was met on the way is merged as well."""
        check = Equivalence(self)
        if not check.equal(type_id, twin):
            return False
        check.merge()
        return not check.base_declares

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise LoadError("types take too long to compare", SECTION)

    def same(self, one: int, other: int, depth: int = 0) -> bool:
        """Are two types equal down to the ids? Compilers make some types twice."""
        self.step()
        if one == other:
            return True
        if depth > MAX_SAME_DEPTH or self.shapes[one] != self.shapes[other]:
            return False
        pairs = zip(references(self.types[one]), references(self.types[other]), strict=True)
        return all(self.same(a, b, depth + 1) for a, b in pairs)

    # -- forward declarations -----------------------------------------------------------------

    def _resolve_forwards(self) -> None:
        """A declaration whose name only one struct or union has is that one."""
        unique: dict[str, int] = {}
        for type_id, made in enumerate(self.types):
            if isinstance(made, t.Composite) and made.name and self.canon[type_id] == type_id:
                unique[made.name] = 0 if made.name in unique else type_id
        for type_id in self.btf.ids():
            made = self.types[type_id]
            if isinstance(made, t.Fwd) and self.canon[type_id] == type_id:
                target = unique.get(made.name, 0)
                if target and isinstance(self.types[target], t.Union) == made.is_union:
                    self.canon[type_id] = target

    # -- types that refer to others -----------------------------------------------------------

    def _referring(self, type_id: int) -> None:
        """Find the twin of a referring type, after those of all it refers to."""
        stack, open_ids = [type_id], set()
        while stack:
            top = stack[-1]
            if self.canon[top] is not None:
                open_ids.discard(stack.pop())
                continue
            open_ids.add(top)
            missing = [r for r in references(self.types[top]) if self.canon[r] is None]
            if not missing:
                self._twin_by_references(top)
            elif missing[0] in open_ids:
                where = self.btf.offset_of(top)
                raise LoadError("types refer to each other in a circle", SECTION, where)
            else:
                stack.append(missing[0])

    def _twin_by_references(self, type_id: int) -> None:
        refs = (self.find(r) for r in references(self.types[type_id]))
        self.canon[type_id] = self._by_refs.setdefault((self.shapes[type_id], *refs), type_id)

    # -- the result ---------------------------------------------------------------------------

    def _compact(self, ext: BtfExt | None) -> Merged:
        builder = BtfBuilder(self.btf.byteorder, self.btf.base)
        for type_id in self.btf.ids():
            record(self.types[type_id], builder.string)
        moved = {at: builder.string(self.btf.string(at)) for at in ext.strings()} if ext else {}
        kept = [i for i in self.btf.ids() if self.canon[i] == i]
        numbers = {i: i for i in range(self.btf.start_id)}
        numbers.update(zip(kept, range(self.btf.start_id, len(self.types)), strict=False))
        ids = [numbers[self.find(i)] for i in range(len(self.types))]
        for type_id in kept:
            builder.add(relink(self.types[type_id], ids.__getitem__))
        renumber = _known(ids)
        renumbered = ext.renumbered(renumber, moved.__getitem__) if ext else None
        return Merged(builder.build(), ids, renumbered)


def _known(ids: list[int]) -> Renumber:
    """The new id of an old one that comes from another section."""

    def renumber(type_id: int) -> int:
        if type_id >= len(ids):
            raise LoadError(f"type id {type_id} does not exist", EXT_SECTION)
        return ids[type_id]

    return renumber


class Equivalence:
    """One comparison of two type graphs: assumes equality of pairs until something contradicts."""

    def __init__(self, dedup: Dedup) -> None:
        self.d = dedup
        self.assumed: dict[int, int] = {}
        self.base_declares = False
        self._todo: list[tuple[int, int]] = []

    def equal(self, mine: int, twin: int) -> bool:
        """Walk both graphs depth first."""
        self._todo = [(mine, twin)]
        while self._todo:
            self.d.step()
            if not self._pair(*self._todo.pop()):
                return False
        return True

    def _pair(self, mine: int, twin: int) -> bool:
        """Compare two types; pairs that they refer to are left to do."""
        d = self.d
        if d.find(mine) == d.find(twin):
            return True
        twin = self._definition(twin)
        assumed = self.assumed.get(twin)
        if assumed is not None:
            return assumed == mine or d.same(assumed, mine)
        self.assumed[twin] = mine
        return self._compare(d.types[mine], d.types[twin], mine, twin)

    def _definition(self, type_id: int) -> int:
        """What a forward declaration is known to declare, else itself."""
        found = self.d.find(type_id)
        types = self.d.types
        is_declared = isinstance(types[type_id], t.Fwd) and not isinstance(types[found], t.Fwd)
        return found if is_declared else type_id

    def _compare(self, one: t.Type, other: t.Type, mine: int, twin: int) -> bool:
        if one.name != other.name:
            return False
        if isinstance(one, t.Fwd) != isinstance(other, t.Fwd):
            return self._declares(one, other, twin)
        if isinstance(one, t.AnyEnum) and isinstance(other, t.AnyEnum):
            same = self.d.shapes[mine] == self.d.shapes[twin]
            return same or not (one.values and other.values)
        if self.d.shapes[mine] != self.d.shapes[twin]:
            return False
        pairs = list(zip(references(one), references(other), strict=True))
        self._todo += reversed(pairs)
        return True

    def _declares(self, one: t.Type, other: t.Type, twin: int) -> bool:
        """A forward declaration and a definition of the same name: of the same kind?"""
        fwd, real = (one, other) if isinstance(one, t.Fwd) else (other, one)
        assert isinstance(fwd, t.Fwd)
        fits = isinstance(real, t.Union if fwd.is_union else t.Struct)
        if fits and fwd is other and twin < self.d.btf.start_id:
            self.base_declares = True
        return fits

    def merge(self) -> None:
        """The graphs are equal: declarations met become the definitions met with them."""
        for twin, mine in self.assumed.items():
            self._merge_pair(self.d.find(mine), self.d.find(twin))

    def _merge_pair(self, mine: int, twin: int) -> None:
        d = self.d
        declared = isinstance(d.types[twin], t.Fwd)
        declares = isinstance(d.types[mine], t.Fwd)
        if declared and not declares:
            d.canon[twin] = mine
        if self.base_declares:
            return
        known = d.canon[twin] is not None and d.canon[mine] is None
        is_struct = isinstance(d.types[mine], t.Composite)
        if not declared and (declares or (is_struct and known)):
            d.canon[mine] = twin


def concatenate(blobs: Sequence[Btf], base: Btf | None = None) -> Merged:
    """Types of several BTFs (on the same base or none) one after another, ready to be merged.

    `ids` has the new ids of the types of all blobs, one after another, without void and base.
    """
    order = blobs[0].byteorder if blobs else "little"
    builder = BtfBuilder(order, base)
    ids: list[int] = []
    for one in blobs:
        shift = len(builder) - one.start_id
        for _, made in one.types():
            ids.append(builder.add(relink(made, _shifted(shift, one.start_id))))
    return Merged(builder.build(), ids)


def _shifted(shift: int, start_id: int) -> Renumber:
    return lambda type_id: type_id + shift if type_id >= start_id else type_id
