"""Instructions a second of the interpreter, checked and not, beside a Python loop.

    python bench/interpreter.py [MILLIONS]
"""

from __future__ import annotations

import ctypes
import sys

from timing import best

from anybpf.core import interpreter
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx
from anybpf.isa.asm import assemble
from anybpf.isa.insn import encode

ALU = "r0 += 3; r0 ^= r1; r0 <<= 1; r0 += r1; r0 >>= 1; r1 += -1;"
STACK = "*(u64 *)(r10 - 8) = r0; r2 = *(u64 *)(r10 - 8); r0 += r2; r0 ^= r1; r0 += 1; r1 += -1;"
REGION = "r2 = *(u32 *)(r6 + 0); r0 += r2; *(u32 *)(r6 + 4) = r0; r0 ^= r1; r0 += 1; r1 += -1;"
BODIES = {"arithmetic": ALU, "stack": STACK, "memory": REGION}
PER_ROUND = 7
U64 = (1 << 64) - 1


def python_loop(rounds: int) -> int:
    """What the arithmetic program does."""
    r0, r1 = 0, rounds
    while True:
        r0 = (r0 + 3) & U64
        r0 ^= r1
        r0 = (r0 << 1) & U64
        r0 = (r0 + r1) & U64
        r0 >>= 1
        r1 = (r1 - 1) & U64
        if r1 == 0:
            return r0


def main() -> None:
    rounds = int(float(sys.argv[1] if len(sys.argv) > 1 else 5) * 1e6)
    kernel = Kernel()
    run = RunCtx(kernel)
    data = ctypes.create_string_buffer(64)
    kernel.add_region(ctypes.addressof(data), 64)
    yardstick = 200_000 * PER_ROUND / best(lambda: python_loop(200_000))
    print(f"python loop              {yardstick / 1e6:8.1f} M instructions/s")
    for name, body in BODIES.items():
        text = f"r6 = r1; r0 = 0; r1 = {rounds}; again: {body} if r1 != 0 goto again; exit"
        prog = Prog(encode(assemble(text)), kernel=kernel)
        for checked in (True, False):
            seconds = best(lambda prog=prog, checked=checked: interpreter.run(
                prog, run, ctypes.addressof(data), checked=checked, budget=1 << 40))
            rate = rounds * PER_ROUND / seconds
            mode = "checked" if checked else "unchecked"
            print(f"{name:12} {mode:10}  {rate / 1e6:8.1f} M instructions/s"
                  f"  {rate / yardstick:6.0f} x python")


if __name__ == "__main__":
    main()
