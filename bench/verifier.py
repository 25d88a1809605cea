"""Instructions a second of the verifier, beside the kernel's own on the same programs.

    python bench/verifier.py [--uncompiled] [NAME...]

The kernel's time is what it says itself (`verification time`, log level 4); both are wall time, so
that only an idle machine tells the truth. Medians of 5. Without bpf(2) there is no kernel column.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("src", "tests", "tools")]

import uncompiled  # noqa: E402

uncompiled.install()

from anybpf import uapi  # noqa: E402
from anybpf.errors import BpfError, NotSupported  # noqa: E402
from anybpf.isa.asm import assemble  # noqa: E402
from anybpf.isa.insn import Insn, encode  # noqa: E402
from anybpf.libbpf.object import Object  # noqa: E402
from anybpf.linux import Linux  # noqa: E402
from anybpf.verifier import Facts, Options, verify  # noqa: E402
from kernel.both_verifiers import Both, Fields, put  # noqa: E402

ROUNDS = 5
LIBXDP = Path("/usr/lib/x86_64-linux-gnu/bpf")
OBJECTS = [*sorted(LIBXDP.glob("xdpfilt_*.o")), LIBXDP / "xdp-dispatcher.o",
           ROOT / "demo" / "firewall.bpf.o"]
TIME = re.compile(r"verification time (\d+) usec")
LOG_SIZE = 1 << 16
ATTR_SIZE = 152


def loop() -> str:
    """A bounded loop: as many states as rounds."""
    return ("r1 = 0; again: r1 += 1; r2 = r1; r2 *= 3; r2 ^= r1; "
            "if r1 < 20000 goto again; r0 = 0; exit")


def branches(count: int = 11) -> str:
    """Independent branches on unknown numbers that all matter: nothing is pruned."""
    lines = ["r6 = r1", "r7 = 0"]
    for i in range(count):
        lines += ["call bpf_get_prandom_u32", f"if r0 > {i} goto a{i}", f"r7 += {1 << i}", f"a{i}:"]
    return "; ".join([*lines, "r7 &= 1023", "r1 = r10", "r1 += -8", "*(u64 *)(r10 - 8) = 0",
                      "r0 = r7", "r0 &= 1", "exit"])


def arithmetic(count: int = 4000) -> str:
    """One long path of numbers."""
    body = ["r0 += 3", "r0 ^= r1", "r0 <<= 1", "r0 &= 4095", "r1 += r0", "r1 >>= 2",
            "*(u64 *)(r10 - 8) = r0", "r2 = *(u64 *)(r10 - 8)"]
    return "; ".join(["call bpf_get_prandom_u32", "r1 = r0", "r2 = 0",
                      *(body[i % len(body)] for i in range(count)), "r0 = 0", "exit"])


def made_up(seed: int, count: int = 300) -> str:
    """Arithmetic, spills, fills and branches in any order."""
    pick = random.Random(seed)
    lines = ["call bpf_get_prandom_u32", *(f"r{i} = r0" for i in range(1, 10)),
             *(f"*(u64 *)(r10 - {8 * i}) = r0" for i in range(1, 9))]
    for i in range(count):
        a, b = pick.randrange(10), pick.randrange(10)
        lines += pick.choice((
            [f"r{a} {pick.choice(('+=', '&=', '|=', '^=', '-='))} {pick.randrange(1, 99)}"],
            [f"r{a} {pick.choice(('+=', '&=', '^=', '*='))} r{b}"], [f"r{a} = r{b}"],
            [f"*(u64 *)(r10 - {8 * pick.randrange(1, 9)}) = r{a}"],
            [f"r{a} = *(u64 *)(r10 - {8 * pick.randrange(1, 9)})"],
            [f"if r{a} {pick.choice(('>', '==', 's<'))} {pick.randrange(99)} goto l{i}",
             f"r{b} = {pick.randrange(9)}", f"l{i}:"]))
    return "; ".join([*lines, "r0 = 0", "exit"])


class Work(NamedTuple):
    """One program, for both."""

    name: str
    insns: list[Insn]
    facts: Facts
    attr: bytearray | None
    #: what `attr` points to
    held: tuple[object, ...] = ()


class Collect(Both):
    """A backend that keeps what is loaded."""

    def begin(self, name: str) -> Collect:
        self.object_name, self.found = name, list[Work]()
        return self

    def _load(self, attr: bytearray) -> None:
        fields = Fields(attr)
        name = f"{self.object_name}/{fields.text('prog_name')}"
        self.found.append(measured(self, Work(name, self.insns(fields), self.facts(fields), attr)))


class Row(NamedTuple):
    """What is printed of a program: times in microseconds; the kernel's is 0 where there is none.
    """

    name: str
    processed: int
    kernel: float
    ours: float


ROWS: list[Row] = []


def kernel_time(kernel: Linux | None, work: Work) -> float:
    """The kernel's median, in microseconds."""
    if kernel is None or work.attr is None:
        return 0.0
    buffer = ctypes.create_string_buffer(LOG_SIZE)
    times = []
    for _ in range(ROUNDS):
        attr = bytearray(work.attr)
        put(attr, log_level=uapi.BPF_LOG_STATS, log_size=LOG_SIZE,
            log_buf=ctypes.addressof(buffer))
        with contextlib.suppress(BpfError):
            kernel.close(kernel.bpf(uapi.BPF_PROG_LOAD, attr))
        found = TIME.search(buffer.value.decode())
        times.append(int(found[1]) if found else 0)
    return float(median(times))


