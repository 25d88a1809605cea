"""Clock, randomness and task come from the Machine."""

from __future__ import annotations

from anybpf import uapi
from anybpf.machine import Machine
from kernel.runs import run
from kernel.test_helpers import F
from kernel.test_test_run import Case


def answer(machine: Machine, helper: str, after: str = "") -> int:
    text = f"call {F[helper]}; {after} exit"
    return run(machine, Case(uapi.BPF_PROG_TYPE_XDP, text)).retval


def test_the_clock_stands_still_but_for_readings() -> None:
    with Machine() as machine:
        machine.kernel.clock_ns = 5000
        machine.kernel.clock_step_ns = 7
        assert [answer(machine, "ktime_get_ns") for _ in range(3)] == [5000, 5007, 5014]


def test_the_coarse_clock_moves_by_ticks() -> None:
    with Machine() as machine:
        machine.kernel.clock_ns = 10_000_001
        assert answer(machine, "ktime_get_coarse_ns") == 8_000_000


def test_the_same_seed_gives_the_same_numbers() -> None:
    rows = []
    for seed in (1, 1, 2):
        with Machine(seed=seed) as machine:
            rows.append([answer(machine, "get_prandom_u32") for _ in range(4)])
    assert rows[0] == rows[1] != rows[2]


def test_the_task() -> None:
    with Machine() as machine:
        machine.kernel.set_task(pid=12, tgid=34, uid=56, gid=78)
        assert answer(machine, "get_current_pid_tgid") == 12
        assert answer(machine, "get_current_pid_tgid", "r0 >>= 32;") == 34
        assert answer(machine, "get_current_uid_gid") == 56
        assert answer(machine, "get_current_uid_gid", "r0 >>= 32;") == 78
