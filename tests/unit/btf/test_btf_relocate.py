"""Distilled bases: what stays in them, and finding it again in another base."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.btf import btf_relocate, kernel, raw
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs

INT = t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)


def member(type_id: int, offset: int = 0, name: str = "m") -> t.Member:
    return t.Member(name, type_id, 8 * offset)


BASE = blobs.build(
    INT,
    t.Struct("big", 16, (member(1), member(3, 8, "p"))),
    t.Ptr(2),
    t.Struct("", 8, (member(1), member(1, 4, "n"))),
    t.Typedef("anon_t", 4),
    t.Enum("e", 4, (t.EnumValue("A", 1),)),
    t.Enum64("e64", 8, (t.EnumValue("B", 1 << 40),)),
    t.Struct("unused", 4, (member(1),)),
    t.Fwd("f"),
    t.FuncProto(1, (t.Param("x", 3),)),
)
SPLIT = blobs.build(
    t.Struct("own", 24, (member(3), member(5, 8), member(6, 16), member(12, 20, "x"))),
    t.Volatile(1),
    t.Ptr(9),
    t.Typedef("e_t", 7),
    t.Func("f", 10, uapi.BTF_FUNC_STATIC),
    base=BASE,
)


def reached(btf: Btf, name: str) -> str:
    """All that a type consists of, with names instead of ids."""

    def text(type_id: int, depth: int = 0) -> str:
        made = btf.type(type_id)
        refs = btf_relocate.references(made)
        cut = isinstance(made, t.Composite) and made.name and depth
        inner = "" if cut else ", ".join(text(i, depth + 1) for i in refs)
        return f"{made.kind_name} {made.name} ({inner})"

    return text(btf.find(name))


def test_what_a_distilled_base_holds():
    base, split = btf_relocate.distill(SPLIT)
    assert raw.dump_raw(base) == (
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED\n"
        "[2] STRUCT 'big' size=16 vlen=0\n"
        "[3] ENUM 'e' encoding=UNSIGNED size=4 vlen=0\n"
        "[4] ENUM 'e64' encoding=UNSIGNED size=8 vlen=0\n"
        "[5] FWD 'f' fwd_kind=struct\n"
    )
    assert [one.name for _, one in split.types()][:5] == ["own", "", "", "e_t", "f"]
    assert len(split) == len(base) + 5 + 4


@pytest.mark.parametrize("name", ["own", "e_t", "f"])
def test_there_and_back(name):
    back = btf_relocate.relocate(btf_relocate.distill(SPLIT).split, BASE)
    assert back.base is BASE
    assert reached(back, name) == reached(SPLIT, name)


def other_base(*more: t.Type, big: int = 16) -> Btf:
    """A base with other ids, and a `big` of another size."""
    return blobs.build(
        t.Float("float", 4),
        t.Enum64("e64", 8),
        t.Enum("e", 4),
        t.Struct("f", 4, (member(5),)),
        INT,
        t.Struct("big", big, (member(5),)),
        *more,
    )


def test_another_base():
    moved = btf_relocate.relocate(btf_relocate.distill(SPLIT).split, other_base(big=64))
    own = moved.expect(moved.find("own"), t.Struct)
    assert reached(moved, "own") == reached(SPLIT, "own")
    assert moved.type(own.members[2].type) == t.Enum("e", 4)
    pointer = moved.type(moved.start_id + 2)
    assert isinstance(pointer, t.Ptr)
    assert moved.type(pointer.type).name == "f"


def embedding(size: int) -> Btf:
    return blobs.build(t.Array(2, 1, 1), t.Struct("own", size, (member(11),)), base=BASE)


def test_the_size_of_what_is_embedded_counts():
    split = btf_relocate.distill(embedding(16)).split
    assert btf_relocate.relocate(split, other_base()).find("own")
    with pytest.raises(LoadError, match=r"'big' \[2\] is not mapped to base BTF id"):
        btf_relocate.relocate(split, other_base(big=24))


def test_equal_names_are_told_apart_by_size():
    split = btf_relocate.distill(SPLIT).split
    moved = btf_relocate.relocate(split, other_base(t.Struct("big", 8)))
    assert moved.find_all("big") == [6, 7]
    with pytest.raises(LoadError, match="multiple candidates of the same size"):
        btf_relocate.relocate(split, other_base(t.Struct("big", 16)))


@pytest.mark.parametrize(
    "base",
    [
        blobs.build(INT),
        blobs.build(t.Int("int", 8)),
        blobs.build(t.Int("int", 4)),
        blobs.build(t.Union("big", 16)),
    ],
)
def test_what_is_not_there(base):
    with pytest.raises(LoadError, match="is not mapped") as caught:
        btf_relocate.relocate(btf_relocate.distill(SPLIT).split, base)
    assert caught.value.section == ".BTF.base"
    assert caught.value.offset is not None


def test_misuse():
    with pytest.raises(ValueError, match="only split BTF"):
        btf_relocate.distill(BASE)
    with pytest.raises(ValueError, match="distilled base"):
        btf_relocate.relocate(BASE, BASE)
    with pytest.raises(LoadError, match="does not exist"):
        btf_relocate.distill(blobs.build(t.Ptr(99), base=BASE))
    on_a_variable = blobs.build(t.Ptr(2), base=blobs.build(INT, t.Var("v", 1)))
    with pytest.raises(LoadError, match="unexpected reference"):
        btf_relocate.distill(on_a_variable)
    with pytest.raises(LoadError, match="holds no PTR"):
        btf_relocate.relocate(SPLIT, BASE)


def test_a_module_of_the_running_kernels_types():
    vmlinux = blobs.vmlinux()
    builder = BtfBuilder(base=vmlinux)
    task, inode = vmlinux.find("task_struct"), vmlinux.find("inode")
    size = vmlinux.size_of(inode)
    builder.add(t.Struct("mine", 8 + size, (member(builder.add(t.Ptr(task))), member(inode, 8))))
    base, split = btf_relocate.distill(builder.build())
    assert len(base.to_bytes()) < 1000
    back = btf_relocate.relocate(Btf(split.to_bytes(), base), vmlinux)
    mine = back.expect(back.find("mine"), t.Struct)
    assert mine.members[1].type == inode
    assert back.target(mine.members[0].type) == task


def test_an_elf_file_with_a_distilled_base(tmp_path):
    base, split = btf_relocate.distill(SPLIT)
    path = tmp_path / "module.ko"
    path.write_bytes(blobs.elf({".BTF": split.to_bytes(), ".BTF.base": base.to_bytes()}))
    assert kernel.load(path).base.data == base.data
    assert kernel.load(path, BASE).base is BASE
    assert reached(kernel.load(path, BASE), "own") == reached(SPLIT, "own")
