"""The Internet checksum against its definition."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf.net import checksum


def reference(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(int.from_bytes(data[i:i + 2].ljust(2, b"\0"), sys.byteorder)
                for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_the_header_of_rfc_1071() -> None:
    header = bytes.fromhex("4500003c1c4640004006" "0000" "ac100a63ac100a0c")
    assert checksum.internet_checksum(header).to_bytes(2, sys.byteorder).hex() == "b1e6"


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes(data: bytes) -> None:
    assert checksum.internet_checksum(data) == reference(data)


@given(st.binary(min_size=4, max_size=40), st.binary(min_size=4, max_size=4), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_replacing_a_word_is_like_summing_again(data: bytes, word: bytes, at: int) -> None:
    data = b"\1\2" + data.ljust(44, b"\0")
    at = 2 + 4 * at
    old = int.from_bytes(data[at:at + 4], sys.byteorder)
    changed = data[:at] + word + data[at + 4:]
    before = checksum.internet_checksum(data)
    assert checksum.replace(before, old, int.from_bytes(word, sys.byteorder)) == reference(changed)
    half = changed[:at] + word[:2] + data[at + 2:]
    old2 = int.from_bytes(data[at:at + 2], sys.byteorder)
    new2 = int.from_bytes(word[:2], sys.byteorder)
    assert checksum.replace(before, old2, new2, 2) == reference(half)


def test_partial_sums_add_up() -> None:
    data = bytes(range(100))
    seed = checksum.partial_sum(data[:40])
    assert checksum.internet_checksum(data[40:], seed) == reference(data)
