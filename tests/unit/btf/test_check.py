"""What the kernel refuses, in its own words; where bpf(2) is allowed it is asked itself."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from anybpf import uapi
from anybpf.btf import check
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import ENOTSUPP
from unit.btf import blobs, hostkernel

INT = t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)
PROTO = t.FuncProto(1)


def member(*args: int, name: str = "m") -> t.Member:
    return t.Member(name, *args)


def s(size: int, *members: t.Member, flag: bool = False) -> t.Struct:
    return t.Struct("s", size, members, flag)


EINVAL, E2BIG, EEXIST, ELOOP = errno.EINVAL, errno.E2BIG, errno.EEXIST, errno.ELOOP

#: (types behind `int`, error, last line of the log)
REFUSED = [
    ([t.Int("i", 4, bits=33)], EINVAL, "[2] INT i size=4 bits_offset=0 nr_bits=33 encoding=(none) "
     "nr_bits exceeds type_size"),
    ([t.Int("i", 16, bits=100, offset=29)], EINVAL, "[2] INT i size=16 bits_offset=29 nr_bits=100 "
     "encoding=(none) nr_bits exceeds 128"),
    ([t.Int("i", 4, encoding=3)], ENOTSUPP, "[2] INT i size=4 bits_offset=0 nr_bits=32 "
     "encoding=UNKN Unsupported encoding"),
    ([t.Ptr(9)], EINVAL, "[2] PTR (anon) type_id=9 Invalid type_id"),
    ([t.Ptr(1 << 20)], EINVAL, "[2] PTR (anon) type_id=1048576 Invalid type_id"),
    ([t.Ptr(1, "p")], EINVAL, "[2] PTR p type_id=1 Invalid name"),
    ([t.Typedef("", 1)], EINVAL, "[2] TYPEDEF (anon) type_id=1 Invalid name"),
    ([t.Typedef("1x", 1)], EINVAL, "[2] TYPEDEF 1x type_id=1 Invalid name"),
    ([t.TypeTag("", 1)], EINVAL, "[2] TYPE_TAG (anon) type_id=1 Invalid name"),
    ([t.Fwd("")], EINVAL, "[2] FWD (anon) struct Invalid name"),
    ([t.Array(0, 1, 1)], EINVAL,
     "[2] ARRAY (anon) type_id=0 index_type_id=1 nr_elems=1 Invalid elem"),
    ([t.Array(1, 3, 1), t.Ptr(1)], EINVAL,
     "[2] ARRAY (anon) type_id=1 index_type_id=3 nr_elems=1 Invalid index"),
    ([t.Array(1, 1, 1 << 31)], EINVAL,
     "[2] ARRAY (anon) type_id=1 index_type_id=1 nr_elems=2147483648 Array size overflows U32_MAX"),
    ([t.Array(3, 1, 1), t.Int("b", 4, bits=3)], EINVAL,
     "[2] ARRAY (anon) type_id=3 index_type_id=1 nr_elems=1 Invalid array of int"),
    ([s(4, member(1, 8))], EINVAL, "\tm type_id=1 bits_offset=8 Member exceeds struct_size"),
    ([s(4, member(1, 40))], EINVAL,
     "\tm type_id=1 bits_offset=40 Member bits_offset exceeds its struct size"),
    ([s(8, member(1, 32), member(1, 0))], EINVAL,
     "\tm type_id=1 bits_offset=0 Invalid member bits_offset"),
    ([s(8, member(0, 0))], EINVAL, "\tm type_id=0 bits_offset=0 Invalid type_id"),
    ([s(8, member(1, 0, name="a b"))], EINVAL, "\ta b type_id=1 bits_offset=0 Invalid name"),
    ([s(8, member(3, 0)), t.Const(0)], EINVAL, "\tm type_id=3 bits_offset=0 Invalid member"),
    ([s(8, member(3, 4)), t.Ptr(0)], EINVAL,
     "\tm type_id=3 bits_offset=4 Member is not byte aligned"),
    ([s(8, member(1, 4, 33), flag=True)], EINVAL,
     "\tm type_id=1 bitfield_size=33 bits_offset=4 Invalid member bitfield_size"),
    ([s(8, member(1, 4), flag=True)], EINVAL,
     "\tm type_id=1 bitfield_size=0 bits_offset=4 Invalid member offset"),
    ([s(8, member(3, 0, 3), flag=True), t.Int("b", 4, bits=3)], EINVAL,
     "\tm type_id=3 bitfield_size=3 bits_offset=0 Invalid member base type"),
    ([s(8, member(3, 0, 3), flag=True), t.Ptr(0)], EINVAL,
     "\tm type_id=3 bitfield_size=3 bits_offset=0 Invalid member bitfield_size"),
    ([s(16, member(3, 32)), t.Float("f", 8)], EINVAL,
     "\tm type_id=3 bits_offset=32 Member is not properly aligned"),
    ([t.Union("u", 8, (member(1, 8),))], EINVAL,
     "\tm type_id=1 bits_offset=8 Invalid member bits_offset"),
    ([s(4, member(2, 0))], EEXIST, "[2] STRUCT s size=4 vlen=1 Loop detected"),
    ([t.Enum("e", 3)], EINVAL, "[2] ENUM e size=3 vlen=0 Unexpected size"),
    ([t.Enum("e", 4, (t.EnumValue("", 1),))], EINVAL, "[2] ENUM e size=4 vlen=1 Invalid name"),
    ([t.Float("f", 5)], EINVAL, "[2] FLOAT f size=5 Invalid type_size"),
    ([PROTO, t.Func("f", 2, 2)], EINVAL, "[3] FUNC f type_id=2 Invalid func linkage"),
    ([t.Func("f", 1)], EINVAL, "[2] FUNC f type_id=1 Invalid type_id"),
    ([t.FuncProto(1, (t.Param("", 1),)), t.Func("f", 2)], EINVAL,
     "[3] FUNC f type_id=2 Invalid arg#1"),
    ([t.FuncProto(3), t.Fwd("f")], EINVAL,
     "[2] FUNC_PROTO (anon) return=3 args=(void) Invalid return type"),
    ([t.FuncProto(0, (t.Param("a", 1), t.Param("b", 0)))], EINVAL,
     "[2] FUNC_PROTO (anon) return=0 args=(1 a, vararg) Invalid arg#2"),
    ([t.Var("v", 1, 2)], EINVAL, "[2] VAR v type_id=1 linkage=2 Linkage not supported"),
    ([t.Var("v", 3), t.Fwd("f")], EINVAL, "[2] VAR v type_id=3 linkage=1 Invalid type_id"),
    ([t.Datasec("d", 0)], EINVAL, "[2] DATASEC d size=0 vlen=0 size == 0"),
    ([t.Datasec("d", 8, (t.SecVar(1, 0, 4),))], EINVAL,
     "\t type_id=1 offset=0 size=4 Not a VAR kind member"),
    ([t.Var("v", 1), t.Datasec("d", 8, (t.SecVar(2, 0, 4), t.SecVar(2, 2, 4)))], EINVAL,
     "\t type_id=2 offset=2 size=4 Invalid offset"),
    ([t.Var("v", 1), t.Datasec("d", 8, (t.SecVar(2, 6, 4),))], EINVAL,
     "\t type_id=2 offset=6 size=4 Invalid offset+size"),
    ([t.Var("v", 1), t.Datasec("d", 8, (t.SecVar(2, 0, 2),))], EINVAL,
     "\t type_id=2 offset=0 size=2 Invalid size"),
    ([t.DeclTag("", 1)], EINVAL, "[2] DECL_TAG (anon) type=1 component_idx=-1 Invalid value"),
    ([t.DeclTag("d", 1)], EINVAL, "[2] DECL_TAG d type=1 component_idx=-1 Invalid type_id"),
    ([t.DeclTag("d", 3, 0), t.Typedef("t", 1)], EINVAL,
     "[2] DECL_TAG d type=3 component_idx=0 Invalid component_idx"),
    ([t.Const(3), t.Volatile(2)], EEXIST, "[2] CONST (anon) type_id=3 Loop detected"),
    ([t.Const(i) for i in range(3, 35)] + [t.Const(1)], E2BIG,
     "[2] CONST (anon) type_id=3 Exceeded max resolving depth:32"),
    ([t.Const(3), t.TypeTag("x", 1)], EINVAL, "Type tags don't precede modifiers"),
]  # fmt: skip


def verdict(data: bytes, **options: Btf) -> tuple[int, str]:
    """(0 or errno, log) of our check."""
    try:
        return 0, check.check(data, **options)
    except check.BadBtf as e:
        return e.errno or 0, e.log


def kernel_verdict(data: bytes) -> tuple[int, str]:
    """(0 or errno, log) of the running kernel."""
    got, log = hostkernel.btf_load(data)
    if got >= 0:
        os.close(got)
        got = 0
    return -got, log


@pytest.mark.parametrize(("types", "number", "line"), REFUSED)
def test_refused_with_the_kernels_words(types, number, line):
    data = blobs.build(INT, *types).data
    got, log = verdict(data)
    assert log.rstrip("\n").rpartition("\n")[2] == line
    assert got == number


@pytest.mark.kernel
def test_the_kernel_says_the_same():
    hostkernel.need_reference()
    for types, _, _ in REFUSED:
        data = blobs.build(INT, *types).data
        assert verdict(data) == kernel_verdict(data)


ACCEPTED = [
    blobs.every_kind(),
    [INT, t.Ptr(3), s(8, member(2, 0))],
    [INT, t.Typedef("void_t", 0), t.Ptr(2), t.Const(4 + 1), t.Fwd("f"), t.Ptr(4)],
    [INT, s(12, t.Member("", 1, 0), member(1, 32, 3), member(1, 64), flag=True)],
    [INT, t.Const(3), t.Array(4, 1, 2), t.Typedef("x", 1)],
    [t.TypeTag("a", 2), t.Const(3), INT],
    [INT, *(t.Const(i) for i in range(3, 33)), t.Const(1)],
]


@pytest.mark.parametrize("types", ACCEPTED)
def test_accepted(types):
    log = check.check(blobs.build(*types).data)
    assert log.count("\n[") == len(types)


@pytest.mark.kernel
def test_the_kernel_accepts_them_too():
    hostkernel.need_reference()
    for types in ACCEPTED:
        data = blobs.build(*types).data
        assert verdict(data) == kernel_verdict(data)


GOOD = blobs.build(*blobs.every_kind()).data
TYPES = struct.unpack_from("<I", GOOD, 12)[0]


def patched(offset: int, value: int, layout: str = "<I") -> bytes:
    data = bytearray(GOOD)
    struct.pack_into(layout, data, offset, value)
    return bytes(data)


HEADERS = [
    (GOOD[:5], EINVAL, "hdr_len not found"),
    (GOOD[:20], EINVAL, "btf_header not found"),
    (GOOD[:24], EINVAL, "No data"),
    (patched(0, 1, "<H"), EINVAL, "Invalid magic"),
    (patched(2, 9, "B"), ENOTSUPP, "Unsupported version"),
    (patched(3, 9, "B"), ENOTSUPP, "Unsupported flags"),
    (patched(4, 28), E2BIG, "Unsupported btf_header"),
    (patched(8, 1), EINVAL, "Unsupported section found"),
    (patched(8, 5000), EINVAL, "Unsupported section found"),
    (patched(8, 0xFFFFFFFF), EINVAL, "Invalid section offset"),
    (patched(12, TYPES + 1), EINVAL, "Section overlap found"),
    (patched(20, 9000), EINVAL, "Total section length too long"),
    (patched(20, 5), EINVAL, "Unsupported section found"),
    (GOOD[:-1] + b"x", EINVAL, "Invalid string section"),
    (patched(28, 31 << 24), EINVAL, "[1] Invalid kind:31"),
    (patched(28, 1 << 20), EINVAL, "[1] Invalid btf_info:100000"),
    (patched(24, 1 << 20), EINVAL, "[1] Invalid name_offset:1048576"),
    (patched(GOOD.index(struct.pack("<I", 19 << 24 | 2)), 19 << 24 | 3), EINVAL,
     "[19] ENUM64 e64 meta_left:24 meta_needed:36"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "number", "line"), HEADERS)
def test_broken_headers(data, number, line):
    got, log = verdict(data)
    assert log.rstrip("\n").rpartition("\n")[2] == line
    assert got == number


@pytest.mark.kernel
def test_broken_headers_as_the_kernel_sees_them():
    hostkernel.need_reference()
    for data, _, _ in HEADERS:
        assert verdict(data) == kernel_verdict(data)


def test_the_error_has_its_fields():
    with pytest.raises(check.BadBtf) as caught:
        check.check(blobs.build(INT, t.Ptr(9)).data, verbose=False)
    assert caught.value.errno == EINVAL
    assert caught.value.type_id == 2
    assert caught.value.log == "[2] PTR (anon) type_id=9 Invalid type_id\n"
    assert "type_id=9 Invalid type_id" in str(caught.value)


def test_too_much_is_refused_unread():
    with pytest.raises(check.BadBtf) as caught:
        check.check(bytes(uapi.BTF_MAX_SIZE + 1))
    assert caught.value.errno == E2BIG


def test_overlapping_names_do_not_fill_memory(monkeypatch):
    monkeypatch.setattr("anybpf.btf.check_env.MAX_LOG", 100_000)
    log = check.check(blobs.overlapping(2000, 20000))
    assert 50_000 < len(log) <= 100_000


def test_split_btf_is_checked_against_its_base():
    base = blobs.build(INT, s(4, member(1, 0)), t.Typedef("s_t", 2), t.Array(3, 1, 2))
    good = blobs.build(s(12, t.Member("a", 3, 0), t.Member("b", 4, 32)), base=base)
    assert "[5] STRUCT s size=12 vlen=2" in check.check(good.data, base)
    small = blobs.build(s(8, t.Member("a", 3, 0), t.Member("b", 4, 32)), base=base)
    with pytest.raises(check.BadBtf) as caught:
        check.check(small.data, base)
    assert caught.value.log.endswith("b type_id=4 bits_offset=32 Member exceeds struct_size\n")
    assert caught.value.type_id == 5
