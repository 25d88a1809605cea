"""Blocks of lz4 and lzo, as kernels are compressed with (lib/lz4, lib/lzo, lib/decompress_un*.c).

Both are bytes copied from the input ("literals") and from what came out before ("matches").
Python's library has neither. A block that breaks the rules of its format is a ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: bytes that one block may become
MAX_BLOCK = 1 << 26
CUT_SHORT = "compressed data is cut short"


class Block:
    """One compressed block, read from the front, and what has come out of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.out = bytearray()

    def byte(self) -> int:
        self.at += 1
        if self.at > len(self.data):
            raise ValueError(CUT_SHORT)
        return self.data[self.at - 1]

    def half(self) -> int:
        return self.byte() | self.byte() << 8

    def literals(self, count: int) -> None:
        """Copy bytes of the input."""
        part = self.data[self.at : self.at + count]
        if len(part) < count:
            raise ValueError(CUT_SHORT)
        self.at += count
        self.out += part

    def match(self, distance: int, count: int) -> None:
        """Copy bytes of the output; they may overlap with what they become."""
        out = self.out
        start = len(out) - distance
        if not 0 <= start < len(out) or len(out) + count > MAX_BLOCK:
            raise ValueError("match outside the output")
        if distance >= count:
            out += out[start : start + count]
        else:
            out += (out[start:] * (count // distance + 1))[:count]


# -- lz4 ------------------------------------------------------------------------------------------

LZ4_MAGIC = b"\x02\x21\x4c\x18"


def lz4_blocks(data: memoryview) -> Iterator[bytes]:
    """What a stream of `lz4 -l` holds. It has no end mark: it ends where no block follows."""
    at = len(LZ4_MAGIC)
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if data[at - 4 : at] == LZ4_MAGIC:
            continue
        if not size or at + size > len(data):
            return
        yield lz4_block(bytes(data[at : at + size]))
        at += size


def lz4_block(data: bytes) -> bytes:
    """What one block holds."""
    block = Block(data)
    while True:
        token = block.byte()
        block.literals(_lz4_length(block, token >> 4))
        if block.at == len(data):
            return bytes(block.out)
        distance = block.half()
        block.match(distance, 4 + _lz4_length(block, token & 15))


def _lz4_length(block: Block, length: int) -> int:
    """A length of 15 goes on in the bytes that follow, as long as they are 255."""
    more = 255 if length == 15 else 0
    while more == 255:
        more = block.byte()
        length += more
    return length


# -- lzo ------------------------------------------------------------------------------------------

LZO_MAGIC = b"\x89LZO\0\r\n\x1a\n"
#: flags of lzop's header: checksums of each block, a filter
ADLER_OUT, ADLER_IN, CRC_OUT, CRC_IN, FILTER = 1, 2, 0x100, 0x200, 0x800
NEWER = 0x0940
#: distance of a match of the second kind that ends the block
END = 16384


def lzo_blocks(data: memoryview) -> Iterator[bytes]:
    """What a file of lzop holds. Checksums are not looked at: ELF and BTF are checked anyway."""
    at, flags = _lzop_header(data)
    while True:
        size, packed = _words(data, at, 2) if _words(data, at, 1)[0] else (0, 0)
        if not size:
            return
        if size > MAX_BLOCK or packed > size:
            raise ValueError("bad size of a block")
        sums = bool(flags & ADLER_OUT) + bool(flags & CRC_OUT)
        if packed < size:
            sums += bool(flags & ADLER_IN) + bool(flags & CRC_IN)
        at += 8 + 4 * sums
        raw = bytes(data[at : at + packed])
        if len(raw) < packed:
            raise ValueError(CUT_SHORT)
        yield raw if packed == size else lzo_block(raw)
        at += packed


def _words(data: memoryview, at: int, count: int) -> tuple[int, ...]:
    if at + 4 * count > len(data):
        raise ValueError(CUT_SHORT)
    return struct.unpack_from(f">{count}I", data, at)


def _lzop_header(data: memoryview) -> tuple[int, int]:
    """(where the blocks begin, flags)."""
    at = len(LZO_MAGIC)
    version = _words(data, at, 1)[0] >> 16
    newer = version >= NEWER
    at += 2 + 2 + 2 * newer + 1 + newer
    (flags,) = _words(data, at, 1)
    at += 4 + (4 if flags & FILTER else 0) + 4 + 4 + 4 * newer
    if at >= len(data):
        raise ValueError(CUT_SHORT)
    return at + 1 + data[at] + 4, flags


def lzo_block(data: bytes) -> bytes:
    """What one LZO1X block holds."""
    block = Block(data)
    #: literals that the last instruction copied; 4 stands for more than 3
    state = 0
    if data and data[0] > 17:
        count = block.byte() - 17
        block.literals(count)
        state = min(count, 4)
    while True:
        code = block.byte()
        if code < 16 and not state:
            block.literals(3 + _lzo_length(block, code, 15))
            state = 4
            continue
        distance, count, state = _lzo_match(block, code, state)
        if distance == END and 16 <= code < 32:
            return bytes(block.out)
        block.match(distance, count)
        block.literals(state)


def _lzo_match(block: Block, code: int, state: int) -> tuple[int, int, int]:
    """(distance, length, literals that follow) of a match."""
    if code >= 64:
        count = 5 + (code >> 5 & 3) if code >= 128 else 3 + (code >> 5 & 1)
        return (block.byte() << 3) + (code >> 2 & 7) + 1, count, code & 3
    if code >= 32:
        count = 2 + _lzo_length(block, code & 31, 31)
        half = block.half()
        return (half >> 2) + 1, count, half & 3
    if code >= 16:
        count = 2 + _lzo_length(block, code & 7, 7)
        half = block.half()
        return END + ((code & 8) << 11) + (half >> 2), count, half & 3
    near, count = (2049, 3) if state == 4 else (1, 2)
    return (block.byte() << 2) + (code >> 2) + near, count, code & 3


def _lzo_length(block: Block, length: int, most: int) -> int:
    """A length of 0 goes on in the bytes that follow: 255 for each zero, and the first other."""
    if length:
        return length
    more = block.byte()
    while not more:
        most += 255
        more = block.byte()
    return most + more
