"""Tags: known values of the running kernel, and what they do not depend on."""

from __future__ import annotations

import pytest

from anybpf.isa import build as b
from anybpf.isa.insn import encode
from anybpf.syscall.tags import digest, stable, tag

END = (b.mov64_imm(0, 1), b.exit_insn())


@pytest.mark.parametrize(("insns", "expected"), [
    (END, "b11459a0e11ca14c"),
    ((*b.ld_map_fd(1, 5), *END), "e085eff1b7d08181"),
    ((*b.ld_map_value(1, 77, 4), *END), "46f967b931d0abc5"),
])
def test_tags_of_linux_6_18(insns: tuple[object, ...], expected: str) -> None:
    assert tag(encode(insns)).hex() == expected    # type: ignore[arg-type]


def test_only_descriptors_are_left_out() -> None:
    one, other = (encode([*b.ld_map_fd(1, fd), *END]) for fd in (3, 4))
    assert tag(one) == tag(other)
    assert stable(one)[:4] == one[:4]
    one, other = (encode([*b.ld_map_idx(1, index), *END]) for index in (3, 4))
    assert tag(one) != tag(other)
    assert len(digest(one)) == 32
