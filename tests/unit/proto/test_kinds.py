"""Kinds: a base in the low byte, flags above it, no two alike."""

from __future__ import annotations

import pytest

from anybpf.proto import kinds

#: plain constants, without those made of others
PREFIXES = ("ARG_", "RET_", "PTR_TO_")
NAMES = {name: value for name, value in vars(kinds).items() if isinstance(value, int)}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_bases_are_different(prefix: str) -> None:
    plain = [v for n, v in NAMES.items() if n.startswith(prefix) and not kinds.flags(v)]
    assert len(plain) == len(set(plain)) > 5


def test_flags_are_single_bits_above_the_base() -> None:
    flags = [v for n, v in NAMES.items()
             if not n.startswith(PREFIXES) and v > kinds.KIND_MASK and n != "DYNPTR_TYPES"]
    assert len(flags) == len(set(flags)) == 20
    assert all(flag & (flag - 1) == 0 for flag in flags)


def test_base_and_flags_make_the_kind() -> None:
    for value in NAMES.values():
        assert kinds.base(value) | kinds.flags(value) == value


def test_or_null() -> None:
    for name, value in NAMES.items():
        if name.endswith("_OR_NULL"):
            assert value & kinds.PTR_MAYBE_NULL, name
