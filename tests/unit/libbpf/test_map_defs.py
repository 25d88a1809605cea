"""Map definitions: what a BTF struct says, and what it must not say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import LoadError
from anybpf.libbpf import elf as e
from anybpf.libbpf import read_object
from anybpf.libbpf.spec import MapSpec
from objects.elfbuild import ALLOC_WRITE, ElfBuilder, smallest


class Definition:
    """One map variable `m` of section .maps, member by member."""

    def __init__(self) -> None:
        self.btf = BtfBuilder()
        self.int = self.btf.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
        self.members: list[t.Member] = []

    def pointer(self, name: str, target: int) -> Definition:
        return self.member(name, self.btf.add(t.Ptr(target)))

    def uint(self, name: str, value: int) -> Definition:
        return self.pointer(name, self.btf.add(t.Array(self.int, self.int, value)))

    def ulong(self, name: str, value: int) -> Definition:
        return self.member(name, self.btf.add(t.Enum64("", 8, (t.EnumValue("v", value),))))

    def member(self, name: str, type_id: int) -> Definition:
        self.members.append(t.Member(name, type_id, 64 * len(self.members)))
        return self

    def values(self, target: int) -> Definition:
        pointer = self.btf.add(t.Ptr(target))
        return self.member("values", self.btf.add(t.Array(pointer, self.int, 0)))

    def struct(self) -> int:
        size = 8 * len(self.members)
        return self.btf.add(t.Struct("", size, tuple(self.members)))

    def elf(self, type_id: int | None = None, linkage: int = uapi.BTF_VAR_GLOBAL_ALLOCATED,
            size: int = 64) -> ElfBuilder:
        var = self.btf.add(t.Var("m", self.struct() if type_id is None else type_id, linkage))
        self.btf.add(t.Datasec(".maps", 64, (t.SecVar(var, 0, size),)))
        made = smallest()
        section = made.section(".maps", bytes(64), flags=ALLOC_WRITE)
        made.symbol("m", section, 0, 64)
        made.section(".BTF", self.btf.to_bytes(), flags=0)
        return made

    def read(self) -> MapSpec:
        return read_object(self.elf().to_bytes()).maps["m"]


def hash_map() -> Definition:
    return Definition().uint("type", uapi.BPF_MAP_TYPE_HASH)


def test_every_number() -> None:
    made = (hash_map().uint("max_entries", 5).uint("map_flags", 1).uint("numa_node", 2)
            .uint("key_size", 4).uint("value_size", 8).uint("pinning", 1)
            .uint("map_extra", 7).read())
    assert (made.type, made.max_entries, made.flags, made.numa_node, made.key_size,
            made.value_size, made.pinning, made.map_extra) == (1, 5, 1, 2, 4, 8, 1, 7)


def test_long_numbers() -> None:
    assert hash_map().ulong("map_extra", 1 << 44).read().map_extra == 1 << 44


def test_types_and_matching_sizes() -> None:
    made = hash_map()
    made.uint("key_size", 4).pointer("key", made.int).pointer("value", made.int)
    spec = made.uint("value_size", 4).read()
    assert (spec.key_size, spec.key_type_id, spec.value_size) == (4, made.int, 4)


def conflicting(d: Definition) -> None:
    d.uint("key_size", 8).pointer("key", d.int)


def number_is_no_pointer(d: Definition) -> None:
    d.member("max_entries", d.int)


def number_is_no_array(d: Definition) -> None:
    d.pointer("max_entries", d.int)


def key_is_no_pointer(d: Definition) -> None:
    d.member("key", d.int)


def key_has_no_size(d: Definition) -> None:
    d.pointer("key", 0)


def values_not_last(d: Definition) -> None:
    d.values(d.int).uint("max_entries", 1)


def values_of_a_hash(d: Definition) -> None:
    d.values(d.int)


def values_no_array(d: Definition) -> None:
    d.pointer("values", d.int)


def unknown_field(d: Definition) -> None:
    d.uint("color", 3)


def bad_pinning(d: Definition) -> None:
    d.uint("pinning", 2)


BAD: list[tuple[Callable[[Definition], None], str]] = [
    (conflicting, "conflicting key size 8 != 4"),
    (number_is_no_pointer, "field 'max_entries' is not a number but INT"),
    (number_is_no_array, "field 'max_entries' points to INT, not to an array"),
    (key_is_no_pointer, "field 'key' is not a pointer but INT"),
    (key_has_no_size, "has no size"),
    (values_not_last, "'values' is not the last member"),
    (values_of_a_hash, "'values' of INT do not fit map type 1"),
    (values_no_array, "'values' is not an array of pointers"),
    (unknown_field, "unknown field 'color'"),
    (bad_pinning, "invalid pinning value 2"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[f.__name__ for f, _ in BAD])
def test_bad_definitions(change: Callable[[Definition], None], message: str) -> None:
    made = hash_map()
    change(made)
    with pytest.raises(LoadError) as caught:
        made.read()
    assert message in caught.value.message
    assert caught.value.section in (".maps", ".BTF")


def test_no_type() -> None:
    with pytest.raises(LoadError, match="map 'm': has no type"):
        Definition().uint("max_entries", 1).read()


@pytest.mark.parametrize(("made", "message"), [
    (lambda d: d.elf(d.int), "is not a struct but INT"),
    (lambda d: d.elf(linkage=uapi.BTF_VAR_GLOBAL_EXTERN), "is extern"),
    (lambda d: d.elf(size=65), "its 65 bytes lie outside the section"),
])
def test_bad_variables(made: Callable[[Definition], ElfBuilder], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read_object(made(hash_map()).to_bytes())


def inner(d: Definition, *, pinned: bool = False) -> int:
    one = d.btf.add(t.Array(d.int, d.int, 2))
    members = [t.Member("type", d.btf.add(t.Ptr(one)), 0)]
    if pinned:
        members.append(t.Member("pinning", members[0].type, 64))
    return d.btf.add(t.Struct("", 16, tuple(members)))


def map_of_maps() -> Definition:
    return Definition().uint("type", uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS)


def test_inner_map() -> None:
    made = map_of_maps()
    spec = made.values(inner(made)).read()
    assert spec.inner is not None
    assert (spec.value_size, spec.inner.type) == (4, uapi.BPF_MAP_TYPE_ARRAY)
    made = map_of_maps()
    with pytest.raises(LoadError, match="inner map cannot have 'pinning'"):
        made.values(inner(made, pinned=True)).read()


@pytest.mark.parametrize(("offset", "target", "message"), [
    (9, "m", "misaligned pointer in 'values'"),
    (0, "m", "relocation is in no map's 'values'"),
    (8, "prog", "'prog' in a map of maps is no map"),
])
def test_bad_initial_values(offset: int, target: str, message: str) -> None:
    made = map_of_maps()
    elf = made.values(inner(made)).elf()
    symbols = {"prog": 1, "m": 2}
    elf.relocate(2, (offset, symbols[target], e.R_BPF_64_ABS64))
    with pytest.raises(LoadError) as caught:
        read_object(elf.to_bytes())
    assert caught.value.message == message
    assert (caught.value.section, caught.value.offset) == (".maps", offset)


def legacy(data: bytes, *offsets: int) -> ElfBuilder:
    made = smallest()
    section = made.section("maps", data, flags=ALLOC_WRITE)
    for i, offset in enumerate(offsets):
        made.symbol(f"m{i}", section, offset, 20)
    return made


def test_legacy_definitions() -> None:
    row = b"".join(x.to_bytes(4, "little") for x in (1, 2, 3, 4, 5, 6))
    maps = read_object(legacy(row * 2, 24, 0).to_bytes()).maps
    assert list(maps) == ["m1", "m0"]
    one = maps["m0"]
    assert (one.type, one.key_size, one.value_size, one.max_entries, one.flags, one.extra) == (
        1, 2, 3, 4, 5, b"\6\0\0\0")


@pytest.mark.parametrize(("data", "offsets", "message"), [
    (bytes(16), (0,), "1 map definitions do not fill 16 bytes"),
    (bytes(41), (0, 20), "2 map definitions do not fill 41 bytes"),
    (bytes(40), (0, 30), "map 'm1' lies outside the section"),
])
def test_bad_legacy_definitions(data: bytes, offsets: tuple[int, ...], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read_object(legacy(data, *offsets).to_bytes())
