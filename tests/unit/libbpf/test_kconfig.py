"""Values of __kconfig variables by their C type."""

from __future__ import annotations

import errno

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import BpfError
from anybpf.libbpf import kconfig
from anybpf.libbpf.spec import Variable

BUILDER = BtfBuilder()
TYPES = {
    "int": BUILDER.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)),
    "u8": BUILDER.add(t.Int("unsigned char", 1)),
    "bool": BUILDER.add(t.Int("_Bool", 1, encoding=uapi.BTF_INT_BOOL)),
    "char": BUILDER.add(t.Int("char", 1, encoding=uapi.BTF_INT_SIGNED)),
    "u64": BUILDER.add(t.Int("u64", 8)),
    "tri": BUILDER.add(t.Enum("libbpf_tristate", 4, (t.EnumValue("TRI_NO", 0),))),
    "text": BUILDER.add(t.Array(4, 1, 6)),
}
BTF = BUILDER.build()


def encoded(kind: str, text: str) -> bytes:
    type_id = TYPES[kind]
    return kconfig.encode(BTF, Variable("X", 0, BTF.size_of(type_id), type_id), text)


@pytest.mark.parametrize(("kind", "text", "raw"), [
    ("bool", "y", b"\1"), ("bool", "n", b"\0"), ("char", "m", b"m"),
    ("tri", "y", b"\1\0\0\0"), ("tri", "m", b"\2\0\0\0"), ("tri", "n", bytes(4)),
    ("int", "-2", b"\xfe\xff\xff\xff"), ("u64", "0x123456789", (0x123456789).to_bytes(8, "little")),
    ("u8", "255", b"\xff"), ("text", '"abc"', b"abc\0\0\0"), ("text", '"too long"', b"too l\0"),
])
def test_values(kind: str, text: str, raw: bytes) -> None:
    assert encoded(kind, text) == raw


@pytest.mark.parametrize(("kind", "text", "number"), [
    ("bool", "m", errno.EINVAL), ("int", "y", errno.EINVAL), ("bool", "1", errno.EINVAL),
    ("int", '"text"', errno.EINVAL), ("text", '"open', errno.EINVAL), ("int", "x", errno.EINVAL),
    ("u8", "256", errno.ERANGE), ("u8", "-1", errno.ERANGE), ("text", "5", errno.EINVAL),
])
def test_mismatches(kind: str, text: str, number: int) -> None:
    with pytest.raises(BpfError) as caught:
        encoded(kind, text)
    assert caught.value.errno == number


def test_parse() -> None:
    text = "# comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"a=b\"\nOTHER=1\n"
    assert kconfig.parse_config(text) == {"CONFIG_A": "y", "CONFIG_C": '"a=b"'}


def test_version() -> None:
    assert kconfig.version_code((6, 18, 300)) == 0x0612FF
