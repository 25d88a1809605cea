"""Whatever bytes a program is, the verifier answers with a verdict or names what it lacks."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.isa.insn import Insn, decode
from anybpf.isa.opcodes import OPCODES
from anybpf.proto import progs
from anybpf.verifier import Facts, MapFacts, Options, verify

MAPS = {3: MapFacts(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1),
        4: MapFacts(uapi.BPF_MAP_TYPE_HASH, 4, 8, 8)}
END = decode(bytes((0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0)))
TYPES = st.sampled_from([p.type for p in progs.PROGS])
NUMBERS = st.sampled_from((0, 1, 2, 3, 4, -1, -8, 7, 8, 63, 64, -(1 << 31), (1 << 31) - 1))

#: opcodes that there are, with fields that mostly may be
SENSIBLE = st.builds(
    Insn, st.sampled_from(sorted(OPCODES)), st.integers(0, 10), st.integers(0, 10),
    st.one_of(st.integers(-4, 4), st.sampled_from((-8, -16, 8, 76, 80, -512))),
    st.one_of(NUMBERS, st.integers(0, 215)))


def judge(insns: list[Insn], prog_type: int, level: int) -> None:
    """A verdict, or what is missing; nothing else may be raised."""
    with contextlib.suppress(NotSupported):
        found = verify(insns, Facts(prog_type, maps=MAPS), Options(level, insn_limit=2000))
        assert found.errno >= 0
        assert bool(found.message) or found.errno == 0 or level == 0 or found.log


@given(st.binary(min_size=8, max_size=256), TYPES, st.sampled_from((0, 1, 2)))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes, prog_type: int, level: int) -> None:
    judge([*decode(data[:len(data) // 8 * 8]), *END], prog_type, level)


@given(st.lists(SENSIBLE, min_size=1, max_size=24), TYPES, st.sampled_from((0, 1, 2)))
@settings(max_examples=300, deadline=None)
def test_any_instructions(insns: list[Insn], prog_type: int, level: int) -> None:
    judge([Insn(0xBF, 6, 1), *insns, *END], prog_type, level)
