"""Reachability, loops, the order of analyses, live registers."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.isa.asm import assemble
from anybpf.verifier import Facts, Options, cfg, liveness, resolve, subprogs
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject

LOOP = "r6 = 0\nl: r6 += 1\ncall bpf_get_prandom_u32\nif r6 < 4 goto l\nexit"


def learnt(text: str) -> Env:
    env = Env(assemble(text), Facts(uapi.BPF_PROG_TYPE_SOCKET_FILTER), Options())
    for run in (subprogs.find, resolve.maps, cfg.check, cfg.postorder, cfg.loops,
                liveness.registers):
        run(env)
    return env


def test_loops_are_numbered() -> None:
    assert [aux.scc for aux in learnt(LOOP).aux] == [0, 1, 1, 1, 0]
    inner = "r1 = 0\na: r2 = 0\nb: r2 += 1\nif r2 < 3 goto b\nr0 = 0\nexit"
    assert [aux.scc for aux in learnt(inner).aux] == [0, 0, 1, 1, 0, 0]


def test_points() -> None:
    env = learnt(LOOP)
    assert [i for i, aux in enumerate(env.aux) if aux.prune_point] == [1, 3]
    assert [i for i, aux in enumerate(env.aux) if aux.jump_point] == [1, 3]


def test_live_registers() -> None:
    env = learnt(LOOP)
    # r0 is the result, r6 the counter
    assert [aux.live_before for aux in env.aux] == [0, 1 << 6, 1 << 6, 1 << 6 | 1, 1]


def test_postorder_has_successors_first() -> None:
    env = learnt("r0 = 0\nif r0 == 1 goto +1\nr0 = 2\nexit")
    order = env.subprogs[0].postorder
    assert sorted(order) == [0, 1, 2, 3]
    assert order.index(3) < order.index(2) < order.index(1) < order.index(0)


def test_effects_reach_callers() -> None:
    env = Env(assemble("call f\nr0 = 0\nexit\nf: r2 = 0\ncall bpf_xdp_adjust_head\nr0 = 0\nexit"),
              Facts(uapi.BPF_PROG_TYPE_XDP), Options())
    subprogs.find(env)
    cfg.check(env)
    assert [s.changes_packet for s in env.subprogs] == [True, True]


@pytest.mark.parametrize(("text", "message"), [
    ("r0 = 0\nexit\nr0 = 1\nexit", "unreachable insn 2"),
    ("r0 = 0\ngoto +3\nexit", "jump out of range from insn 1 to 5"),
    ("r0 = 0", "last insn is not an exit or jmp"),
])
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(Reject) as caught:
        learnt(text)
    assert caught.value.text == message
