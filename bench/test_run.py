"""One packet through BPF_PROG_TEST_RUN: what a call costs beside the run.

On a Machine, and on Linux where bpf(2) is allowed.

    python bench/test_run.py [OBJECT [PROGRAM]]

Without arguments the demo's firewall. The yardstick is a hundred calls of an empty Python function.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anybpf.libbpf import Object
from anybpf.linux import Linux
from anybpf.machine import Machine

FIREWALL = Path(__file__).parent.parent / "demo" / "firewall.bpf.o"
SIZES = (64, 1500)
REPEAT = 10_000
#: short rounds: the best of them is one that nothing interrupted
ROUNDS, CALLS = 400, 20


def microseconds(act: Callable[[], object]) -> float:
    """The best of some rounds, for one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            act()
        best = min(best, time.perf_counter() - began)
    return best / CALLS * 1e6


def nothing() -> None:
    """The yardstick."""


def measure(path: str | Path, wanted: str | None, backend: Any, yardstick: float) -> None:
    with Object.open(path).load(backend) as obj:
        program = obj.programs[wanted] if wanted else next(iter(obj.programs.values()))
        for size in SIZES:
            data = bytes(12) + b"\x08\x00\x45" + bytes(size - 15)
            call = microseconds(lambda data=data: program.test_run(data))  # type: ignore[misc]
            run = program.test_run(data, repeat=REPEAT).duration / 1000
            print(f"{backend.name:8} {size:5} bytes: {call:7.2f} us a call "
                  f"({call / yardstick:5.2f} x 100 Python calls), {run:6.3f} us of it the program")


def main(arguments: list[str]) -> int:
    path, wanted = [*arguments, None, None][:2]
    yardstick = 100 * microseconds(nothing)
    print(f"100 calls of an empty Python function: {yardstick:.2f} us")
    measure(path or FIREWALL, wanted, Machine(), yardstick)
    if Linux.probe() is None:
        measure(path or FIREWALL, wanted, Linux(), yardstick)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
