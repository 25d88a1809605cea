"""What the builder writes, the parser reads back; what the parser read is written unchanged."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.btf import encode
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from unit.btf import blobs


@pytest.mark.parametrize("order", ["little", "big"])
def test_every_kind_comes_back(order):
    made = blobs.build(*blobs.every_kind(), byteorder=order)
    assert made.byteorder == order
    assert [one for _, one in made.types()] == blobs.every_kind()


def test_every_kind_is_covered():
    assert {one.kind for one in blobs.every_kind()} == set(range(1, uapi.BTF_KIND_MAX + 1))


def reencode(btf: Btf) -> list[int]:
    offsets = dict(encode._table(btf.strings, btf.start_str))
    return [w for _, one in btf.types() for w in encode.record(one, offsets.__getitem__)]


def test_vmlinux_is_written_unchanged():
    btf = blobs.vmlinux()
    assert reencode(btf) == list(btf.words)


def test_objects_are_written_unchanged():
    for path in blobs.xdp_objects():
        data = blobs.elf_section(path, ".BTF")
        if data:
            assert reencode(Btf(data)) == list(Btf(data).words)
            assert encode.BtfBuilder.extend(Btf(data)).to_bytes() == data


def test_split_btf_shares_the_strings_of_its_base():
    base = blobs.build(t.Int("int", 4))
    split = encode.BtfBuilder(base=base)
    assert split.add(t.Typedef("int", 1)) == 2
    assert split.add(t.Typedef("mine", 2)) == 3
    assert split._strings == b"mine\0"
    assert split.build().find_all("int") == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        t.Int("x" + chr(0), 4),
        t.Enum("e", 4, (t.EnumValue("A", -1),)),
        t.Enum("e", 4, (t.EnumValue("A", 1 << 32),)),
        t.Struct("s", 4, (t.Member("a", 1, 1 << 24, 1),)),
        t.Ptr(-1),
        t.FuncProto(0, (t.Param("", 0),) * 65536),
        t.Void(),
    ],
)
def test_a_field_that_does_not_fit_is_refused(bad):
    with pytest.raises(ValueError):
        encode.BtfBuilder().add(bad)
