"""Made-up structs of locks, lists and kernel pointers: BTF_LOAD and MAP_CREATE against the kernel.

`ANYBPF_SWEEP=N` tries N times as many.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.btf import check
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.proto import maps
from anybpf.syscall.map_btf import TypedMap, check_map_btf
from kernel.special_types import PAGE, U32, U64, SpecialTypes
from kernel.verdicts import LINUX, bpf, kernel_btf, packed, refusal

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

TIMES = int(os.environ.get("ANYBPF_SWEEP", "1"))
LOG = ctypes.create_string_buffer(1 << 16)
#: made of a struct of the kernel's, of another map, or of memory that user space maps
UNTRIED = {"struct_ops", "array_of_maps", "hash_of_maps", "arena", "user_ringbuf", "ringbuf"}
ROWS = [row for row in maps.MAPS if row.name not in UNTRIED]


def load(data: bytes) -> tuple[int, str]:
    """The kernel's descriptor or negative error, and its log."""
    blob = ctypes.create_string_buffer(data, len(data))
    LOG[0] = b"\0"
    fd = bpf(uapi.BPF_BTF_LOAD, packed(
        (ctypes.addressof(blob), 8), (ctypes.addressof(LOG), 8), (len(data), 4), (len(LOG), 4),
        (1, 4), (0, 4)))
    return fd, LOG.value.decode()


def our_load(data: bytes) -> tuple[int, str]:
    try:
        return 0, check.check(data, kernel=kernel_btf())
    except check.BadBtf as error:
        return -(error.errno or 0), error.log


@pytest.mark.parametrize("part", range(4))
def test_the_same_types_are_taken(part: int) -> None:
    found: Counter[int] = Counter()
    for seed in range(part * 200 * TIMES, (part + 1) * 200 * TIMES):
        data = bytes(SpecialTypes(seed).build().data)
        fd, log = load(data)
        if fd >= 0:
            LINUX.close(fd)
        assert our_load(data) == (min(fd, 0), log), seed
        found[min(fd, 0)] += 1
    assert len(found) > 3
    assert found[0] > 50


Attr = tuple[maps.Map, int, int, int, int, int, int]


def attrs(seed: int, made: SpecialTypes) -> Iterator[Attr]:
    """Row, key type and size, value type and size, entries, flags."""
    rnd = random.Random(seed)
    for value in made.data:
        for row in ROWS:
            key_size = next(n for n in (4, 8, 0) if not row.key.check(n))
            key = rnd.choice({4: (U32, U32, U32, 0, U64), 8: (U64, U32, 0)}.get(key_size, (0, U32)))
            flags = row.required | rnd.choice(
                (0, 0, 0, uapi.BPF_F_RDONLY_PROG, uapi.BPF_F_WRONLY_PROG))
            entries = 0 if row.entries.check(1) else 1
            if made.size[value] < PAGE:
                yield row, key, key_size, value, made.size[value], entries, flags


def kernels(fd: int, attr: Attr) -> int:
    """The kernel's error number, 0 where it makes the map."""
    row, key, key_size, value, value_size, entries, flags = attr
    found = bpf(uapi.BPF_MAP_CREATE, packed(
        (row.type, 4), (key_size, 4), (value_size, 4), (entries, 4), (flags, 4), (0, 8), (0, 16),
        (0, 4), (fd, 4), (key, 4), (value, 4), (0, 4), (0, 8)))
    if found >= 0:
        LINUX.close(found)
    return max(-found, 0)


def ours(btf: Btf, attr: Attr) -> int:
    row, key, key_size, value, value_size, entries, flags = attr
    if number := row.check(key_size, value_size, entries, flags):
        return number
    if row.btf == "required" and not key:
        return 22
    try:
        check_map_btf(TypedMap(row, btf, key, value, key_size, value_size, entries, flags,
                               kernel_btf()))
    except BpfError as error:
        return error.errno or 0
    return 0


def test_the_same_maps_are_made() -> None:
    found: Counter[int] = Counter()
    for seed in range(60 * TIMES):
        made = SpecialTypes(seed)
        btf = made.build()
        fd, _ = load(bytes(btf.data))
        if fd < 0:
            continue
        for attr in attrs(seed, made):
            kernel = kernels(fd, attr)
            assert ours(btf, attr) == kernel, (seed, attr)
            found[kernel] += 1
        LINUX.close(fd)
    assert len(found) > 4
    assert found[0] > 200
