"""Reading and loading a 100 kB object: milliseconds of CPU time, and a ratio to reading plain ELF.

    python bench/load_object.py [OBJECT...]

Without arguments a large object is compiled (clang or ziglang). The yardstick is pyelftools
walking the sections, symbols and relocations of the same file.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from elftools.elf.elffile import ELFFile

from anybpf import toolchain
from anybpf.errors import NotSupported
from anybpf.libbpf import Object, read_object

LIMIT_MS = 100
ROUNDS = 5
HELPERS = Path(__file__).parent.parent / "tests" / "objects"
PROGRAM = """
SEC("xdp") int prog_{i}(struct xdp_md *ctx)
{{
	u32 key = {i};
	u64 *value = map_lookup(&counters, &key);

	if (!value)
		return 0;
	*value += step_{i};
	if (ctx->data_end - ctx->data > {i})
		*value *= shared_{i}(*value);
	return *value & 1 ? 1 : 2;
}}
"""
HEAD = """
#include "helpers.h"
struct {{
	__uint(type, 2);
	__uint(max_entries, {count});
	__type(key, u32);
	__type(value, u64);
}} counters SEC(".maps");
char LICENSE[] SEC("license") = "GPL";
"""


def source(count: int) -> str:
    """C of `count` programs, each with a variable and a function of its own."""
    parts = [HEAD.format(count=count)]
    for i in range(count):
        parts.append(f"u32 step_{i} = {i};\n__noinline u64 shared_{i}(u64 x) "
                     f"{{ return x * {i + 3} ^ x >> {i % 20 + 1}; }}\n")
        parts.append(PROGRAM.format(i=i))
    return "".join(parts)


def compiled(folder: Path, count: int = 46) -> Path:
    path = folder / "large.bpf.c"
    path.write_text(source(count))
    return toolchain.compile_file(path, folder / "large.bpf.o", options=(f"-I{HELPERS}",))


def milliseconds(act: Callable[[], object]) -> float:
    """The best of a few rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        act()
        best = min(best, time.process_time() - began)
    return best * 1000


def yardstick(data: bytes) -> None:
    file = ELFFile(io.BytesIO(data))
    for section in file.iter_sections():
        for step in ("iter_symbols", "iter_relocations"):
            list(getattr(section, step, tuple)())


def read(data: bytes) -> int:
    return sum(len(p.instructions) for p in read_object(data).programs.values())


def load(data: bytes) -> None:
    from anybpf.machine import Machine

    with Object.open(data) as obj:
        obj.load(Machine(verify=False))              # the loader alone


def measure(path: Path) -> bool:
    data = path.read_bytes()
    plain, reading = milliseconds(lambda: yardstick(data)), milliseconds(lambda: read(data))
    line = (f"{path.name}: {len(data) / 1000:.0f} kB, {read(data)} instructions; read "
            f"{reading:.1f} ms ({reading / plain:.2f} x pyelftools)")
    try:
        loading = milliseconds(lambda: load(data))
    except NotSupported as reason:
        print(f"{line}; not loaded: {reason}")
        return reading < LIMIT_MS
    print(f"{line}; read and load {loading:.1f} ms ({loading / plain:.2f} x)")
    return loading < LIMIT_MS


def main(paths: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        chosen = [Path(p) for p in paths] or [compiled(Path(folder))]
        results = [measure(p) for p in chosen]
        return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
