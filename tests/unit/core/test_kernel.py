"""What runs of one machine share."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from anybpf import uapi
from anybpf.core import interpreter
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx

from .rig import Rig


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second, other = (Kernel(seed=s) for s in (5, 5, 6))
    numbers = [first.random() for _ in range(8)]
    assert [second.random() for _ in range(8)] == numbers
    assert [other.random() for _ in range(8)] != numbers
    assert len(set(numbers)) == 8
    assert all(0 <= n < 1 << 64 for n in numbers)


def test_bad_settings() -> None:
    for ncpus in (0, 8193):
        with pytest.raises(ValueError, match="CPUs"):
            Kernel(ncpus=ncpus)
    for helper in (0, 256, -1):
        with pytest.raises(ValueError, match="helper id"):
            Kernel().set_helper(helper, 0)
        with pytest.raises(ValueError, match="helper id"):
            Kernel().set_python_helper(helper, lambda *args: 0)


def test_two_kernels_never_meet() -> None:
    one, two = Rig(), Rig()
    one.kernel.set_python_helper(5, lambda *args: 1)
    two.kernel.set_python_helper(5, lambda *args: 2)
    assert [rig.run("call 5; exit") for rig in (one, two)] == [1, 2]
    address = one.memory(bytes(8))
    text = "r0 = *(u64 *)(r1 + 0); exit"
    assert one.run(text, address) == 0
    with pytest.raises(RuntimeError):
        two.run(text, address)


def test_statistics_only_when_enabled(rig: Rig) -> None:
    prog = rig.prog("r0 = 0; exit")
    rig.run(prog)
    assert (prog.run_cnt, prog.run_time_ns) == (0, 0)
    rig.kernel.stats_enabled = True
    rig.run(prog)
    rig.run(prog, checked=False)
    assert prog.run_cnt == 2
    assert prog.run_time_ns > 0


def test_a_map_dropped_during_a_run_lives_until_it_ends(rig: Rig) -> None:
    table = rig.map(uapi.BPF_MAP_TYPE_ARRAY, entries=1)
    seen: list[bool] = []
    alive = weakref.ref(table)
    kernel = rig.kernel

    def drop(*args: object) -> int:
        nonlocal table
        kernel.remove_map(table)
        del table
        gc.collect()
        seen.append(alive() is not None)
        return 0

    prog = rig.prog("r6 = v ll; call 5; r0 = *(u64 *)(r6 + 0); exit", {"v": (table, 0)})
    kernel.set_python_helper(5, drop)
    assert rig.run(prog) == 0
    assert seen == [True]
    del prog
    gc.collect()
    assert alive() is None


def test_a_program_dropped_during_a_run_lives_until_it_ends(rig: Rig) -> None:
    progs = [rig.prog("r6 = 5; call 5; r0 = r6; exit")]
    rig.kernel.set_python_helper(5, lambda *args: progs.clear() or gc.collect())
    rig.run_ctx.reset()
    assert interpreter.run(progs[0], rig.run_ctx, 0) == 5


def test_runs_in_several_threads() -> None:
    rig = Rig()
    table = rig.map(uapi.BPF_MAP_TYPE_ARRAY, entries=1)
    prog = rig.prog("""
        r6 = v ll
        r7 = 20000
    again:
        r1 = 1
        lock *(u64 *)(r6 + 0) += r1
        r7 += -1
        if r7 != 0 goto again
        r0 = 0
        exit
    """, {"v": (table, 0)})

    def work(checked: bool) -> None:
        interpreter.run(prog, RunCtx(rig.kernel), 0, checked=checked)

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert int.from_bytes(table.lookup(bytes(4)), "little") == 80_000


def test_the_clock_and_the_task() -> None:
    kernel = Kernel()
    kernel.clock_ns = 77
    kernel.clock_step_ns = 0
    assert (kernel.clock_ns, kernel.clock_step_ns) == (77, 0)
    kernel.set_task(comm="a name that is much too long")
    kernel.set_clock_offsets(boot=1, real=2, tai=3)


def test_programs_outlive_nothing_they_point_to(rig: Rig) -> None:
    table = rig.map(uapi.BPF_MAP_TYPE_ARRAY, entries=1)
    prog: Prog = rig.prog("r1 = v ll; r0 = *(u64 *)(r1 + 0); exit", {"v": (table, 0)})
    del table
    gc.collect()
    assert rig.run(prog) == 0


def test_a_run_finds_memory_that_came_after_it_began(rig: Rig) -> None:
    rig.kernel.set_python_helper(5, lambda *args: rig.memory(b"\x2a" + bytes(7)))
    assert rig.run("call 5; r0 = *(u64 *)(r0 + 0); exit") == 42


def test_what_changes_while_the_table_is_made_is_in_it(rig: Rig) -> None:
    class Slow(int):
        """An address that lets another thread in when it is compared."""

        def __lt__(self, other: int) -> bool:
            if len(rig.kept) == 1:
                rig.memory(bytes(8), name="late")
            return int(self) < int(other)

    address = rig.memory(bytes(8))
    rig.kernel.add_region(Slow(address), 4)
    names = [row.name for row in rig.kernel.snapshot().rows]
    assert "late" in names
    assert rig.kernel.snapshot() is rig.kernel.snapshot()
