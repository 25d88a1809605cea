"""Every reader of BTF on broken input: LoadError or an answer, in bounded time."""

from __future__ import annotations

import contextlib
import random
import struct
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf.btf import dedup, dump, encode, ext, raw
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from property.test_btf_check import GOOD, mutated, random_types
from unit.btf import blobs
from unit.btf.test_ext import blob, table

EXT = blob(
    "<",
    table("<", 8, (1, [(0, 5), (8, 6)]), (3, [(0, 7)])),
    table("<", 16, (1, [(0, 2, 3, 10 << 10 | 7)])),
    table("<", 16, (3, [(16, 4, 9, 2)])),
)
#: seconds that the slowest of these tiny inputs may take, on a busy machine
PATIENCE = 20


def read_all(data: bytes) -> None:
    """List and dump; nothing but LoadError may come out."""
    began = time.monotonic()
    for reader in (raw.dump_raw, raw.describe_all, dump.dump_c):
        with contextlib.suppress(LoadError):
            assert reader(Btf(data)) is not None
    assert time.monotonic() - began < PATIENCE


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_types_are_listed_or_refused(rnd):
    read_all(blobs.build(*random_types(rnd)).data)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_broken_blobs_are_listed_or_refused(rnd):
    read_all(mutated(rnd, GOOD))


def test_broken_real_btf_is_listed_or_refused():
    rnd = random.Random(1)
    for path in blobs.xdp_objects()[:3]:
        data = blobs.elf_section(path, ".BTF")
        for _ in range(60 if data else 0):
            read_all(mutated(rnd, data or b""))


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_broken_ext_tables_are_read_or_refused(rnd):
    with contextlib.suppress(LoadError):
        got = ext.BtfExt.parse(mutated(rnd, EXT))
        assert sum(len(s.records) for infos in got[1:4] for s in infos) < 100


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["little", "big"]))
def test_types_come_back_from_their_bytes(rnd, order):
    types = random_types(rnd)
    btf = blobs.build(*types, byteorder=order)
    assert [one for _, one in btf.types()] == types
    offsets = encode._table(btf.strings, 0)
    words = [w for one in types for w in encode.record(one, offsets.__getitem__)]
    assert words == list(btf.words)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_noise_is_no_ext_table(noise):
    head = struct.pack("<HBBI6I", 0xEB9F, 1, 0, 32, 0, len(noise), 0, 0, 0, 0)
    with contextlib.suppress(LoadError):
        assert ext.BtfExt.parse(head + noise).to_bytes() == head + noise


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_merging_twice_changes_nothing_more(rnd):
    btf = blobs.build(*random_types(rnd))
    with contextlib.suppress(LoadError):
        once = dedup.dedup(btf)
        assert len(once.ids) == len(btf)
        assert max(once.ids) == len(once.btf) - 1
        assert len(dedup.dedup(once.btf).btf) <= len(once.btf)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_merging_broken_blobs_is_refused_or_done(rnd):
    with contextlib.suppress(LoadError):
        dedup.dedup(Btf(mutated(rnd, GOOD)))
