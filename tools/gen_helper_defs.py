"""Writes src/anybpf/include/bpf/bpf_helper_defs.h from the rows of helpers and their prototypes.

Run it with the package importable after a change to either table:

    PYTHONPATH=src python tools/gen_helper_defs.py
"""

from __future__ import annotations

from anybpf.toolchain import prototypes
from anybpf.toolchain.compile import INCLUDE

TARGET = INCLUDE / "bpf" / "bpf_helper_defs.h"


def main() -> None:
    TARGET.write_text(prototypes.header())
    print(f"{TARGET.name}: {len(prototypes.BY_NAME)} helpers")


if __name__ == "__main__":
    main()
