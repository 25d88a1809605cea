"""The verifier's log in words of the object file (tools/lib/bpf/libbpf.c, fixup_verifier_log).

What could not be resolved is loaded as the call of a function that does not exist. Should a program
get there, the log's complaint about that number is replaced by what was missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from anybpf import uapi
from anybpf.isa.insn import Insn
from anybpf.libbpf import core
from anybpf.libbpf.spec import Linked, ObjectSpec

#: calls with these numbers stand for a map, or a kernel function, with the index behind it
POISON_MAP_BASE, POISON_KFUNC_BASE = 2_001_000_000, 2_002_000_000
POISON_RANGE = 1_000_000
CALL = re.compile(r"(\d+): \(\d+\) call unknown#(\d+)\n")
COMPLAINT = re.compile(r"invalid func unknown#(\d+)\n")
#: how many lines from the log's end libbpf looks for the complaint
LAST_LINES = 10


@dataclass(frozen=True)
class _Kind:
    base: int
    name_of: Callable[[ObjectSpec, int], str | None]
    text: str


def _nth(names: list[str], index: int) -> str | None:
    return names[index] if index < len(names) else None


KINDS = (
    _Kind(POISON_MAP_BASE, lambda spec, i: _nth(list(spec.maps), i),
          "{slot}: <invalid BPF map reference>\n"
          "BPF map '{name}' is referenced but wasn't created\n"),
    _Kind(POISON_KFUNC_BASE, lambda spec, i: _nth(list(spec.externs), i),
          "{slot}: <invalid kfunc call>\n"
          "kfunc '{name}' is referenced but wasn't resolved\n"),
)


def poison(number: int) -> Insn:
    """The call that stands for what is missing."""
    return Insn(uapi.BPF_JMP | uapi.BPF_CALL, imm=number)


def explain(spec: ObjectSpec, linked: Linked, text: str) -> str:
    """The log with what was missing named. A log without such a complaint stays as it is."""
    if spec.btf is not None:
        text = core.explain_log(spec.btf, linked.core_relos, text)
    lines = text.splitlines(keepends=True)
    for at in range(len(lines) - 1, max(len(lines) - 1 - LAST_LINES, 0), -1):
        explained = _explained(spec, lines[at - 1], lines[at])
        if explained:
            return "".join((*lines[:at - 1], explained, *lines[at + 1:]))
    return text


def _explained(spec: ObjectSpec, call: str, complaint: str) -> str:
    found, number = CALL.match(call), COMPLAINT.match(complaint)
    if found is None or number is None or found[2] != number[1]:
        return ""
    for kind in KINDS:
        index = int(found[2]) - kind.base
        name = kind.name_of(spec, index) if 0 <= index < POISON_RANGE else None
        if name is not None:
            return kind.text.format(slot=found[1], name=name)
    return ""
