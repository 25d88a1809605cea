"""Helper arguments in checked runs: each kind right and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from anybpf import uapi
from anybpf.errors import Fault

from .rig import Rig

#: map_lookup_elem, map_update_elem, probe_read, trace_printk, csum_diff, get_socket_cookie,
#: spin_lock, ringbuf_reserve, ringbuf_submit, loop, strncmp
HELPERS = (1, 2, 4, 6, 28, 46, 93, 131, 132, 181, 182)
KEY = "r2 = 0; *(u32 *)(r10 - 4) = r2; r2 = r10; r2 += -4;"


@pytest.fixture
def calls(rig: Rig) -> list[tuple[int, ...]]:
    """The arguments of every call of a helper that got through."""
    seen: list[tuple[int, ...]] = []
    for helper in HELPERS:
        rig.kernel.set_python_helper(helper, lambda *args: seen.append(args[:5]) or 0)
    return seen


def refuse(rig: Rig, text: str, argument: int, ctx: int = 0, **more: Any) -> str:
    with pytest.raises(Fault, match=f"R{argument} of helper") as e:
        rig.run(text, ctx, **more)
    return str(e.value)


def test_maps(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    array = {"m": (rig.map(uapi.BPF_MAP_TYPE_ARRAY, name="m"), None)}
    assert rig.run(rig.prog(f"{KEY} r1 = m ll; call 1; exit", array)) == 0
    assert calls[0][0] == array["m"][0].address
    for wrong in ("r1 = 0", "r1 = r10", "r1 = m ll; r1 += 8", "r1 = 0x7fffffff0000 ll"):
        refuse(rig, rig.prog(f"{KEY} {wrong}; call 1; exit", array), 1)
    ring = {"m": (rig.map(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, name="ring"), None)}
    assert "map 'ring'" in refuse(rig, rig.prog(f"{KEY} r1 = m ll; call 1; exit", ring), 1)
    assert len(calls) == 1


def test_keys_and_values_have_the_maps_sizes(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    table = {"m": (rig.map(uapi.BPF_MAP_TYPE_HASH, 16, 24), None)}
    head = "r1 = m ll; r2 = r10; r2 += {}; r3 = r10; r3 += {}; r4 = 0; call 2; exit"
    assert rig.run(rig.prog(head.format(-16, -24), table)) == 0
    message = refuse(rig, rig.prog(head.format(-15, -24), table), 2)
    assert "16 bytes wanted" in message
    assert "24 bytes wanted" in refuse(rig, rig.prog(head.format(-16, -23), table), 3)
    refuse(rig, rig.prog("r1 = m ll; r2 = 0; call 1; exit", table), 2)
    assert len(calls) == 1


def test_memory_and_sizes(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    text = "r1 = r10; r1 += -8; r2 = {}; call 6; r0 = 0; exit"
    assert rig.run(text.format(8)) == 0
    assert "9 bytes wanted" in refuse(rig, text.format(9), 1)
    refuse(rig, text.format(0), 2)
    refuse(rig, text.format(-1), 1)
    refuse(rig, "r1 = 0; r2 = 1; call 6; exit", 1)


def test_memory_that_may_be_null_or_empty(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    text = "r1 = {}; r2 = {}; r3 = r10; r3 += -8; r4 = 8; r5 = 0; call 28; r0 = 0; exit"
    assert rig.run(text.format(0, 0)) == 0
    refuse(rig, text.format(0, 4), 1)


def test_directions(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    rdonly, wronly = rig.memory(bytes(8), 1), rig.memory(bytes(8), 2)
    reads, writes = "r2 = 8; call 6; r0 = 0; exit", "r2 = 8; r3 = 0; call 4; r0 = 0; exit"
    assert rig.run(reads, rdonly) == 0
    assert rig.run(writes, wronly) == 0
    refuse(rig, reads, 1, wronly)
    refuse(rig, writes, 1, rdonly)


def test_the_context(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    ctx = rig.memory(bytes(8))
    assert rig.run("call 46; exit", ctx) == 0
    refuse(rig, "r1 += 4; call 46; exit", 1, ctx)
    refuse(rig, "r1 = 0; call 46; exit", 1, ctx)


def test_functions_and_callback_context(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    text = "r1 = 1; r2 = subprog[+6]; {}; {}; r4 = 0; call 181; exit; r0 = 0; exit"
    assert rig.run(text.format("r2 += 0", "r3 = r10; r3 += -8").replace("+6", "+7")) == 0
    assert rig.run(text.format("r2 += 0", "r3 = 0")) == 0
    refuse(rig, text.format("r2 += 8", "r3 = 0"), 2)
    refuse(rig, text.format("r2 = 0", "r3 = 0"), 2)
    refuse(rig, text.format("r2 += 0", "r3 = 77"), 3)


def test_strings_end(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    good, bad = rig.memory(b"abc\0", 1), rig.memory(b"abcd", 1)
    text = "r3 = r1; r1 = r10; r1 += -8; r2 = 8; call 182; exit"
    assert rig.run(text, good) == 0
    refuse(rig, text, 3, bad)
    refuse(rig, text, 3, 0)


def test_fixed_size_memory(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    lock = rig.memory(bytes(4))
    assert rig.run("call 93; r0 = 0; exit", lock) == 0
    assert "4 bytes wanted" in refuse(rig, "r1 += 1; call 93; exit", 1, lock)


def test_ring_buffer_records(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    refuse(rig, "r1 = r10; r1 += -8; r2 = 0; call 132; exit", 1)
    refuse(rig, "r1 = 0; r2 = 0; call 132; exit", 1)
    ring = {"m": (rig.map(uapi.BPF_MAP_TYPE_HASH), None)}
    refuse(rig, rig.prog("r1 = m ll; r2 = 8; r3 = 0; call 131; exit", ring), 1)


def test_unchecked_runs_trust_their_verifier(rig: Rig, calls: list[tuple[int, ...]]) -> None:
    assert rig.run("r1 = 0; r2 = 1; call 6; r0 = 3; exit", checked=False) == 3
    assert calls[0][:2] == (0, 1)
