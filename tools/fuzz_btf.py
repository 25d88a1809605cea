"""Fuzz all that reads BTF: `python tools/fuzz_btf.py [SECONDS] [CORPUS_DIR]`.

With atheris (`pip install atheris`) guided by coverage, else by plain mutation. A crash is any
error that is not one of the typed ones; the input that caused it is kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]


def mutate(rnd: random.Random, data: bytes) -> bytes:
    """Change, insert or remove a few bytes."""
    out = bytearray(data)
    for _ in range(rnd.randint(1, 6)):
        at = rnd.randrange(len(out) + 1)
        choice = rnd.randrange(4)
        if choice == 0:
            out[at : at + 1] = bytes([rnd.randrange(256)])
        elif choice == 1:
            out[at & ~3 : (at & ~3) + 4] = rnd.choice((0, 1, 2, 255, 1 << 31)).to_bytes(4, "little")
        elif choice == 2:
            del out[at : at + rnd.randint(1, 12)]
        else:
            out[at:at] = out[rnd.randrange(len(out) + 1) :][: rnd.randint(1, 48)]
    return bytes(out)


def plain(seconds: int) -> None:
    """Mutate good blobs until the time is over."""
    from unit.btf.exercise import exercise, seeds

    rnd, good, runs = random.Random(), seeds(), 0
    slowest = (0.0, b"")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(rnd, rnd.choice(good))
        start = time.process_time()
        try:
            exercise(data)
        except BaseException:
            name = Path("crash-" + hashlib.sha256(data).hexdigest()[:16])
            name.write_bytes(data)
            print(f"after {runs} runs; input kept in {name}", file=sys.stderr)
            raise
        runs += 1
        slowest = max(slowest, (time.process_time() - start, data))
    print(f"{runs} runs, no crash; the slowest took {slowest[0]:.1f} s: {slowest[1].hex()}")


def guided(seconds: int, corpus: Path) -> None:
    """Let atheris look for inputs that reach new code."""
    import atheris

    with atheris.instrument_imports(include=["anybpf"]):
        from unit.btf.exercise import exercise, seeds

    corpus.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(seeds()):
        (corpus / f"seed-{i}").write_bytes(data)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=20", str(corpus)], exercise)
    atheris.Fuzz()


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    corpus = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "build" / "fuzz-btf")
    if importlib.util.find_spec("atheris"):
        guided(seconds, corpus)
    else:
        plain(seconds)


if __name__ == "__main__":
    main()
