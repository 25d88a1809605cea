"""Maps before and after loading: what can be changed, adopted, resized, pinned."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf import Map, MapSpec, Object
from anybpf.libbpf.map_reuse import differences
from conftest import Build

PACKET = bytes(64)
FIELDS = ("type", "key_size", "value_size", "max_entries", "flags", "numa_node", "map_extra")


@pytest.fixture
def machine() -> Any:
    return pytest.importorskip("anybpf.machine").Machine()


@pytest.fixture
def obj(build: Build) -> Object:
    return Object.open(build("features.bpf.c"))


# before and after

def test_definitions_can_be_changed_until_loaded(obj: Object, backend: Any) -> None:
    table = obj.maps["table"]
    table.max_entries, table.flags = 5, uapi.BPF_F_NO_PREALLOC
    with obj.load(backend):
        info = table.info()
        assert (info["max_entries"], info["map_flags"]) == (5, uapi.BPF_F_NO_PREALLOC)
        for field in FIELDS:
            with pytest.raises(BpfError) as caught:
                setattr(table, field, getattr(table, field))
            assert caught.value.errno == errno.EBUSY
        for change in (lambda: setattr(table, "autocreate", False), lambda: table.reuse(3)):
            with pytest.raises(BpfError) as caught:
                change()
            assert caught.value.errno == errno.EBUSY
    table.max_entries = 6


def test_rings_have_sizes_of_whole_pages(obj: Object, machine: Any) -> None:
    obj.maps["events"].max_entries = 5000
    with obj.load(machine):
        assert obj.maps["events"].info()["max_entries"] == 8192


def test_a_map_that_is_left_out(obj: Object, backend: Any) -> None:
    obj.maps["queue"].autocreate = False
    obj.programs["send"].autoload = False
    with obj.load(backend):
        assert obj.maps["queue"].fd is None
        with pytest.raises(BpfError) as caught:
            obj.maps["queue"].push(1)
        assert caught.value.errno == errno.EBADF


@pytest.mark.kernel
def test_reaching_a_map_that_is_left_out(obj: Object, linux: Any) -> None:
    obj.maps["queue"].autocreate = False
    with pytest.raises(BpfError, match="BPF map 'queue' is referenced but wasn't created"):
        obj.load(linux)


# initial values

def test_initial_values(obj: Object, machine: Any) -> None:
    data = obj.maps["features.data"]
    assert data.is_internal
    before = data.initial_value
    assert before is not None
    data.initial_value = bytes(len(before))
    assert obj.data.start == 0
    for name, value in (("features.data", b"short"), ("table", b"x")):
        with pytest.raises(BpfError) as caught:
            obj.maps[name].initial_value = value
        assert caught.value.errno == errno.EINVAL
    assert obj.maps["table"].initial_value is None
    with obj.load(machine), pytest.raises(BpfError) as caught:
        data.initial_value = before
    assert caught.value.errno == errno.EBUSY


# resizing

def test_the_last_array_of_a_section_grows(build: Build, backend: Any) -> None:
    obj = Object.open(build("resize.bpf.c"))
    bss = obj.maps["resize.bss"]
    size = bss.value_size
    obj.bss.first = 3
    bss.value_size = size + 400
    assert len(obj.bss.values) == 104
    obj.bss.values = [1] * 104
    with obj.load(backend):
        assert bss.info()["value_size"] == size + 400
        assert obj.programs["total"].test_run(PACKET).retval == 3 + 4
        assert obj.bss.values[103] == 1


def test_a_section_shrinks(build: Build, backend: Any) -> None:
    obj = Object.open(build("resize.bpf.c"))
    obj.maps["resize.data"].value_size = 4 + 2 * 4
    assert obj.data.tail == [8, 9]
    obj.programs["total"].autoload = False
    with obj.load(backend):
        assert obj.maps["resize.data"].lookup(bytes(4)) == bytes([7, 0, 0, 0, 8, 0, 0, 0, 9, 0,
                                                                  0, 0])


@pytest.mark.parametrize(("section", "size", "why"), [
    ("resize.bss", 13, "element size (4) doesn't align with new datasec size (13)"),
    (".data.odd", 64, "last var must be an array"),
])
def test_a_section_whose_types_cannot_follow(build: Build, section: str, size: int, why: str,
                                             machine: Any, caplog: Any) -> None:
    obj = Object.open(build("resize.bpf.c"))
    made = obj.maps[section]
    made.value_size = size
    assert f"map '{section}': cannot be resized, {why}" in caplog.messages
    obj.programs["total"].autoload = False
    with obj.load(machine):
        assert made.info()["value_size"] == size
        assert made.info()["btf_value_type_id"] == 0


@pytest.mark.parametrize("size", [0, -1, 1 << 40])
def test_sizes_that_cannot_be(build: Build, size: int) -> None:
    obj = Object.open(build("resize.bpf.c"))
    with pytest.raises(BpfError) as caught:
        obj.maps["resize.bss"].value_size = size
    assert caught.value.errno == errno.EINVAL


# other objects' maps

def test_two_objects_share_a_map(build: Build, backend: Any) -> None:
    with Object.open(build("features.bpf.c")).load(backend) as first:
        second = Object.open(build("features.bpf.c"))
        second.maps["plain"].reuse(first.maps["plain"])
        second.maps["table"].reuse(first.maps["table"].fd or 0)
        second.maps["table"].max_entries = 99999
        with second.load(backend):
            first.maps["plain"][1] = 30
            assert second.programs["nested"].test_run(PACKET).retval == 30
            assert second.maps["plain"].info()["id"] == first.maps["plain"].info()["id"]
            assert second.maps["table"].max_entries == first.maps["table"].max_entries
        assert first.maps["plain"][1] == (30).to_bytes(8, "little")


def test_nothing_to_adopt(obj: Object, backend: Any) -> None:
    for other in (12345, Map(MapSpec("unloaded", 1))):
        obj.maps["plain"].reuse(other)
        with pytest.raises(BpfError) as caught:
            obj.load(backend)
        assert caught.value.errno == errno.EBADF


def test_a_template_for_a_map_of_maps(build: Build, backend: Any) -> None:
    with Object.open(build("features.bpf.c")).load(backend) as other:
        obj = Object.open(build("features.bpf.c"))
        with pytest.raises(BpfError, match="unsupported map type"):
            obj.maps["plain"].set_inner_map(other.maps["plain"])
        with pytest.raises(BpfError, match="inner_map_fd already specified"):
            obj.maps["outer"].set_inner_map(other.maps["inner_a"])
        obj.maps["outer"].spec.inner = None
        obj.maps["outer"].set_inner_map(other.maps["inner_a"])
        with obj.load(backend):
            assert obj.maps["outer"][2] == obj.maps["inner_b"].info()["id"]


# pins

def test_pinning_by_hand(obj: Object, machine: Any) -> None:
    table = obj.maps["table"]
    with obj.load(machine):
        with pytest.raises(BpfError, match="missing a path to pin map 'table' at"):
            table.pin()
        table.pin("/sys/fs/bpf/new/table")
        assert (table.is_pinned, table.pin_path) == (True, "/sys/fs/bpf/new/table")
        table.pin("/sys/fs/bpf/new/table")
        with pytest.raises(BpfError, match="already has pin path '/sys/fs/bpf/new/table' diff"):
            table.pin("/sys/fs/bpf/other")
        with pytest.raises(BpfError, match="no path to unpin map 'table' from"):
            table.unpin("/sys/fs/bpf/other")
        table.unpin()
        assert not table.is_pinned
        with pytest.raises(BpfError, match="no path to unpin"):
            table.unpin()
        obj.programs["first"].pin("/sys/fs/bpf/first")
        with pytest.raises(BpfError, match="failed to pin at '/sys/fs/bpf/first': File exists"):
            obj.programs["first"].pin("/sys/fs/bpf/first")
        obj.programs["first"].unpin("/sys/fs/bpf/first")
        with pytest.raises(BpfError) as caught:
            obj.programs["first"].unpin("/sys/fs/bpf/first")
        assert caught.value.errno == errno.ENOENT


def test_a_pin_path_of_its_own(build: Build, machine: Any) -> None:
    path = "/sys/fs/bpf/mine"
    first, second = (Object.open(build("features.bpf.c")) for _ in range(2))
    for one in (first, second):
        one.maps["table"].pin_path = path
    with first.load(machine), second.load(machine):
        assert first.maps["table"].info()["id"] == second.maps["table"].info()["id"]
        assert second.maps["table"].is_pinned
        assert not second.maps["pinned"].is_pinned
        with pytest.raises(BpfError, match="already has pin path"):
            second.maps["table"].pin("/sys/fs/bpf/elsewhere")


def test_the_directory_for_pins_is_an_open_option(build: Build, machine: Any) -> None:
    with Object.open(build("features.bpf.c"), pin_root="/sys/fs/bpf").load(machine) as obj:
        assert obj.maps["pinned"].pin_path == "/sys/fs/bpf/pinned"


def test_a_pin_that_cannot_be(obj: Object, machine: Any) -> None:
    obj.maps["table"].pin_path = "/tmp/table"
    with pytest.raises(BpfError) as caught:
        obj.load(machine)
    assert machine.open_fds == ()
    obj.maps["table"].pin_path = "/sys/fs/bpf/with.dot"
    with pytest.raises(BpfError, match=r"failed to auto-pin at '/sys/fs/bpf/with\.dot'") as caught:
        obj.load(machine)
    assert caught.value.errno == errno.EPERM


INFO: dict[str, int | bytes] = {"type": 1, "key_size": 4, "value_size": 8, "max_entries": 2,
                                "map_flags": 0, "map_extra": 0}


@pytest.mark.parametrize(("fact", "field"), [
    ("type", "type"), ("key_size", "key_size"), ("value_size", "value_size"),
    ("max_entries", "max_entries"), ("map_flags", "flags"), ("map_extra", "map_extra")])
def test_every_attribute_counts(fact: str, field: str) -> None:
    spec = MapSpec("m", 1, 4, 8, 2)
    assert differences(spec, INFO) == []
    setattr(spec, field, 77)
    assert differences(spec, INFO) == [f"{fact} is {INFO[fact]}, not 77"]


def test_the_kernel_adds_a_flag_to_device_maps() -> None:
    spec = MapSpec("m", uapi.BPF_MAP_TYPE_DEVMAP, 4, 8, 2)
    info = INFO | {"type": spec.type, "map_flags": uapi.BPF_F_RDONLY_PROG}
    assert differences(spec, info) == []
