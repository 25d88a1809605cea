"""Every kind for older kernels: what stands for it, and that the kernel takes what is left."""

from __future__ import annotations

import os
import struct

import pytest

from anybpf import uapi
from anybpf.btf import sanitize
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from unit.btf import blobs, hostkernel

INT = t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)
TYPES = (
    INT,
    t.FuncProto(1, (t.Param("a", 1),)),
    t.Func("f", 2, uapi.BTF_FUNC_GLOBAL),
    t.Var("v", 1),
    t.Datasec(".data.x", 4, (t.SecVar(4, 0, 4),)),
    t.Datasec("?.ops", 4, (t.SecVar(4, 0, 4),)),
    t.Float("double", 8),
    t.DeclTag("tag", 4),
    t.TypeTag("user", 1),
    t.Enum("e", 4, (t.EnumValue("M", -1),), signed=True),
    t.Enum64("e64", 8, (t.EnumValue("X", 1 << 40), t.EnumValue("Y", 2))),
)


def without(*names: str) -> Btf:
    return sanitize.sanitize(blobs.build(*TYPES), sanitize.ALL - set(names))


@pytest.mark.parametrize(
    ("lacking", "changed"),
    [
        ("datasec", {
            4: t.Int("v", 1),
            5: t.Struct("_data_x", 4, (t.Member("v", 4, 0),)),
            6: t.Struct("__ops", 4, (t.Member("v", 4, 0),))}),
        ("qmark_datasec", {6: t.Datasec("_.ops", 4, (t.SecVar(4, 0, 4),))}),
        ("func", {2: t.Enum("", 4, (t.EnumValue("a", 1),)), 3: t.Typedef("f", 2)}),
        ("global_func", {3: t.Func("f", 2, uapi.BTF_FUNC_STATIC)}),
        ("float", {7: t.Struct("", 8)}),
        ("decl_tag", {8: t.Int("tag", 1)}),
        ("type_tag", {9: t.Const(1)}),
        ("enum64", {
            10: t.Enum("e", 4, (t.EnumValue("M", uapi.U32),)),
            11: t.Union("e64", 8, (t.Member("X", 12, 0), t.Member("Y", 12, 0))),
            12: t.Int("enum64_placeholder", 1)}),
    ],
)  # fmt: skip
def test_one_thing_is_lacking(lacking, changed):
    got = dict(without(lacking).types())
    assert {i: one for i, one in got.items() if TYPES[i - 1 : i] != (one,)} == changed


def test_nothing_is_lacking():
    btf = blobs.build(*TYPES)
    assert sanitize.sanitize(btf, sanitize.ALL) is btf
    plain = blobs.build(INT)
    assert sanitize.sanitize(plain, ()) is plain


def test_string_offsets_stay():
    btf, bare = blobs.build(*TYPES), without(*sanitize.ALL)
    assert bare.strings.startswith(btf.strings)


def test_versions():
    assert sanitize.features_of((4, 19)) == frozenset()
    assert sanitize.features_of((5, 4, 200)) == {"func", "datasec"}
    assert sanitize.features_of((5, 15)) == {"func", "datasec", "global_func", "float"}
    assert sanitize.features_of((6, 18)) == sanitize.ALL


def completed(btf: Btf) -> Btf:
    """The BTF with sizes of data sections, as a loader fills them in."""
    data = bytearray(btf.data)
    for type_id, made in btf.types():
        if isinstance(made, t.Datasec):
            at, end = btf.offset_of(type_id), 0
            for i, var in enumerate(made.vars):
                struct.pack_into("<I", data, at + 12 + 12 * i + 4, end)
                end += var.size
            struct.pack_into("<I", data, at + 8, end or 4)
    return Btf(data)


OLD = (uapi.BTF_KIND_VAR, uapi.BTF_KIND_DATASEC, uapi.BTF_KIND_FLOAT, uapi.BTF_KIND_DECL_TAG,
       uapi.BTF_KIND_TYPE_TAG, uapi.BTF_KIND_ENUM64, uapi.BTF_KIND_FUNC,
       uapi.BTF_KIND_FUNC_PROTO)  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("version", [(4, 18), (5, 1), (5, 4), (5, 10), (5, 16), (6, 1)])
def test_the_kernel_takes_what_is_left(version):
    hostkernel.need_reference()
    features = sanitize.features_of(version)
    for path in blobs.xdp_objects():
        data = blobs.elf_section(path, ".BTF")
        if not data:
            continue
        btf = sanitize.sanitize(completed(Btf(data)), features)
        got, log = hostkernel.btf_load(btf.data)
        assert got >= 0, f"{path}: {log[-300:]}"
        os.close(got)
        if not features:
            assert not {btf.kind(i) for i in btf.ids()} & set(OLD)
