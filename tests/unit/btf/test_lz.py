"""Blocks of lz4 and lzo: by hand, by the programs themselves, and broken ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from anybpf.btf import lz
from unit.btf.test_vmlinuz import PROGRAMS, packed

#: what the bytes become, by the rules of the formats
LZ4 = {
    b"\x30abc": b"abc",
    b"\x35abc\x03\x00\x10d": b"abcabcabcabcd",
    b"\x1fa\x01\x00\x03\x00": b"a" * 23,
    b"\xf0\x01" + b"0123456789abcdef": b"0123456789abcdef",
}
END = b"\x11\x00\x00"
LZO = {
    b"\x15abcd" + END: b"abcd",
    b"\x14abc\x00\x00" + END: b"abccc",
    b"\x15abcd\x6c\x00" + END: b"abcdabcd",
    b"\x00\x03" + b"x" * 21 + b"\x20\x02\x00\x00" + END: b"x" * 56,
    b"\x15abcd\x21\x0d\x00z" + END: b"abcdabcz",
}


@pytest.mark.parametrize("data", LZ4)
def test_lz4_by_hand(data):
    assert lz.lz4_block(data) == LZ4[data]


@pytest.mark.parametrize("data", LZO)
def test_lzo_by_hand(data):
    assert lz.lzo_block(data) == LZO[data]


def texts() -> list[bytes]:
    """Text that repeats near and far, noise, and nothing but zeros."""
    rnd = random.Random(5)
    words = [bytes(rnd.randrange(256) for _ in range(rnd.randint(2, 40))) for _ in range(300)]
    return [
        b"".join(rnd.choice(words) for _ in range(12000)),
        bytes(rnd.randrange(256) for _ in range(70000)),
        bytes(300000),
        b"far" * 20 + bytes(rnd.randrange(256) for _ in range(40000)) + b"far" * 20,
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_programs_make(name):
    blocks: Callable[[memoryview], object] = lz.lz4_blocks if name == "lz4" else lz.lzo_blocks
    for text in texts():
        data = memoryview(packed(PROGRAMS[name], text))
        assert b"".join(blocks(data)) == text


def test_lz4_ends_where_no_block_follows():
    one = (4).to_bytes(4, "little") + b"\x30abc"
    assert list(lz.lz4_blocks(memoryview(lz.LZ4_MAGIC + one + one + b"\xff" * 4))) == [b"abc"] * 2
    assert list(lz.lz4_blocks(memoryview(lz.LZ4_MAGIC * 2 + one + bytes(4)))) == [b"abc"]


@pytest.mark.parametrize("block", [lz.lz4_block, lz.lzo_block])
def test_broken_blocks_are_value_errors(block):
    rnd = random.Random(3)
    good = [*LZ4, *LZO]
    for _ in range(3000):
        data = bytearray(rnd.choice(good))
        data[rnd.randrange(len(data))] = rnd.randrange(256)
        try:
            assert len(block(bytes(data[: rnd.randint(0, len(data))]))) <= lz.MAX_BLOCK
        except ValueError as e:
            assert str(e)  # noqa: PT017


@pytest.mark.parametrize("size", [0, 5, 20, 33, 60])
def test_broken_lzop_files(size):
    data = lz.LZO_MAGIC + bytes.fromhex("104020a00940010900000000") + bytes(100)
    try:
        list(lz.lzo_blocks(memoryview(data[: len(lz.LZO_MAGIC) + size])))
    except ValueError as e:
        assert "cut short" in str(e)  # noqa: PT017
