"""bpf_snprintf_btf's text, and what the running kernel writes for the same bytes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import struct
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.btf import show
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs, hostkernel

COMPACT, NONAME = uapi.BTF_F_COMPACT, uapi.BTF_F_NONAME
RAW, ZERO = uapi.BTF_F_PTR_RAW, uapi.BTF_F_ZERO

BTF = blobs.build(
    t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED),
    t.Int("char", 1, encoding=uapi.BTF_INT_SIGNED),
    t.Ptr(1),
    t.Array(2, 1, 6),
    t.Enum("e", 4, (t.EnumValue("NONE", 0), t.EnumValue("ONE", 1))),
    t.Struct("in", 8, (t.Member("a", 1, 0), t.Member("b", 1, 32, 5)), True),
    t.Array(6, 1, 2),
    t.Struct("s", 48, (
        t.Member("n", 1, 0), t.Member("text", 4, 32), t.Member("e", 5, 96), t.Member("p", 3, 128),
        t.Member("in", 6, 192), t.Member("arr", 7, 256))),
    t.Typedef("s_t", 8),
    t.Union("u", 8, (t.Member("i", 1, 0), t.Member("p", 3, 0))),
    t.Int("wide", 16),
    t.Float("float", 4),
    t.Fwd("f"),
    t.Var("v", 1),
    t.Datasec(".data", 4, (t.SecVar(14, 0, 4),)),
)  # fmt: skip
VALUE = struct.pack("<i6s2xIQII", -2, b"hi\xe9\0zz", 1, 0xFFFF888000001234, 0, 7) + bytes(16)

FULL = """\
(struct s){
 .n = (int)-2,
 .text = (char[])[
  'h',
  'i',
  '\udce9',
 ],
 .e = (enum e)ONE,
 .p = (int *)0xffff888000001234,
 .in = (struct in){
  .b = (int)0x7,
 },
}
"""


@pytest.mark.parametrize(
    ("type_id", "data", "flags", "text"),
    [
        (8, VALUE, RAW, FULL),
        (9, VALUE, RAW | COMPACT | NONAME,
         "{-2,['h','i','\udce9',],ONE,0xffff888000001234,{0x7,},}"),
        (6, bytes(8), 0, "(struct in){\n}\n"),
        (6, bytes(8), ZERO, "(struct in){\n .a = (int)0,\n .b = (int)0x0,\n}\n"),
        (7, bytes(8) + b"\1\0\0\0\0\0\0\0", COMPACT, "(struct in[])[1,},]"),
        (10, b"\5" + bytes(7), COMPACT | RAW,
         "(union u){.i = (int)5,.p = (int *)0x0000000000000005,}"),
        (1, bytes(4), 0, "(int)0\n"),
        (3, bytes(8), 0, "(int *)0x0000000000000000\n"),
        (11, bytes(8) + b"\1" + bytes(7), 0, "(wide)0x10000000000000000\n"),
        (5, b"\7\0\0\0", 0, "(enum e)7\n"),
        (12, bytes(4), 0, "<unsupported kind:16>"),
        (13, bytes(4), 0, "<unsupported kind:7>"),
        (14, b"\1\0\0\0", COMPACT, "(int)1"),
        (15, b"\1\0\0\0", COMPACT, '(.data)section (".data") = {(int)1'),
    ],
)  # fmt: skip
def test_the_text(type_id, data, flags, text):
    got = show.snprintf_btf(BTF, type_id, data, flags)
    assert got.text.decode("utf-8", "surrogateescape") == text
    assert got.length == len(got.text)


def test_the_buffer_cuts_the_text_and_not_the_length():
    assert show.snprintf_btf(BTF, 1, b"\x39\x30\0\0", COMPACT, size=8) == (b"(int)12", 10)
    assert show.snprintf_btf(BTF, 1, b"\x39\x30\0\0", COMPACT, size=0) == (b"", 10)


def test_pointers_are_hashed():
    one, same, other = (
        show.snprintf_btf(BTF, 3, struct.pack("<Q", p)).text for p in (1 << 40, 1 << 40, 1 << 41)
    )
    assert one == same != other
    mine = show.snprintf_btf(BTF, 3, b"\1" * 8, COMPACT, hash_pointer=lambda p: 0x1234)
    assert mine.text == b"(int *)0x0000000000001234"
    assert show.snprintf_btf(BTF, 3, b"\xfe" + b"\xff" * 7).text.endswith(b"fffffffffffffffe\n")


def test_misuse():
    with pytest.raises(ValueError, match="unknown flags 0x10"):
        show.snprintf_btf(BTF, 1, bytes(4), 16)
    with pytest.raises(LoadError, match="ends before byte 48"):
        show.snprintf_btf(BTF, 8, bytes(47))


def test_endless_types_are_stopped():
    itself = blobs.build(t.Struct("s", 4, (t.Member("me", 1, 0),)))
    pairs = ((t.Member("", i, 0), t.Member("", i, 0)) for i in range(1, 30))
    doubling = blobs.build(t.Int("int", 4), *(t.Struct("", 4, pair) for pair in pairs))
    section = blobs.build(t.Datasec("d", 4, (t.SecVar(1, 0, 4),)))
    for btf, type_id in ((itself, 1), (doubling, 30), (section, 1)):
        with pytest.raises(LoadError, match="nested too deeply"):
            show.snprintf_btf(btf, type_id, bytes(4))


# -- the running kernel ---------------------------------------------------------------------------

#: places in the map's one value: what the helper returned, its arguments, its text, the bytes
RESULT, POINTER, TEXT, DATA, SIZE = 0, 8, 24, 8192, 12288
TEXT_SIZE = DATA - TEXT


class Printer:
    """A raw tracepoint program, never attached, that prints what is in its map."""

    def __init__(self, map_fd: int, flags: int) -> None:
        self.map_fd = map_fd
        self.fd = _load(self._code(flags))

    def _address(self, register: int, offset: int) -> bytes:
        head = struct.pack("<BBhi", 0x18, register | 2 << 4, 0, self.map_fd)
        return head + struct.pack("<BBhi", 0, 0, 0, offset)

    def _code(self, flags: int) -> bytes:
        def insn(op: int, dst: int = 0, src: int = 0, imm: int = 0) -> bytes:
            return struct.pack("<BBhi", op, dst | src << 4, 0, imm)

        numbers = insn(0xB7, 2, 0, TEXT_SIZE) + insn(0xB7, 4, 0, 16) + insn(0xB7, 5, 0, flags)
        return b"".join((
            self._address(6, POINTER), self._address(1, DATA), insn(0x7B, 6, 1), insn(0xBF, 3, 6),
            self._address(1, TEXT), numbers, insn(0x85, 0, 0, uapi.BPF_FUNC_snprintf_btf),
            self._address(6, RESULT), insn(0x7B, 6, 0), insn(0xB7), insn(0x95),
        ))  # fmt: skip

    def text(self, type_id: int, data: bytes) -> show.Written:
        value = bytearray(SIZE)
        struct.pack_into("<I", value, POINTER + 8, type_id)
        value[DATA : DATA + len(data)] = data
        hostkernel._update(self.map_fd, bytes(value))
        got, _ = hostkernel.bpf(uapi.BPF_PROG_TEST_RUN, struct.pack("<I76x", self.fd))
        assert got == 0, os.strerror(-got)
        out = hostkernel.lookup(self.map_fd, SIZE)
        text = out[TEXT:DATA].partition(b"\0")[0]
        return show.Written(text, struct.unpack_from("<q", out, RESULT)[0])


def _load(code: bytes) -> int:
    insns = ctypes.create_string_buffer(code, len(code))
    license = ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(insns), ctypes.addressof(license)
    attr = struct.pack(
        "<IIQQ128x", uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, len(code) // 8, *addresses
    )  # fmt: skip
    fd, _ = hostkernel.bpf(uapi.BPF_PROG_LOAD, attr)
    if fd < 0:
        pytest.skip(f"the kernel refuses bpf_snprintf_btf: {os.strerror(-fd)}")
    return fd


@contextlib.contextmanager
def printer(flags: int) -> Iterator[Printer]:
    attr = struct.pack("<5I", uapi.BPF_MAP_TYPE_ARRAY, 4, SIZE, 1, 0)
    map_fd, _ = hostkernel.bpf(uapi.BPF_MAP_CREATE, attr)
    assert map_fd >= 0, os.strerror(-map_fd)
    try:
        made = Printer(map_fd, flags)
        yield made
        os.close(made.fd)
    finally:
        os.close(map_fd)


def printable_types(btf: Btf, rnd: random.Random, count: int) -> Iterator[tuple[int, int]]:
    """Some types with their sizes. Not VARs: the kernel crashes on those of vmlinux."""
    kinds = (uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION, uapi.BTF_KIND_TYPEDEF, uapi.BTF_KIND_ARRAY,
             uapi.BTF_KIND_INT, uapi.BTF_KIND_ENUM, uapi.BTF_KIND_PTR)  # fmt: skip
    while count:
        type_id = rnd.choice(btf.ids())
        with contextlib.suppress(LoadError):
            if btf.kind(type_id) in kinds and (size := btf.size_of(type_id)) <= 1024:
                count -= 1
                yield type_id, size


def some_bytes(rnd: random.Random, size: int) -> bytes:
    """Bytes of one of several tempers: all, some or few of them not zero."""
    choices = rnd.choice((bytes(range(256)), b"\0\0\0\0Ab\xe9\x01", bytes(60) + b"\1"))
    return bytes(rnd.choice(choices) for _ in range(size))


@pytest.mark.kernel
@pytest.mark.parametrize("flags", range(16))
def test_the_kernels_text(flags):
    hostkernel.need_reference()
    btf, rnd = blobs.vmlinux(), random.Random(flags)
    with printer(flags | RAW) as kernels:
        for type_id, size in printable_types(btf, rnd, 40):
            data = some_bytes(rnd, size)
            want = kernels.text(type_id, data)
            assert show.snprintf_btf(btf, type_id, data, flags | RAW, size=TEXT_SIZE) == want
