"""A thousand CO-RE relocations against a kernel's BTF: milliseconds beside the goals.

    python bench/core_relo.py [VMLINUX_BTF]

The records ask for members of the kernel's own structs, so every one of them is found; the object's
BTF is made here. Times are of this process's CPU, best of three.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from timing import best

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.btf.kernel import load_vmlinux
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_patch import patch
from anybpf.btf.relo_spec import FIELD_BYTE_OFFSET
from anybpf.isa.insn import Insn

RECORDS = 1000
LOAD = uapi.BPF_ALU64 | uapi.BPF_MOV


def members(kernel: Btf) -> Iterator[tuple[str, t.Member]]:
    """Members of integer type, one of each struct, structs spread over the whole kernel."""
    structs = [(i, s) for i, s in kernel.types() if isinstance(s, t.Struct) and s.name]
    for _, found in structs[:: max(1, len(structs) // (3 * RECORDS))]:
        for member in found.members:
            target = kernel.type(kernel.resolve(member.type))
            if isinstance(target, t.Int) and member.name and not member.bitfield_size:
                yield found.name, member
                break


def records(kernel: Btf) -> tuple[Btf, list[CoreRelo], list[Insn]]:
    """An object: its BTF, its records, and the instructions that they are for."""
    made = BtfBuilder()
    number = made.add(t.Int("int", 4, 32, 0, uapi.BTF_INT_SIGNED))
    access = made.string("0:1")
    relos, insns = [], []
    for index, (name, member) in enumerate(members(kernel)):
        if index == RECORDS:
            break
        pad = t.Member("of_the_object", number, 0)
        local = made.add(t.Struct(name, 8, (pad, t.Member(member.name, number, 32))))
        relos.append(CoreRelo(index, local, access, FIELD_BYTE_OFFSET))
        insns.append(Insn(LOAD, imm=4))
    return made.build(), relos, insns


def relocate(kernel: bytes, local: Btf, relos: list[CoreRelo], insns: list[Insn]) -> int:
    """Open the kernel's BTF and resolve all records; how many were found."""
    relocator = Relocator(local, Target(Btf(kernel)))
    out, found = list(insns), 0
    for relo in relos:
        answer = relocator.resolve(relo)
        patch(out, relo.insn_off, answer, "")
        found += answer.matched
    return found


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    kernel = load_vmlinux(path)
    data = kernel.to_bytes()
    local, relos, insns = records(kernel)
    found = relocate(data, local, relos, insns)
    assert found == len(relos), f"{found} of {len(relos)} found"
    again = Relocator(local, Target(kernel))
    rows = (
        (f"open, relocate {len(relos)} records", 500.0,
         1000 * best(lambda: relocate(data, local, relos, insns))),
        (f"relocate {len(relos)} records again", 500.0,
         1000 * best(lambda: [again.resolve(r) for r in relos])),
        ("open, relocate one record", 150.0,
         1000 * best(lambda: relocate(data, local, relos[:1], insns[:1]))),
    )
    for what, goal, took in rows:
        print(f"{what:32} {took:8.1f} ms   goal {goal:6.0f} ms   {goal / took:6.1f} x faster")


if __name__ == "__main__":
    main()
