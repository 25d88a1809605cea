"""Values of __kconfig variables by their C type."""

from __future__ import annotations

import errno
import gzip
import logging
from pathlib import Path
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import BpfError, LoadError
from anybpf.libbpf import Object, kconfig
from anybpf.libbpf.kconfig import Kind
from anybpf.libbpf.spec import DataKind, DataSection, ExternSpec, Variable
from conftest import Build

BUILDER = BtfBuilder()
TYPES = {
    "int": BUILDER.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)),
    "u8": BUILDER.add(t.Int("unsigned char", 1)),
    "bool": BUILDER.add(t.Int("_Bool", 1, encoding=uapi.BTF_INT_BOOL)),
    "char": BUILDER.add(t.Int("char", 1, encoding=uapi.BTF_INT_SIGNED)),
    "u64": BUILDER.add(t.Int("u64", 8)),
    "tri": BUILDER.add(t.Enum("libbpf_tristate", 4, (t.EnumValue("TRI_NO", 0),))),
    "text": BUILDER.add(t.Array(4, 1, 6)),
    "short": BUILDER.add(t.Int("short", 2, encoding=uapi.BTF_INT_SIGNED)),
    "wide": BUILDER.add(t.Int("__int128", 16)),
    "enum": BUILDER.add(t.Enum("color", 4, (t.EnumValue("RED", 0),))),
    "ints": BUILDER.add(t.Array(1, 1, 6)),
    "none": BUILDER.add(t.Array(4, 1, 0)),
    "pointer": BUILDER.add(t.Ptr(1)),
}
BTF = BUILDER.build()
KERNEL = kconfig.KernelFacts((6, 18, 300), {"CONFIG_HZ": "250", "CONFIG_BOTH": "1"})


def encoded(kind: str, text: str) -> bytes:
    type_id = TYPES[kind]
    return kconfig.encode(BTF, Variable("X", 0, BTF.size_of(type_id), type_id), text)


@pytest.mark.parametrize(("kind", "text", "raw"), [
    ("bool", "y", b"\1"), ("bool", "n", b"\0"), ("char", "m", b"m"),
    ("tri", "y", b"\1\0\0\0"), ("tri", "m", b"\2\0\0\0"), ("tri", "n", bytes(4)),
    ("int", "-2", b"\xfe\xff\xff\xff"), ("u64", "0x123456789", (0x123456789).to_bytes(8, "little")),
    ("u8", "255", b"\xff"), ("text", '"abc"', b"abc\0\0\0"), ("text", '"too long"', b"too l\0"),
    ("int", "010", b"\x08\0\0\0"), ("short", "-32768", b"\x00\x80"), ("u64", "-1", b"\xff" * 8),
    ("char", "-1", b"\xff"), ("bool", "no", b"\0"), ("int", "+7", b"\7\0\0\0"),
])
def test_values(kind: str, text: str, raw: bytes) -> None:
    assert encoded(kind, text) == raw


@pytest.mark.parametrize(("kind", "text", "number", "why"), [
    ("bool", "m", errno.EINVAL, "value 'm' implies tristate or char type"),
    ("int", "y", errno.EINVAL, "value 'y' implies bool, tristate, or char type"),
    ("bool", "1", errno.EINVAL, "value '1' implies integer type"),
    ("int", '"text"', errno.EINVAL, "value '\"text\"' implies char array type"),
    ("text", '"open', errno.EINVAL, "invalid string config '\"open'"),
    ("int", "x", errno.EINVAL, "value 'x' isn't a valid integer"),
    ("int", "1x", errno.EINVAL, "isn't a valid integer"),
    ("int", "1" * 30, errno.EINVAL, "isn't a valid integer"),
    ("u8", "256", errno.ERANGE, "value '256' doesn't fit in 1 bytes"),
    ("u8", "-1", errno.ERANGE, "value '18446744073709551615' doesn't fit in 1 bytes"),
    ("short", "32768", errno.ERANGE, "doesn't fit in 2 bytes"),
    ("text", "5", errno.EINVAL, "implies integer type"),
])
def test_mismatches(kind: str, text: str, number: int, why: str) -> None:
    with pytest.raises(BpfError) as caught:
        encoded(kind, text)
    assert caught.value.errno == number
    assert why in str(caught.value)


@pytest.mark.parametrize(("name", "kind"), [
    ("int", Kind.INT), ("u8", Kind.CHAR), ("bool", Kind.BOOL), ("tri", Kind.TRISTATE),
    ("text", Kind.CHAR_ARR), ("wide", Kind.UNKNOWN), ("enum", Kind.UNKNOWN),
    ("ints", Kind.UNKNOWN), ("none", Kind.UNKNOWN), ("pointer", Kind.UNKNOWN),
])
def test_kinds(name: str, kind: Kind) -> None:
    assert kconfig.kind_of(BTF, TYPES[name])[0] is kind


def test_parse() -> None:
    text = "# comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"a=b\"\nOTHER=1\nCONFIG_A=n\n"
    assert kconfig.parse_config(text) == {"CONFIG_A": "y", "CONFIG_C": '"a=b"'}


@pytest.mark.parametrize(("line", "why"), [("CONFIG_A", "'CONFIG_A': no separator"),
                                           ("CONFIG_A=", "'CONFIG_A': no value")])
def test_bad_lines(line: str, why: str) -> None:
    with pytest.raises(BpfError, match=why):
        kconfig.parse_config(line)


