"""Damaged BTF: typed errors only, in bounded time."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs
from unit.btf.exercise import exercise, seeds

SEEDS = seeds()
#: seconds that one blob may take; it takes milliseconds, but the machine may be busy
MOST = 20
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

words = st.one_of(st.integers(0, 40), st.sampled_from((0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 24)),
                  st.integers(0, 0xFFFFFFFF))  # fmt: skip


def timed(data: bytes) -> None:
    start = time.process_time()
    exercise(data)
    assert time.process_time() - start < MOST


@QUICK
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 2000), words), max_size=4),
       st.integers(0, 40))  # fmt: skip
def test_changed_words(seed, changes, cut):
    data = bytearray(seed)
    for place, value in changes:
        struct.pack_into("<I", data, 4 * (place % (len(data) // 4)), value)
    timed(bytes(data[: len(data) - cut if cut > 35 else len(data)]))


ids = st.integers(0, 14)
names = st.sampled_from(("", "a", "b", "int", "long", "char", "bpf_spin_lock", "kptr", ".data"))
sizes = st.sampled_from((0, 1, 2, 4, 8, 16, 24, 0xFFFFFFFF))
offsets, widths = st.sampled_from((0, 0, 32, 64, 3, 0xFFFFFF)), st.sampled_from((0, 0, 0, 5, 255))
members = st.lists(st.builds(t.Member, names, ids, offsets, widths), max_size=4).map(tuple)
enumerators = st.lists(st.builds(t.EnumValue, names, st.integers(0, 9)), max_size=3).map(tuple)
params = st.lists(st.builds(t.Param, names, ids), max_size=3).map(tuple)
sec_vars = st.lists(st.builds(t.SecVar, ids, sizes, sizes), max_size=3).map(tuple)
any_type = st.one_of(
    st.builds(t.Int, names, sizes, st.integers(1, 128), st.integers(0, 30), st.integers(0, 8)),
    st.builds(t.Ptr, ids), st.builds(t.Const, ids), st.builds(t.Volatile, ids),
    st.builds(t.Array, ids, ids, st.sampled_from((0, 1, 2, 70000, 0xFFFFFFFF))),
    st.builds(t.Struct, names, sizes, members), st.builds(t.Union, names, sizes, members),
    st.builds(t.Enum, names, sizes, enumerators), st.builds(t.Enum64, names, sizes, enumerators),
    st.builds(t.Fwd, names, st.booleans()), st.builds(t.Typedef, names, ids),
    st.builds(t.TypeTag, names, ids, st.booleans()), st.builds(t.FuncProto, ids, params),
    st.builds(t.Func, names, ids, st.integers(0, 2)), st.builds(t.Var, names, ids),
    st.builds(t.Datasec, names, sizes, sec_vars), st.builds(t.Float, names, sizes),
    st.builds(t.DeclTag, names, ids, st.integers(-1, 3)),
)  # fmt: skip


@QUICK
@given(st.lists(any_type, max_size=14), st.sampled_from(("little", "big")))
def test_types_that_make_no_sense(types, order):
    builder = BtfBuilder(order)
    builder.add_all(types)
    timed(builder.to_bytes())


@pytest.mark.parametrize("step", [7, 131])
def test_real_blobs_cut_and_changed(step):
    data = blobs.elf_section(blobs.xdp_objects()[-1], ".BTF")
    assert data
    for at in range(0, len(data), len(data) // step):
        timed(data[:at])
        timed(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])


def test_lies_about_the_strings():
    good = blobs.build(t.Int("int", 4)).data
    for str_off, str_len in ((16, 1 << 31), (0, 5), (1 << 31, 5), (12, 9), (16, 0), (16, 4)):
        data = bytearray(good)
        struct.pack_into("<2I", data, 16, str_off, str_len)
        with pytest.raises(LoadError) as caught:
            Btf(bytes(data))
        assert caught.value.offset is not None


def test_huge_counts():
    data = bytearray(blobs.build(t.Struct("s", 0)).data)
    struct.pack_into("<I", data, 28, 4 << 24 | 0xFFFF)
    with pytest.raises(LoadError, match="cut short") as caught:
        Btf(bytes(data))
    assert caught.value.offset == 24