def measured(both: Both | None, work: Work) -> Work:
    """Add the row of a program."""
    try:
        times, processed = zip(*(timed(work) for _ in range(ROUNDS)), strict=True)
    except NotSupported as error:
        print(f"{work.name}: not supported: {error.feature}")
        return work
    ROWS.append(Row(work.name, processed[0], kernel_time(both.kernel if both else None, work),
                    median(times)))
    return work


def timed(work: Work) -> tuple[float, int]:
    """Microseconds of CPU time, so that others on the machine count little; and the length."""
    start = time.perf_counter()
    verdict = verify(work.insns, work.facts, Options())
    return (time.perf_counter() - start) * 1e6, verdict.insns


def from_text(name: str, text: str) -> Work:
    """A program without maps."""
    insns = assemble(text)
    code, licence = ctypes.create_string_buffer(encode(insns)), ctypes.create_string_buffer(b"GPL")
    attr = bytearray(ATTR_SIZE)
    put(attr, prog_type=uapi.BPF_PROG_TYPE_XDP, insn_cnt=len(insns),
        insns=ctypes.addressof(code), license=ctypes.addressof(licence))
    return Work(name, insns, Facts(uapi.BPF_PROG_TYPE_XDP), attr, (code, licence))


def texts() -> Iterator[tuple[str, str]]:
    yield "loop", loop()
    yield "branches", branches()
    yield "arithmetic", arithmetic()
    for seed in (1, 2, 3):
        yield f"random {seed}", made_up(seed)


def show(row: Row) -> None:
    ours = row.processed / row.ours if row.ours else 0.0
    line = f"{row.name:34} {row.processed:8} insns  ours {ours:7.3f} M/s"
    if row.kernel:
        line += (f"  kernel {row.processed / row.kernel:7.3f} M/s"
                 f"  time x{row.ours / row.kernel:6.2f}")
    print(line)


def main(names: list[str]) -> None:
    both = Collect() if Linux.probe() is None else None
    for path in OBJECTS:
        if both is None or not path.exists() or (names and path.stem not in names):
            continue
        try:
            Object.open(path).load(both.begin(path.stem))
        except (BpfError, NotSupported) as error:
            print(f"{path.stem}: {error}")
    for name, text in texts():
        if not names or name in names:
            measured(both, from_text(name, text))
    for row in ROWS:
        show(row)
    long = [r for r in ROWS if r.kernel >= 1000]
    if long:
        print(f"time of ours to the kernel's, median of {len(long)} programs of a millisecond or "
              f"more: x{median(r.ours / r.kernel for r in long):.2f}")


if __name__ == "__main__":
    words = sys.argv[1:]
    if "--uncompiled" in words:
        words.remove("--uncompiled")
        environment = os.environ | {"ANYBPF_UNCOMPILED": "1"}
        sys.exit(subprocess.call([sys.executable, __file__, *words], env=environment))
    main(words)
