"""Compares made-up programs with the running kernel: `python -m kernel.fuzz --seconds 60`.

Programs that differ are shrunk and written to a directory, with both logs. The exit status is 1
where one differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.linux import Linux
from kernel.fuzz import cased, garbage, judge, mutate, objects, program, real, written
from kernel.fuzz.judge import BAD, Judgement, Outcome
from kernel.fuzz.shrink import shrink
from kernel.fuzz.stage import Stage
from kernel.fuzz.world import Asks, Sample, World

LEVELS = {1: uapi.BPF_LOG_LEVEL1, 2: uapi.BPF_LOG_LEVEL2}


def main() -> int:
    args = _arguments()
    reason = Linux.probe()
    if reason:
        print(f"bpf(2) cannot be used here: {reason}")
        return 2
    world, theatre = World(), objects.Theatre()
    found: Counter[str] = Counter()
    made = _made(args, world, theatre)
    try:
        for seed in _seeds(args):
            asks, sample = made(seed)
            _one(asks, sample, args, seed, found)
    except KeyboardInterrupt:
        print("stopped")
    finally:
        world.close()
        theatre.close()
    accepted = found.pop("accepted", 0)
    total = sum(found.values())
    print(f"{total} programs, {accepted} accepted: "
          + ", ".join(f"{n} {what}" for what, n in found.most_common()))
    return int(any(found[o.value] for o in (judge.VERDICTS if args.verdicts else BAD)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=0, help="how many programs")
    parser.add_argument("--seconds", type=float, default=0, help="how long")
    parser.add_argument("--statements", type=int, default=14)
    parser.add_argument("--mutate", action="store_true", help="change programs here and there")
    parser.add_argument("--garbage", action="store_true",
                        help="instructions that mean nothing")
    parser.add_argument("--real", action="store_true",
                        help="change programs of Debian's packages instead of made-up ones")
    parser.add_argument("--objects", type=Path, help="the same of objects in this folder")
    parser.add_argument("--typed", action="store_true",
                        help="objects, locks, typed pointers, dynptrs, callbacks")
    parser.add_argument("--cases", action="store_true",
                        help="change programs of tests/verifier/*.case")
    parser.add_argument("--level", type=int, choices=LEVELS, default=2, help="the log's level")
    parser.add_argument("--verdicts", action="store_true",
                        help="only verdicts must be the same (the guest's kernel is an older one)")
    parser.add_argument("--out", type=Path, default=Path("fuzz-verifier"))
    parser.add_argument("--no-shrink", action="store_true")
    return parser.parse_args()


def _seeds(args: argparse.Namespace) -> Iterator[int]:
    start, seed = time.monotonic(), args.first
    limit = args.seconds or (0 if args.count else 10)
    while (not args.count or seed < args.first + args.count) and (
            not limit or time.monotonic() - start < limit):
        yield seed
        seed += 1


def _made(args: argparse.Namespace, world: World,
          theatre: objects.Theatre) -> Callable[[int], tuple[Asks, Sample]]:
    """What makes the program of a seed, and says who puts it before the verifiers."""
    if args.real or args.objects:
        taken = list(real.programs(args.objects))
        return lambda seed: (chosen := taken[seed % len(taken)],
                             mutate.mutated(chosen.sample, seed))
    if args.cases:
        cases = cased.Cases(theatre.bench)
        return lambda seed: _changed(cases.sample(seed), seed, True)
    if args.typed:
        return lambda seed: _changed(theatre.sample(seed), seed, args.mutate)
    if args.garbage:
        return lambda seed: (world, garbage.make(seed))
    return lambda seed: _changed((world, program.make(seed, args.statements)), seed, args.mutate)


def _changed(made: tuple[Asks, Sample], seed: int, change: bool) -> tuple[Asks, Sample]:
    return (made[0], mutate.mutated(made[1], seed)) if change else made


def _one(world: Asks, sample: Sample, args: argparse.Namespace, seed: int,
         found: Counter[str]) -> None:
    level = LEVELS[args.level]
    try:
        result = judge.judge(world, sample, level)
    except BpfError as error:
        result = Judgement(Outcome.CRASH, str(error))
    what = result.outcome.value
    if result.outcome is Outcome.UNSUPPORTED:
        what += f" ({result.detail})"
    found[what] += 1
    found["accepted"] += result.accepted
    if result.outcome not in (judge.VERDICTS if args.verdicts else BAD):
        return
    print(f"seed {seed}: {result.outcome.value}: {result.detail}", flush=True)
    if not args.no_shrink:
        sample = shrink(sample, lambda s: judge.judge(world, s, level).outcome == result.outcome)
        result = judge.judge(world, sample, level)
    _write(args.out, seed, world, sample, result)


def _write(folder: Path, seed: int, world: Asks, sample: Sample, result: Judgement) -> None:
    folder.mkdir(exist_ok=True)
    name = f"{result.outcome.name.lower()}-{seed}"
    (folder / f"{name}.case").write_text("\n".join((
        _written(world, sample, f"seed {seed}"), "", f"# {result.outcome.value}",
        *("# " + line for line in result.detail.splitlines()), "")))
    (folder / f"{name}.kernel").write_text(result.kernel)
    (folder / f"{name}.ours").write_text(result.ours)


def _written(world: Asks, sample: Sample, name: str) -> str:
    return world.written(sample, name) if isinstance(world, Stage) else written.case(sample, name)


if __name__ == "__main__":
    sys.exit(main())
