"""The words of a fault."""

from __future__ import annotations

import pytest

from anybpf.core.fault import helper_name
from anybpf.errors import Fault

from .rig import Rig


def test_helper_names() -> None:
    assert helper_name(1) == "bpf_map_lookup_elem#1"
    assert helper_name(9999) == "#9999"


@pytest.mark.parametrize(("text", "message"), [
    ("r1 = 0; r0 = *(u8 *)(r1 + 0); exit",
     "invalid read of 1 byte at the null page, at instruction 1 in program 'test'"),
    ("*(u64 *)(r10 - 520) = 0; exit",
     "invalid write of 8 bytes at stack of frame 0 at fp-520, at instruction 0 in program 'test'"),
    ("r1 = 1; lock *(u32 *)(r10 - 6) += r1; exit",
     "invalid misaligned atomic of 4 bytes at stack of frame 0 at fp-6, at instruction 1 in program"
     " 'test'"),
    ("r0 = 0", "no valid instruction, at instruction 1 in program 'test'"),
    ("goto -1", "the instruction budget is used up, at instruction 0 in program 'test'"),
    ("f: call f; exit",
     "the call stack of 8 frames is too deep, at instruction 0 in program 'test'"),
    ("r3 = 0x123456; callx r3; exit",
     "no function of the program: 0x123456, at instruction 1 in program 'test'"),
])
def test_messages(rig: Rig, text: str, message: str) -> None:
    with pytest.raises(Fault) as e:
        rig.run(text)
    assert str(e.value) == message


def test_a_nameless_program(rig: Rig) -> None:
    with pytest.raises(Fault) as e:
        rig.run(rig.prog("r0 = 0", name=""))
    assert str(e.value) == "no valid instruction, at instruction 1"
