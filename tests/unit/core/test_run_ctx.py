"""One run's state: dynamic regions, the packet, what a reset forgets."""

from __future__ import annotations

import ctypes

import pytest

from anybpf.core.interpreter import run
from anybpf.core.kernel import Kernel
from anybpf.core.run_ctx import FAULTS, RunCtx
from anybpf.errors import BpfError, Fault

from .rig import Rig

LOAD = "r0 = *(u32 *)(r1 + 0); exit"


def test_dynamic_regions_come_and_go(rig: Rig) -> None:
    data = ctypes.create_string_buffer(b"\x07\0\0\0", 4)
    address, ctx = ctypes.addressof(data), rig.run_ctx
    prog = rig.prog(LOAD)
    ctx.push_region(address, 4, flags=1, kind=5)
    assert run(prog, ctx, address) == 7
    with pytest.raises(Fault, match=r"invalid read of 4 bytes at ring buffer record\+1 of 4"):
        run(rig.prog("r0 = *(u32 *)(r1 + 1); exit"), ctx, address)
    with pytest.raises(Fault, match="invalid write"):
        run(rig.prog("r0 = 0; *(u32 *)(r1 + 0) = r0; exit"), ctx, address)
    ctx.pop_region(address)
    with pytest.raises(Fault):
        run(prog, ctx, address)


def test_a_reset_forgets_regions_and_faults(rig: Rig) -> None:
    data = ctypes.create_string_buffer(4)
    rig.run_ctx.push_region(ctypes.addressof(data), 4)
    with pytest.raises(Fault):
        run(rig.prog("r1 = 0;" + LOAD), rig.run_ctx, 0)
    assert FAULTS[rig.run_ctx.fault] == "READ"
    rig.run_ctx.reset()
    assert rig.run_ctx.fault == 0
    with pytest.raises(Fault):
        run(rig.prog(LOAD), rig.run_ctx, ctypes.addressof(data))


def test_there_are_64_dynamic_regions(rig: Rig) -> None:
    for i in range(64):
        rig.run_ctx.push_region(4096 + i, 1)
    with pytest.raises(BpfError) as e:
        rig.run_ctx.push_region(8192, 1)
    assert e.value.name == "ENOSPC"


def test_the_packet(rig: Rig) -> None:
    data = ctypes.create_string_buffer(bytes.fromhex("0800450000"), 5)
    address = ctypes.addressof(data)
    rig.run_ctx.set_packet(address, 5)
    assert run(rig.prog("r0 = *(u16 *)(r1 + 0); exit"), rig.run_ctx, address) == 8
    with pytest.raises(Fault, match=r"packet\+2 of 5") as e:
        run(rig.prog("r0 = *(u32 *)(r1 + 2); exit"), rig.run_ctx, address)
    assert e.value.region == "packet"


@pytest.mark.parametrize(("insns", "want"), [
    ("r0 = *(u16 *)skb[0]", 0x0800),
    ("r0 = *(u32 *)skb[1]", 0x0045_0000),
    ("r7 = 2; r0 = *(u8 *)skb[r7 + 0]", 0x45),
    ("r7 = -1; w7 = w7; r0 = *(u8 *)skb[r7 + 3]", 0x45),
    ("r0 = *(u32 *)skb[2]", 0),
    ("r0 = *(u8 *)skb[-1]", 0),
    ("r7 = 5; r0 = *(u8 *)skb[r7 + 0]", 0),
])
def test_legacy_packet_loads(rig: Rig, insns: str, want: int) -> None:
    data = ctypes.create_string_buffer(bytes.fromhex("0800450000"), 5)
    rig.run_ctx.set_packet(ctypes.addressof(data), 5)
    for checked in (True, False):
        assert run(rig.prog(f"{insns}; exit"), rig.run_ctx, 0, checked=checked) == want


def test_a_packet_load_outside_leaves_its_function_with_0(rig: Rig) -> None:
    assert rig.both("r0 = 9; r0 = *(u8 *)skb[0]; r0 = 8; exit") == 0
    text = "r6 = 5; call f; r0 += r6; exit; f: r6 = 1; r0 = *(u8 *)skb[0]; r0 = 8; exit"
    assert rig.both(text) == 5


def test_a_run_in_progress_is_not_entered_again(rig: Rig) -> None:
    prog = rig.prog("call 5; exit")
    rig.kernel.set_python_helper(5, lambda *args: run(prog, rig.run_ctx, 0))
    with pytest.raises(ValueError, match="in use by another run"):
        run(prog, rig.run_ctx, 0)
    rig.kernel.set_python_helper(5, lambda *args: run(rig.prog("r0 = 7; exit"),
                                                      RunCtx(rig.kernel), 0))
    assert run(prog, rig.run_ctx, 0) == 7


def test_cpus() -> None:
    kernel = Kernel(ncpus=2)
    ctx = RunCtx(kernel, cpu=1)
    assert ctx.cpu == 1
    ctx.cpu = 0
    with pytest.raises(ValueError, match="cpu 2 of 2"):
        ctx.cpu = 2


def test_a_fresh_run_has_printed_nothing(rig: Rig) -> None:
    assert (rig.run_ctx.trace, rig.run_ctx.perf, rig.run_ctx.redirect) == (b"", b"", (0, 0, 0, 0))


def test_call_needs_a_running_program(rig: Rig) -> None:
    with pytest.raises(ValueError, match="no program is running"):
        rig.run_ctx.call(0)
