"""Opening, looking up, following, and every way in which a blob can be broken."""

from __future__ import annotations

import struct

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs


def test_names_find_ids_by_kind():
    btf = blobs.build(t.Int("x", 4), t.Typedef("x", 1), t.Struct("ax", 0), t.Ptr(1))
    assert btf.find_all("x") == [1, 2]
    assert btf.find("x", uapi.BTF_KIND_TYPEDEF) == 2
    assert btf.find("x", uapi.BTF_KIND_UNION) == btf.find("none") == btf.find("") == 0
    assert len(btf) == 5


def test_a_name_may_be_the_end_of_another_string():
    made = bytearray(blobs.build(t.Int("xyz", 4)).data)
    struct.pack_into("<I", made, 24, 3)
    btf = Btf(bytes(made))
    assert btf.type(1).name == "z"
    assert btf.find("z") == 1
    assert btf.find("xyz") == 0


def test_many_lookups_give_what_one_gives():
    data = bytearray(blobs.build(t.Int("xyz", 4), t.Typedef("z", 1), t.Typedef("z", 2)).data)
    struct.pack_into("<I", data, 24, 3)
    struct.pack_into("<I", data, 24 + 16, 4000)
    fresh, busy = Btf(bytes(data)), Btf(bytes(data))
    for i in range(100):
        assert busy.find(f"none{i}") == 0
    for name in ("z", "xyz", "yz", ""):
        assert busy.find_all(name) == fresh.find_all(name)
    assert fresh.find_all("z") == [1, 3]


def test_split_btf_continues_its_base():
    base = blobs.build(t.Int("int", 4), t.Struct("s", 4))
    builder = BtfBuilder(base=base)
    builder.add(t.Struct("s", 8, (t.Member("v", 1, 0),)))
    split = builder.build()
    assert (split.start_id, len(split), list(split.ids())) == (3, 4, [3])
    assert split.find_all("s") == [2, 3]
    assert split.type(1) == t.Int("int", 4)
    assert split.size_of(2), split.size_of(3) == (4, 8)
    assert split.type(3).members[0].name == "v"


def test_sizes_follow_typedefs_arrays_and_variables():
    btf = blobs.build(
        t.Int("short", 2), t.Array(1, 1, 3), t.Typedef("a", 2), t.Array(3, 1, 5),
        t.Const(4), t.Var("v", 5), t.Ptr(0),
    )  # fmt: skip
    assert [btf.size_of(i) for i in range(1, 8)] == [2, 6, 6, 30, 30, 30, 8]
    assert btf.resolve(5) == 4
    assert btf.skip_modifiers(3) == 3


def test_pointers_are_as_wide_as_long():
    assert blobs.build(t.Int("unsigned long", 4), t.Ptr(0)).size_of(2) == 4


@pytest.mark.parametrize("bad", [0, 2, 3, 99, -1])
def test_what_has_no_size_says_so(bad):
    btf = blobs.build(t.Int("int", 4), t.FuncProto(1), t.Fwd("f"))
    with pytest.raises(LoadError):
        btf.size_of(bad)


def test_a_circle_of_typedefs_ends():
    btf = blobs.build(t.Typedef("a", 2), t.Typedef("b", 1), t.Array(3, 3, 2))
    for call in (btf.resolve, btf.size_of):
        with pytest.raises(LoadError, match="nested too deeply"):
            call(1)
    with pytest.raises(LoadError, match="nested too deeply"):
        btf.size_of(3)


GOOD = blobs.build(*blobs.every_kind()).data
HEADER = "<HBBIIIII"


def broken(**fields: int) -> bytes:
    names = ("magic", "version", "flags", "hdr", "type_off", "type_len", "str_off", "str_len")
    head = dict(zip(names, struct.unpack_from(HEADER, GOOD), strict=True))
    return struct.pack(HEADER, *(head | fields).values()) + GOOD[24:]


TYPES = struct.unpack_from("<I", GOOD, 12)[0]


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", "header is cut short", 0),
        (broken(magic=0x1234), "bad magic 0x1234", 0),
        (broken(version=2), "unsupported version 2", 2),
        (broken(flags=1), "unsupported flags 0x1", 3),
        (broken(hdr=20), "bad header length 20", 4),
        (broken(hdr=0xFFFFFFFF), "bad header length", 4),
        (broken(hdr=28), "unknown header fields", 24),
        (broken(type_off=2), "not aligned", 8),
        (broken(type_len=0xFFFFFFF0), "beyond the end", 8),
        (broken(str_len=0x7FFFFFFF), "beyond the end", 8),
        (broken(str_off=0), "overlap", 8),
        (broken(str_len=3), "does not end with NUL", 24 + TYPES),
        (broken(str_off=TYPES + 1), "beyond the end", 8),
        (broken(type_len=TYPES - 2), "cut short", 24 + TYPES - 2),
        (broken(type_len=TYPES - 4), "cut short", None),
        (broken(type_len=TYPES - 48 + 8), "cut short", None),
        (GOOD[:24] + struct.pack("<III", 0, 31 << 24, 0) + GOOD[36:], "unknown type kind 31", 24),
    ],
)
def test_a_broken_blob_is_one_load_error(data, message, offset):
    with pytest.raises(LoadError, match=message) as caught:
        Btf(data)
    assert caught.value.section == ".BTF"
    assert offset is None or caught.value.offset == offset


def test_a_wrong_name_offset_shows_where_the_record_is():
    data = bytearray(blobs.build(t.Int("a", 4), t.Int("b", 4)).data)
    struct.pack_into("<I", data, 24 + 16, 1000)
    btf = Btf(bytes(data))
    assert btf.type(1).name == "a"
    with pytest.raises(LoadError, match="string offset 1000") as caught:
        btf.type(2)
    assert caught.value.offset == 24 + 16


def test_expect_names_the_kind_it_found():
    with pytest.raises(LoadError, match="type 1 is INT, not STRUCT"):
        blobs.build(t.Int("int", 4)).expect(1, t.Struct)


def test_long_strings_that_overlap_are_paid_for():
    btf = Btf(blobs.overlapping(2000, 20000))
    assert len(btf.type(1).name) == len(btf.type(1).name) == 20000
    with pytest.raises(LoadError, match="too many long strings"):
        list(btf.types())
    assert sum(len(one.name) for _, one in Btf(blobs.overlapping(2000, 200)).types()) > 10000


def test_vmlinux_has_the_task():
    btf = blobs.vmlinux()
    task = btf.expect(btf.find("task_struct", uapi.BTF_KIND_STRUCT), t.Struct)
    assert task.size == btf.size_of(btf.find("task_struct")) > 1000
    assert task.member("pid").type == btf.find("pid_t")
