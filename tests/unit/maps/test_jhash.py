from __future__ import annotations

import pytest

from anybpf import maps, uapi
from anybpf.maps import MapAttr

BUCKETS = 1 << 20


def bucket_of(key: bytes) -> int:
    """The bucket in which a table with no seed keeps a key: batches start at a bucket."""
    attr = MapAttr(uapi.BPF_MAP_TYPE_HASH, len(key), 4, BUCKETS, uapi.BPF_F_ZERO_SEED)
    m = maps.create(attr, 1)
    m.update(key, bytes(4))
    low, high = 0, BUCKETS      # the last start that still finds it
    while high - low > 1:
        middle = (low + high) // 2
        found = m.lookup_batch(middle.to_bytes(4, "little"), 1).count
        low, high = (middle, high) if found else (low, middle)
    return low


@pytest.mark.parametrize(("key", "value"), [
    # published by the hash's author with lookup3.c
    (b"Four score and seven years ago", 0x17770551),
])
def test_published_values(key: bytes, value: int) -> None:
    assert bucket_of(key) == value % BUCKETS


@pytest.mark.parametrize("size", [1, 3, 4, 5, 12, 13, 25])
def test_every_byte_counts(size: int) -> None:
    key = bytes(range(size))
    buckets = {bucket_of(key[:i] + b"\xff" + key[i + 1:]) for i in range(size)}
    assert len(buckets) >= size - 1
