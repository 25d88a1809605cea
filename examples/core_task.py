"""Opens core_task.bpf.c and counts what the loader will ask a kernel's BTF.

`anybpf core core_task.bpf.c` shows each question and the running kernel's answer.
"""

from __future__ import annotations

from pathlib import Path

from anybpf import Object


def main() -> None:
    with Object.open(Path(__file__).with_suffix(".bpf.c")) as obj:
        for program in obj.programs.values():
            print(f"{program.name} ({program.section}): {len(program.instructions)} instructions")
            print(f"{len(program.spec.core_relos)} CO-RE relocations")


if __name__ == "__main__":
    main()
