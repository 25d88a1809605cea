"""Values from bytes to Python and back, and what bpftool prints for the same bytes."""

from __future__ import annotations

import json
import pickle
import struct

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf import values
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs, hostkernel

SIGNED = uapi.BTF_INT_SIGNED

SOURCE = """
typedef unsigned int u32; typedef unsigned char u8;
enum e { AA, BB = -1 }; enum big { X = 1ULL << 40 };
struct inner { short s; union { int i; unsigned f; }; };
struct v { int a:3; unsigned b:5; long long c:40; int d; char name[8]; char raw[4]; u8 mac[6];
  _Bool t; enum e e; enum e e2; enum big g; void *p; struct inner in; struct inner arr[2];
  int mat[2][3]; long long ll; char ch; __int128 wide; struct {} nothing; void (*fn)(int);
  enum e bits: 4; signed char sc; u32 flex[]; };
struct v v = {.a = -2, .b = 17, .c = -5, .d = 7, .name = "abc", .raw = {1, 2, 3, 4},
  .mac = {1, 2, 3, 4, 5, 255}, .t = 1, .e = BB, .g = X, .p = (void *)0x1234, .in = {-3, {5}},
  .mat = {{1, 2, 3}, {4, 5, 6}}, .ll = -5, .ch = 'A', .wide = ((__int128)7 << 64) + 5,
  .bits = BB, .sc = 65};
"""

PYTHON = {
    "a": -2, "b": 17, "c": -5, "d": 7, "name": "abc", "raw": b"\x01\x02\x03\x04",
    "mac": b"\x01\x02\x03\x04\x05\xff", "t": True, "e": -1, "e2": 0, "g": 1 << 40, "p": 0x1234,
    "in": {"s": -3, "i": 5, "f": 5}, "arr": [{"s": 0, "i": 0, "f": 0}] * 2,
    "mat": [[1, 2, 3], [4, 5, 6]], "ll": -5, "ch": 65, "wide": (7 << 64) + 5, "nothing": {},
    "fn": 0, "bits": -1, "sc": 65, "flex": b"" or [],
}  # fmt: skip


@pytest.fixture(scope="module", params=["bpfel", "bpfeb"])
def compiled(request, tmp_path_factory):
    """(BTF, id of struct v, the bytes that the compiler made of its initialiser)."""
    where = tmp_path_factory.mktemp(request.param)
    btf = blobs.compiled(SOURCE, where, target=request.param)
    return btf, btf.find("v", uapi.BTF_KIND_STRUCT), blobs.elf_section(where / "object.o", ".data")


def test_the_compiler_and_we_agree(compiled):
    btf, struct_v, raw = compiled
    got = values.decode(btf, struct_v, raw)
    assert got == PYTHON
    assert str(got["e"]) == "BB"
    assert type(got["t"]) is bool
    assert values.encode(btf, struct_v, got) == raw


def test_what_is_printed_can_be_read_back(compiled):
    btf, struct_v, raw = compiled
    shown = json.loads(values.format_value(btf, struct_v, raw))
    assert shown["a"] == "0x6"
    assert shown["e"] == "BB"
    assert shown["in"] == {"s": -3, "": {"i": 5, "f": 5}}
    assert values.encode(btf, struct_v, shown) == raw


@pytest.mark.kernel
def test_bpftool_prints_the_same(compiled):
    hostkernel.need()
    btf, struct_v, raw = compiled
    if btf.byteorder == "big":
        pytest.skip("the kernel here takes little-endian BTF only")
    data = loadable(btf)
    key = Btf(data).find("unsigned int")
    with hostkernel.array_map(data, struct_v, raw, key) as map_id:
        printed = blobs.bpftool("-j", "map", "dump", "id", str(map_id))
    shown = json.loads(printed)[0]["formatted"]["value"]
    assert shown == values.json_value(btf, struct_v, raw)


def loadable(btf: Btf) -> bytes:
    """The BTF with the size of its data section filled in, as a loader does."""
    data = bytearray(btf.data)
    for type_id, made in btf.types():
        if isinstance(made, t.Datasec):
            struct.pack_into("<I", data, btf.offset_of(type_id) + 8, 160)
    return bytes(data)


BTF = blobs.build(
    t.Int("int", 4, encoding=SIGNED),
    t.Int("unsigned char", 1),
    t.Int("bool", 1, encoding=uapi.BTF_INT_BOOL),
    t.Enum("verdict", 4, (t.EnumValue("DROP", 1), t.EnumValue("PASS", 2))),
    t.Array(2, 1, 4),
    t.Ptr(0),
    t.Float("double", 8),
    t.Float("long double", 16),
    t.Struct("s", 16, (t.Member("n", 1, 0), t.Member("list", 5, 32), t.Member("", 10, 64))),
    t.Union("", 8, (t.Member("p", 6, 0), t.Member("ok", 3, 0))),
    t.Int("char", 1, encoding=SIGNED),
    t.Array(11, 1, 4),
    t.Fwd("f"),
    t.Var("var", 1),
    t.Datasec(".data", 8, (t.SecVar(14, 4, 4),)),
    t.Int("odd", 4, bits=7, offset=3, encoding=SIGNED),
    t.Array(3, 1, 2),
)


