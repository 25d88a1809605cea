"""Merging types: small cases by hand, compiled ones against libbpf's own linker."""

from __future__ import annotations

import random

import pytest

from anybpf.btf import dedup, raw
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs, libbpf

INT = t.Int("int", 4)


def merged(*types: t.Type, base: Btf | None = None) -> tuple[list[t.Type], list[int]]:
    got = dedup.dedup(blobs.build(*types, base=base))
    return [one for _, one in got.btf.types()], got.ids


def s(*ids: int, name: str = "s") -> t.Struct:
    members = tuple(t.Member(f"m{i}", one, 64 * i) for i, one in enumerate(ids))
    return t.Struct(name, 8 * len(ids), members)


def test_plain_types_and_references():
    types, ids = merged(INT, t.Ptr(1), INT, t.Ptr(3), t.Const(4), t.Typedef("x", 5))
    assert types == [INT, t.Ptr(1), t.Const(2), t.Typedef("x", 3)]
    assert ids == [0, 1, 2, 1, 2, 3, 4]


def test_structs_that_refer_to_themselves():
    types, ids = merged(s(2), t.Ptr(1), s(4), t.Ptr(3))
    assert types == [s(2), t.Ptr(1)]
    assert ids == [0, 1, 2, 1, 2]


def test_structs_with_other_members_stay_apart():
    types, _ = merged(INT, t.Int("long", 8), s(5), s(6), t.Ptr(1), t.Ptr(2))
    assert len(types) == 6


def test_a_declaration_becomes_the_definition_met_with_it():
    types, ids = merged(
        t.Fwd("d"), t.Ptr(1), s(2), INT, t.Struct("d", 4, (t.Member("x", 4, 0),)), t.Ptr(5), s(6),
    )  # fmt: skip
    assert types == [t.Ptr(4), s(1), INT, t.Struct("d", 4, (t.Member("x", 3, 0),))]
    assert ids == [0, 4, 1, 2, 3, 4, 1, 2]


def test_a_declaration_becomes_the_only_struct_of_its_name():
    types, _ = merged(t.Fwd("d"), t.Ptr(1), t.Struct("d", 0))
    assert types == [t.Ptr(2), t.Struct("d", 0)]
    both, _ = merged(t.Fwd("d"), t.Struct("d", 0), t.Struct("d", 8))
    assert len(both) == 3
    other, _ = merged(t.Fwd("d", is_union=True), t.Struct("d", 0))
    assert len(other) == 2


def test_enum_declarations():
    full = t.Enum("e", 4, (t.EnumValue("A", 1),))
    assert merged(t.Enum("e", 4), full, full)[0] == [full]
    assert merged(full, t.Enum("e", 4))[0] == [full]
    assert len(merged(full, t.Enum("e", 4, (t.EnumValue("B", 1),)))[0]) == 2


def test_variables_are_not_merged():
    types, _ = merged(INT, t.Var("v", 1), INT, t.Var("v", 3))
    assert types == [INT, t.Var("v", 1), t.Var("v", 1)]


def test_types_of_the_base_are_used():
    base = blobs.build(INT, t.Ptr(1), t.Struct("s", 8, (t.Member("p", 2, 0),)))
    types, ids = merged(
        INT, t.Ptr(4), t.Struct("s", 8, (t.Member("p", 5, 0),)), t.Typedef("own", 6), base=base
    )
    assert types == [t.Typedef("own", 3)]
    assert ids[4:] == [1, 2, 3, 4]


def test_unused_strings_go():
    builder = BtfBuilder()
    builder.string("unused")
    builder.add(INT)
    assert dedup.dedup(builder.build()).btf.strings == b"\0int\0"


def test_circles_are_refused():
    for circle in ([t.Ptr(2), t.Const(1)], [t.Typedef("t", 1)]):
        with pytest.raises(LoadError, match="in a circle"):
            dedup.dedup(blobs.build(*circle))
    with pytest.raises(LoadError, match="does not exist"):
        dedup.dedup(blobs.build(t.Ptr(7)))


def test_long_chains_need_no_recursion():
    chain = [t.Ptr(i) for i in range(1, 5000)]
    assert len(merged(INT, *chain, *chain[:1])[0]) == 5000


SHARED = """
typedef unsigned int u32; typedef int (*cb)(struct item *, const char *);
struct item { struct item *next; cb fn; u32 n[4]; union { long l; char c; }; enum kind *k; };
struct list { struct item *head; struct list *self; struct opaque *o; struct item inline_item; };
"""
FIRST = "struct item; struct opaque; enum kind { A, B };" + SHARED + """
struct only_first { struct list l; int x:3; };
struct list first_list; struct only_first of; cb first_cb;
__attribute__((section("xdp"))) int first(void *ctx) { return first_list.head != 0 && of.x; }
"""
SECOND = "struct item; struct opaque { u32_t v; }; enum kind { A, B };" + SHARED + """
struct only_second { const struct list *l; struct opaque o[2]; };
struct list second_list; struct only_second os; struct first_only_declared *fod;
__attribute__((section("xdp"))) int second(void *ctx) { return second_list.self != 0; }
"""
SECOND = "typedef unsigned short u32_t; " + SECOND


