"""States go without a long chain of others after them."""

from __future__ import annotations

from errno import E2BIG

from anybpf import uapi
from anybpf.isa.asm import assemble
from anybpf.verifier import Facts, Options, verify
from anybpf.verifier.state import State
from anybpf.verifier.states import unlink

LOOP = "r1 = 0; again: r1 += 1; r2 = r1; if r1 < 900000 goto again; r0 = 0; exit"


def test_a_long_chain_is_freed_without_recursion() -> None:
    last = first = State()
    for _ in range(200_000):
        newer = State()
        newer.parent = last
        last = newer
    unlink(last)
    assert last.parent is None
    assert first.parent is None


def test_a_loop_that_is_too_long_is_given_up() -> None:
    verdict = verify(assemble(LOOP), Facts(uapi.BPF_PROG_TYPE_XDP), Options(insn_limit=20_000))
    assert verdict.errno == E2BIG
    assert verdict.insns == 20_001
    assert verdict.total_states > 100
