"""Open a kernel's BTF and use it: milliseconds beside the goals.

    python bench/btf_open.py [VMLINUX_BTF]

Times are of this process's CPU, best of three, so that a busy machine does not matter much.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from timing import best

from anybpf import uapi
from anybpf.btf import check, dedup, dump, kernel, raw, scan
from anybpf.btf.parse import Btf


def open_and_find(data: bytes) -> int:
    btf = Btf(data)
    found = btf.find("task_struct", uapi.BTF_KIND_STRUCT)
    return len(getattr(btf.type(found), "members", ()))


def many_lookups(data: bytes) -> int:
    """A thousand names, as CO-RE relocation of a large object asks for."""
    btf = Btf(data)
    wanted = [btf.type(i).name for i in range(1, len(btf), len(btf) // 1000 or 1)]
    return sum(btf.find(name) for name in wanted)


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else kernel.SYSFS / "vmlinux")
    data = path.read_bytes()
    compiled = not str(scan.__file__).endswith(".py")
    how = "compiled" if compiled else "interpreted"
    print(f"{path}: {len(data)} bytes, {len(Btf(data)) - 1} types; scanner {how}")
    rows: list[tuple[str, Callable[[], object], int, int]] = [
        ("open, find one struct", lambda: open_and_find(data), 150, 3),
        ("open, find 1,000 names", lambda: many_lookups(data), 500, 3),
        ("decode every type", lambda: list(Btf(data).types()), 3000, 1),
        ("kernel's checks", lambda: check.check(data, verbose=False), 5000, 1),
        ("all of it as C", lambda: dump.dump_c(Btf(data)), 10000, 1),
        ("merge equal types", lambda: dedup.dedup(Btf(data)), 15000, 1),
        ("all of it as raw text", lambda: raw.dump_raw(Btf(data)), 10000, 1),
    ]
    for name, work, goal, times in rows:
        took = 1000 * best(work, times)
        print(f"{name:24} {took:9.1f} ms   goal {goal:6} ms   ratio {took / goal:5.2f}")


if __name__ == "__main__":
    main()