@pytest.fixture
def linked(tmp_path):
    """Two objects' BTF, and that of the object that libbpf's linker makes of them."""
    parts = []
    for name, source in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        parts.append(blobs.compiled(source, tmp_path / name, "-Wno-everything"))
    out = tmp_path / "out.o"
    objects = [str(tmp_path / name / "object.o") for name in ("one", "two")]
    blobs.bpftool("gen", "object", str(out), *objects)
    data = blobs.elf_section(out, ".BTF")
    assert data is not None
    return parts, Btf(data)


def without_sections(btf: Btf) -> Btf:
    """The types before the data sections, which come last and which the linker writes anew."""
    builder = BtfBuilder()
    for _, one in btf.types():
        if not isinstance(one, t.Datasec):
            builder.add(one)
    return builder.build()


def test_libbpfs_linker_merges_the_same(linked):
    parts, wanted = linked
    whole = dedup.concatenate([without_sections(one) for one in parts])
    got = dedup.dedup(whole.btf).btf
    assert len(got) < len(whole.btf) - 10
    assert raw.dump_raw(got) == raw.dump_raw(without_sections(wanted))


def test_what_pahole_merged_stays_as_it_is():
    btf = blobs.vmlinux()
    some = list(range(1, 3000))
    closed = BtfBuilder()
    for type_id in some:
        made = btf.type(type_id)
        within = all(r < len(some) for r in dedup.references(made))
        closed.add(made if within else t.Fwd(f"cut{type_id}"))
    small = closed.build()
    assert len(dedup.dedup(small).btf) == len(small)
    twice = dedup.concatenate([small, small])
    functions = sum(isinstance(one, t.Var | t.Datasec) for _, one in small.types())
    assert len(dedup.dedup(twice.btf).btf) == len(small) + functions


# -- libbpf's own answer --------------------------------------------------------------------------


class Unit:
    """One compilation unit of a made-up program: some structs are defined, others only declared."""

    def __init__(self, rnd: random.Random, program: list[list[tuple[int, int]]]) -> None:
        self.rnd = rnd
        self.program = program
        self.builder = BtfBuilder()
        self.known: dict[object, int] = {}
        self.builder.add(INT)
        self.wanted: list[t.Type] = []

    def make(self) -> Btf:
        """Structs first, then what they need, as a compiler does that meets them in turn."""
        count = len(self.program)
        defined = [i for i in range(count) if self.rnd.random() < 0.7]
        self.rnd.shuffle(defined)
        places = {i: 2 + at for at, i in enumerate(defined)}
        rows: list[t.Type] = []
        first = 2 + len(defined)
        for i in defined:
            members = (self._reference(places, rows, first, one) for one in self.program[i])
            made = tuple(t.Member(f"m{n}", one, 64 * n) for n, one in enumerate(members))
            self.builder.add(t.Struct(f"s{i}", 8 * len(made), made))
        self.builder.add_all(rows)
        return self.builder.build()

    def _reference(
        self, places: dict[int, int], rows: list[t.Type], first: int, member: tuple[int, int]
    ) -> int:
        """A pointer, perhaps to const, a typedef of one, or an int."""
        target, how = member

        def add(made: t.Type) -> int:
            if made not in rows or self.rnd.random() < 0.1:
                rows.append(made)
            return first + rows.index(made)

        if how == 0:
            return 1
        struct = places.get(target) or add(t.Fwd(f"s{target}"))
        if how == 1:
            return add(t.Ptr(add(t.Const(struct))))
        pointer = add(t.Ptr(struct))
        return add(t.Typedef(f"p{target}", pointer)) if how == 3 else pointer


def made_up(seed: int) -> Btf:
    """Several units of one program whose structs refer to each other, and now and then differ."""
    rnd = random.Random(seed)
    count = rnd.randint(1, 6)

    def members() -> list[tuple[int, int]]:
        return [(rnd.randrange(count), rnd.randrange(4)) for _ in range(rnd.randint(1, 4))]

    program = [members() for _ in range(count)]
    units = []
    for _ in range(rnd.randint(2, 4)):
        if rnd.random() < 0.3:
            program = list(program)
            program[rnd.randrange(count)] = members()
        units.append(Unit(rnd, program).make())
    return dedup.concatenate(units).btf


@pytest.mark.parametrize("part", range(4))
def test_libbpf_merges_made_up_programs_the_same(part):
    libbpf.library()
    for seed in range(150 * part, 150 * (part + 1)):
        btf = made_up(seed)
        got, want = dedup.dedup(btf).btf, libbpf.dedup(btf)
        assert raw.dump_raw(got) == raw.dump_raw(want), seed
        assert got.strings == want.strings, seed


def test_libbpf_merges_the_kernels_types_the_same():
    btf = blobs.vmlinux()
    small = BtfBuilder()
    some = 6000
    for type_id in range(1, some):
        made = btf.type(type_id)
        small.add(dedup.relink(made, lambda i: i if i < some else 0))
    part = small.build()
    twice = dedup.concatenate([part, part]).btf
    got, want = dedup.dedup(twice).btf, libbpf.dedup(twice)
    assert got.words == want.words
    assert got.strings == want.strings
