"""Arenas: variables at the start, mapped before programs are loaded."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import uapi, verify
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf import Object, read_object
from conftest import Build
from objects.elfbuild import ALLOC_WRITE, ElfBuilder, smallest


def test_reading(build: Build) -> None:
    spec = read_object(build("arena.bpf.c").read_bytes())
    data = spec.maps["memory"].arena
    assert data is not None
    assert (data.attribute, list(data.variables)) == ("arena", ["counter", "table"])
    assert {r.target for r in spec.programs["count"].references} == {"memory"}
    assert ".addr_space.1" not in spec.other


@pytest.mark.kernel
def test_running(build: Build, linux: Any) -> None:
    obj = Object.open(build("arena.bpf.c"))
    obj.arena.counter = 100
    try:
        obj.load(linux)
    except BpfError as e:
        if e.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            pytest.skip("this kernel has no arenas")
        raise
    with obj:
        obj.programs["count"].test_run()
        assert (obj.arena.counter, obj.arena.table) == (102, [0, 0, 0, 102])
        obj.arena.counter = 7
        obj.programs["count"].test_run()
        assert obj.arena.counter == 9
    assert obj.maps["memory"].memory is None


def test_a_machine_has_none(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    with pytest.raises(NotSupported, match="arena"):
        Object.open(build("arena.bpf.c")).load(machine)
    assert machine.open_fds == ()


@pytest.mark.kernel
def test_a_fixed_address(build: Build, linux: Any) -> None:
    one, two = (Object.open(build("arena.bpf.c")) for _ in range(2))
    for obj in (one, two):
        obj.maps["memory"].map_extra = 1 << 44
    try:
        one.load(linux)
    except BpfError as e:
        pytest.skip(f"this kernel has no arenas there: {e}")
    with one:
        one.programs["count"].test_run()
        assert one.arena.counter == 42
        one.arena.table = [1, 2, 3, 4]
        assert one.arena.table == [1, 2, 3, 4]
        with pytest.raises(BpfError, match="failed to mmap arena: -17") as caught:
            two.load(linux)
        assert caught.value.errno == errno.EEXIST
    with two.load(linux):
        assert two.arena.counter == 40


def arenas(*pages: int) -> ElfBuilder:
    """An object with an arena map for each number of pages."""
    builder = BtfBuilder()
    number = builder.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    made = smallest()
    section = made.section(".maps", bytes(16 * len(pages) or 16), flags=ALLOC_WRITE)
    rows = []
    for i, count in enumerate(pages):
        kinds = [builder.add(t.Ptr(builder.add(t.Array(number, number, n))))
                 for n in (uapi.BPF_MAP_TYPE_ARENA, count)]
        struct = builder.add(t.Struct("", 16, (t.Member("type", kinds[0], 0),
                                               t.Member("max_entries", kinds[1], 64))))
        rows.append(t.SecVar(builder.add(t.Var(f"m{i}", struct)), 16 * i, 16))
        made.symbol(f"m{i}", section, 16 * i, 16)
    builder.add(t.Datasec(".maps", 16 * len(rows), tuple(rows)))
    made.section(".BTF", builder.to_bytes(), flags=0)
    return made


@pytest.mark.parametrize(("pages", "size", "why"), [
    ((1, 1), 0, "only single ARENA map is supported"),
    ((), 8, "the ARENA map should be explicitly declared"),
    ((1,), 4097, "too small to hold global __arena variables of size 4097"),
])
def test_malformed(pages: tuple[int, ...], size: int, why: str) -> None:
    made = arenas(*pages)
    made.section(".addr_space.1", bytes(size), flags=ALLOC_WRITE)
    with pytest.raises(LoadError, match=why):
        read_object(made.to_bytes())


def test_verified_without_a_kernel(build: Build) -> None:
    verdicts = verify(build("arena.bpf.c"))
    assert [one.verdict for one in verdicts] == ["accept"]
