"""Random and broken BTF: only typed errors, and (where it can be asked) the kernel's verdict."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf.btf import types as t
from anybpf.btf import values
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs, hostkernel
from unit.btf.test_check import kernel_verdict, verdict

GOOD = blobs.build(*blobs.every_kind()).data
TYPES = struct.unpack_from("<I", GOOD, 12)[0]


def _reference(rnd: random.Random, count: int, void: float = 0.05) -> int:
    return 0 if rnd.random() < void else rnd.randint(1, count)


def _int(rnd, ref):
    made = t.Int("i", rnd.choice((1, 2, 4, 8, 16)), encoding=rnd.choice((0, 1, 2, 4)))
    if rnd.random() < 0.15:
        made.bits = rnd.randint(1, made.size * 8)
        made.offset = rnd.randint(0, made.size * 8 - made.bits)
    return made


def _members(rnd, ref, union):
    flag, bit, made = rnd.random() < 0.3, 0, []
    for i in range(rnd.randint(0, 4)):
        width = rnd.choice((0, 0, 3, 8, 33)) if flag else 0
        made.append(t.Member(f"m{i}", ref(), 0 if union else bit, width))
        bit += rnd.choice((0, 1, 8, 32, 32, 64, 64))
    return rnd.choice((4, 16, bit // 8 + 64)), tuple(made), flag


#: how often, and how to make a type of each kind
MAKERS = [
    (3, _int),
    (4, lambda rnd, ref: t.Ptr(ref())),
    (4, lambda rnd, ref: t.Array(ref(), ref(), rnd.choice((0, 1, 3, 1 << 31)))),
    (5, lambda rnd, ref: t.Struct("s", *_members(rnd, ref, False))),
    (2, lambda rnd, ref: t.Union("u", *_members(rnd, ref, True))),
    (1, lambda rnd, ref: t.Enum("e", rnd.choice((1, 2, 4, 8)), (t.EnumValue("A", 1),))),
    (1, lambda rnd, ref: t.Enum64("e64", 8, (t.EnumValue("A", 1),))),
    (1, lambda rnd, ref: t.Fwd("f", rnd.random() < 0.5)),
    (3, lambda rnd, ref: t.Typedef("t", ref())),
    (2, lambda rnd, ref: rnd.choice((t.Const, t.Volatile, t.Restrict))(ref())),
    (1, lambda rnd, ref: t.FuncProto(ref(), (t.Param(rnd.choice(("", "a")), ref()),))),
    (1, lambda rnd, ref: t.Func("fn", ref(), rnd.randint(0, 2))),
    (1, lambda rnd, ref: t.Var("v", ref(), rnd.randint(0, 1))),
    (1, lambda rnd, ref: t.Datasec(".d", 64, (t.SecVar(ref(), 0, rnd.choice((4, 64))),))),
    (1, lambda rnd, ref: t.Float("f", rnd.choice((2, 4, 8, 12, 16)))),
    (1, lambda rnd, ref: t.DeclTag("d", ref(), rnd.choice((-1, 0, 1)))),
    (1, lambda rnd, ref: t.TypeTag("tag", ref())),
]


def random_types(rnd: random.Random) -> list[t.Type]:
    """Well-formed records that refer to each other at random."""
    count = rnd.choice((2, 3, 5, 8, 12))
    makers = rnd.choices([m for _, m in MAKERS], [w for w, _ in MAKERS], k=count - 1)
    return [m(rnd, lambda: _reference(rnd, count)) for m in [_int, *makers]]


def mutated(rnd: random.Random, good: bytes) -> bytes:
    """A blob with one to three of its words or bytes changed."""
    data = bytearray(good)
    for _ in range(rnd.choice((1, 1, 2, 3))):
        if rnd.random() < 0.2:
            data[rnd.randrange(len(data))] = rnd.choice((0, 1, 46, 255))
            continue
        at = 4 * rnd.randrange(len(data) // 4)
        (old,) = struct.unpack_from("<I", data, at)
        new = rnd.choice((0, 1, rnd.randrange(20), old + 1, old ^ 1 << rnd.randrange(32), ~old))
        struct.pack_into("<I", data, at, new & 0xFFFFFFFF)
    return bytes(data)


@pytest.mark.kernel
@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_verdict_on_random_types_is_the_kernels(rnd):
    _compare(blobs.build(*random_types(rnd)).data)


@pytest.mark.kernel
@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_verdict_on_broken_blobs_is_the_kernels(rnd):
    _compare(mutated(rnd, GOOD))


def _compare(data: bytes) -> None:
    hostkernel.need_reference()
    assert verdict(data) == kernel_verdict(data)


def use(data: bytes) -> None:
    """Open, read every type and decode a value of each; only typed errors may come."""
    try:
        btf = Btf(data)
    except LoadError:
        return
    for type_id in btf.ids():
        try:
            raw = bytes(min(btf.size_of(type_id), 256))
            btf.find(btf.type(type_id).name)
            values.encode(btf, type_id, values.decode(btf, type_id, raw))
            values.format_value(btf, type_id, raw)
        except (LoadError, values.ValueMismatch):
            pass


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_types_give_typed_errors_only(rnd):
    use(blobs.build(*random_types(rnd)).data)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_broken_blobs_give_typed_errors_only(rnd):
    data = mutated(rnd, GOOD)
    use(data)
    verdict(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_noise_gives_typed_errors_only(noise):
    use(noise)
    use(GOOD[:24] + noise)
    verdict(GOOD[:24] + noise)