def test_sources(tmp_path: Path) -> None:
    plain, packed, broken = (tmp_path / n for n in ("config", "config.gz", "broken.gz"))
    plain.write_text("CONFIG_A=y\n")
    packed.write_bytes(gzip.compress(b"CONFIG_A=y\n"))
    broken.write_bytes(packed.read_bytes()[:-9])
    assert kconfig.text_of("CONFIG_A=y\n") == kconfig.text_of(plain) == kconfig.text_of(packed)
    given = {"CONFIG_B": True, "CONFIG_N": False, "CONFIG_I": -3, "CONFIG_S": "two words",
             "CONFIG_M": "m", "CONFIG_X": "0x10", "CONFIG_Q": '"q"'}
    assert kconfig.parse_config(kconfig.text_of(given)) == {
        "CONFIG_B": "y", "CONFIG_N": "n", "CONFIG_I": "-3", "CONFIG_S": '"two words"',
        "CONFIG_M": "m", "CONFIG_X": "0x10", "CONFIG_Q": '"q"'}
    with pytest.raises(LoadError, match="broken gzip data"):
        kconfig.text_of(broken)
    with pytest.raises(FileNotFoundError):
        kconfig.text_of(tmp_path / "missing")


def test_version() -> None:
    assert kconfig.version_code((6, 18, 300)) == 0x0612FF


def section(**kinds: tuple[str, bool]) -> tuple[DataSection, dict[str, ExternSpec]]:
    """A .kconfig section of variables: name -> (type, is weak)."""
    variables, externs, at = {}, {}, 0
    for name, (kind, weak) in kinds.items():
        type_id = TYPES[kind]
        size = BTF.size_of(type_id)
        variables[name] = Variable(name, at, size, type_id)
        externs[name] = ExternSpec(name, ".kconfig", weak, False, 0, type_id, at, size)
        at += 8
    return DataSection(".kconfig", DataKind.KCONFIG, at, variables), externs


def test_filling_takes_given_values_first() -> None:
    data, externs = section(LINUX_KERNEL_VERSION=("int", False), CONFIG_HZ=("int", False),
                            CONFIG_BOTH=("int", False), CONFIG_NOT=("int", True),
                            LINUX_HAS_BPF_COOKIE=("bool", False), LINUX_NEW=("int", True),
                            LINUX_HAS_SYSCALL_WRAPPER=("char", False))
    kconfig.fill(data, externs, BTF, {"CONFIG_BOTH": "2"}, lambda: KERNEL)
    words = [int.from_bytes(data.content[i:i + 4], "little") for i in range(0, data.size, 8)]
    assert words == [0x0612FF, 250, 2, 0, 1, 0, 1]


@pytest.mark.parametrize(("name", "kind", "weak", "number", "why"), [
    ("CONFIG_NOT", "int", False, errno.ESRCH, "extern 'CONFIG_NOT' (strong): not resolved"),
    ("LINUX_NEW", "int", False, errno.EINVAL, "'LINUX_NEW': unrecognized virtual extern"),
    ("OTHER", "int", True, errno.EINVAL, "'OTHER': unrecognized virtual extern"),
    ("LINUX_KERNEL_VERSION", "text", False, errno.EINVAL, "implies integer, char, or boolean type"),
    ("LINUX_KERNEL_VERSION", "bool", False, errno.EINVAL, "isn't boolean compatible"),
    ("LINUX_KERNEL_VERSION", "short", False, errno.ERANGE, "doesn't fit in 2 bytes"),
])
def test_what_cannot_be_filled(name: str, kind: str, weak: bool, number: int, why: str) -> None:
    data, externs = section(**{name: (kind, weak)})
    with pytest.raises(BpfError) as caught:
        kconfig.fill(data, externs, BTF, {}, lambda: KERNEL)
    assert caught.value.errno == number
    assert why in str(caught.value)


def test_a_kernel_that_hides_its_configuration() -> None:
    data, externs = section(CONFIG_A=("bool", True))
    hidden = kconfig.KernelFacts((6, 18, 0), None)
    with pytest.raises(BpfError, match="failed to open system Kconfig"):
        kconfig.fill(data, externs, BTF, {}, lambda: hidden)
    kconfig.fill(data, externs, BTF, {"CONFIG_A": "y"}, lambda: hidden)
    assert data.content[0] == 1


def test_a_machine_has_only_what_is_given(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    given = {"CONFIG_ON": True, "CONFIG_THREE": "m", "CONFIG_TEXT": "hi", "CONFIG_NUMBER": 0x40}
    with Object.open(build("externs.bpf.c"), kconfig=given) as obj:
        obj.programs["symbols"].autoload = False
        obj.spec.externs = {n: e for n, e in obj.spec.externs.items() if e.section == ".kconfig"}
        obj.load(machine)
        assert obj.programs["configured"].test_run(bytes(64)).retval == 0x40
        assert obj.kconfig.LINUX_KERNEL_VERSION >> 16 == 6


def test_the_log(caplog: Any) -> None:
    data, externs = section(CONFIG_HZ=("int", False), CONFIG_NOT=("int", True))
    with caplog.at_level(logging.DEBUG, "anybpf.libbpf"):
        kconfig.fill(data, externs, BTF, {}, lambda: KERNEL)
    assert caplog.messages == [
        "extern (kcfg) 'CONFIG_HZ': set to 250",
        "extern 'CONFIG_NOT' (weak): not resolved, defaulting to zero"]
