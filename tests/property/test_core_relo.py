"""CO-RE never does worse than a typed error, and agrees with itself."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_explain import why
from anybpf.btf.relo_patch import patch
from anybpf.btf.relo_spec import CoreError
from anybpf.errors import LoadError
from anybpf.isa.insn import Insn

IDS = st.integers(0, 14)
NAMES = st.sampled_from(["", "a", "b", "a___x", "s", "s___2", "s___3"])
NUMBERS = st.integers(0, 40)


@st.composite
def members(draw: st.DrawFn) -> tuple[t.Member, ...]:
    rows = st.tuples(NAMES, IDS, NUMBERS, st.integers(0, 9))
    return tuple(t.Member(*row) for row in draw(st.lists(rows, max_size=4)))


VALUES = st.lists(st.builds(t.EnumValue, NAMES, NUMBERS), max_size=3).map(tuple)
PARAMS = st.lists(st.builds(t.Param, NAMES, IDS), max_size=3).map(tuple)
TYPES = st.one_of(
    st.builds(t.Struct, NAMES, NUMBERS, members(), st.just(True)),
    st.builds(t.Union, NAMES, NUMBERS, members(), st.just(True)),
    st.builds(t.Int, NAMES, st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 128),
              st.integers(0, 3), st.sampled_from([0, uapi.BTF_INT_SIGNED])),
    st.builds(t.Array, IDS, IDS, NUMBERS), st.builds(t.Ptr, IDS), st.builds(t.Const, IDS),
    st.builds(t.Typedef, NAMES, IDS), st.builds(t.Fwd, NAMES, st.booleans()),
    st.builds(t.Enum, NAMES, st.sampled_from([1, 4, 8]), VALUES, st.booleans()),
    st.builds(t.Enum64, NAMES, st.just(8), VALUES, st.booleans()),
    st.builds(t.FuncProto, IDS, PARAMS), st.builds(t.Float, NAMES, NUMBERS),
    st.builds(t.Var, NAMES, IDS), st.builds(t.Func, NAMES, IDS),
)
BTFS = st.lists(TYPES, min_size=1, max_size=12)
ACCESS = st.lists(st.integers(0, 4), min_size=1, max_size=5).map(lambda p: ":".join(map(str, p)))
INSNS = st.lists(st.builds(Insn, st.integers(0, 255), st.integers(0, 9), st.integers(0, 9),
                           st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=2)


def built(types: list[t.Type], access: str = "") -> tuple[Btf, int]:
    made = BtfBuilder()
    made.add_all(types)
    spot = made.string(access)
    return made.build(), spot


@settings(max_examples=300, deadline=None)
@given(BTFS, BTFS, ACCESS, IDS, st.integers(0, 13), INSNS)
def test_only_typed_errors(local: list[t.Type], kernel: list[t.Type], access: str, type_id: int,
                           kind: int, insns: list[Insn]) -> None:
    btf, spot = built(local, access)
    target = Target(built(kernel)[0])
    relo = CoreRelo(0, min(type_id, len(btf) - 1), spot, kind)
    with contextlib.suppress(CoreError, LoadError):
        answer = Relocator(btf, target).resolve(relo)
        why(answer.local, target)
        patch(insns, 0, answer, "")


@settings(max_examples=200, deadline=None)
@given(BTFS, ACCESS, IDS, st.integers(0, 12))
def test_a_type_is_found_in_its_own_btf(types: list[t.Type], access: str, type_id: int,
                                        kind: int) -> None:
    """Against the very BTF it was compiled with, nothing changes (unless names are ambiguous)."""
    btf, spot = built(types, access)
    relo = CoreRelo(0, min(type_id, len(btf) - 1), spot, kind)
    relocator = Relocator(btf, Target(btf))
    try:
        answer = relocator.resolve(relo)
        alone = len(relocator.candidates(relo.type_id)) == 1
    except (CoreError, LoadError):
        return
    found = answer.target
    if alone and found and (found.path, found.raw) == (answer.local.path, answer.local.raw):
        assert (answer.new, answer.new_size) == (answer.old, answer.old_size)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 40), NUMBERS, st.integers(0, 12))
def test_broken_bytes(noise: bytes, where: int, type_id: int, kind: int) -> None:
    """Bytes of a good BTF overwritten."""
    made = BtfBuilder()
    number = made.add(t.Int("int", 4))
    made.add(t.Struct("s", 8, (t.Member("a", number, 32), t.Member("", 2, 0))))
    made.add(t.Array(2, 1, 2))
    spot = made.string("0:0")
    good = made.build()
    data = bytearray(good.to_bytes())
    data[24 + where:24 + where + len(noise)] = noise[:max(0, len(data) - 24 - where)]
    with contextlib.suppress(CoreError, LoadError):
        broken = Btf(bytes(data))
        for btf, target in ((broken, good), (good, broken)):
            relo = CoreRelo(0, min(type_id, len(btf) - 1), spot, kind)
            why(Relocator(btf, Target(target)).resolve(relo).local, Target(target))