@pytest.mark.parametrize(
    ("type_id", "given", "raw"),
    [
        (1, -2, b"\xfe\xff\xff\xff"),
        (1, "0x10", b"\x10\0\0\0"),
        (3, True, b"\1"),
        (4, "PASS", b"\2\0\0\0"),
        (4, 7, b"\7\0\0\0"),
        (5, [1, 2], b"\1\2\0\0"),
        (5, b"\1\2\3", b"\1\2\3\0"),
        (6, None, bytes(8)),
        (7, 1.5, struct.pack("<d", 1.5)),
        (8, bytes(range(16)), bytes(range(16))),
        (9, {}, bytes(16)),
        (9, {"n": 1, "ok": 1}, b"\1\0\0\0\0\0\0\0\1".ljust(16, b"\0")),
        (9, {"": {"p": 1}}, b"\0" * 8 + b"\1".ljust(8, b"\0")),
        (12, "ab", b"ab\0\0"),
        (12, "abcd", b"abcd"),
        (15, {"var": 9}, b"\0\0\0\0\t\0\0\0"),
        (16, -64, (0x40 << 3).to_bytes(4, "little")),
        (17, [True, 0], b"\1\0"),
    ],
)
def test_python_becomes_bytes(type_id, given, raw):
    assert values.encode(BTF, type_id, given) == raw
    assert values.encode(BTF, type_id, values.decode(BTF, type_id, raw)) == raw


@pytest.mark.parametrize(
    ("type_id", "given", "path", "message"),
    [
        (1, 1 << 31, "", "2147483648 does not fit 32 signed bits"),
        (1, 1.5, "", "takes a number for INT 'int', not float"),
        (1, "x", "", "'x' is not a number of 'int'"),
        (1, b"abc", "", "takes 4 bytes, not 3"),
        (2, -1, "", "-1 does not fit 8 unsigned bits"),
        (3, 2, "", "2 does not fit 1 unsigned bits"),
        (4, "NONE", "", "'NONE' is not an enumerator of 'verdict'"),
        (5, [1, 2, 3, 4, 5], "", "takes 4 elements, not 5"),
        (5, 7, "", "takes a sequence, not int"),
        (5, "abcde", "", "takes 4 characters, not 5"),
        (6, 1 << 64, "", "does not fit 64 unsigned bits"),
        (7, "x", "", "takes a number for 'double', not str"),
        (8, 1.5, "", "takes 16 raw bytes for 'long double', not float"),
        (9, [1], "", "'s' takes a mapping of its members (n, list), not list"),
        (9, {"m": 1}, "", "'s' has no member 'm'"),
        (9, {"list": [1, 256]}, "list[1]", "256 does not fit 8 unsigned bits"),
        (9, {"ok": None}, "ok", "takes a number for INT 'bool', not NoneType"),
        (15, {"x": 1}, "", "'.data' has no variable 'x'"),
        (16, 64, "", "64 does not fit 7 signed bits"),
    ],
)
def test_a_misfit_names_its_place(type_id, given, path, message):
    with pytest.raises(values.ValueMismatch) as caught:
        values.encode(BTF, type_id, given)
    assert caught.value.path == path
    assert message in caught.value.message


def test_too_few_bytes():
    with pytest.raises(LoadError, match="ends before byte 16"):
        values.decode(BTF, 9, bytes(15))


@pytest.mark.parametrize("bad", [0, 13])
def test_types_without_values(bad):
    with pytest.raises(LoadError):
        values.decode(BTF, bad, bytes(16))
    with pytest.raises(LoadError):
        values.encode(BTF, bad, 0)


def test_enum_numbers_survive_pickling():
    number = pickle.loads(pickle.dumps(values.EnumNumber(2, "PASS")))
    assert (number, number.name, str(number)) == (2, "PASS", "PASS")
    assert str(values.EnumNumber(9)) == "9"


def multiplying(levels: int) -> Btf:
    """Each struct holds the one before twice at offset 0: values of 2 ** levels leaves."""
    pairs = ((t.Member("", i, 0), t.Member("", i, 0)) for i in range(1, levels))
    return blobs.build(t.Int("int", 4), *(t.Struct("", 4, pair) for pair in pairs))


def test_types_that_multiply_are_stopped():
    btf = multiplying(30)
    with pytest.raises(LoadError, match="too many members"):
        values.decode(btf, 30, bytes(4))
    with pytest.raises(LoadError, match="nested without end"):
        values.encode(btf, 30, {"nope": 1})


def test_a_member_without_values_is_an_error():
    btf = blobs.build(t.Fwd("f"), t.Struct("s", 4, (t.Member("m", 1, 0),)))
    with pytest.raises(LoadError, match="no value of type 1"):
        values.encode(btf, 2, {"m": 1})


def test_a_struct_inside_itself_is_stopped():
    btf = blobs.build(t.Struct("s", 4, (t.Member("me", 1, 0),)))
    with pytest.raises(LoadError, match="nested too deeply"):
        values.decode(btf, 1, bytes(4))


def test_huge_arrays_of_nothing_are_stopped():
    btf = blobs.build(t.Struct("s", 0), t.Array(1, 1, 0xFFFFFFFF), t.Array(2, 1, 0xFFFFFFFF))
    with pytest.raises(LoadError, match="too many members"):
        values.decode(btf, 2, b"")
    big = blobs.build(t.Int("int", 4), t.Array(1, 1, 0xFFFFFFFF))
    with pytest.raises(LoadError, match="too many for a value"):
        values.encode(big, 2, [])


def test_an_integer_of_no_bits_is_zero():
    data = bytearray(blobs.build(t.Int("none", 4, encoding=SIGNED)).data)
    struct.pack_into("<I", data, 24 + 12, SIGNED << 24)
    assert values.decode(Btf(bytes(data)), 1, b"\xff" * 4) == 0
