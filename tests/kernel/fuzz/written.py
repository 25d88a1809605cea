"""Samples as case files have them."""

from __future__ import annotations

import re

from anybpf import uapi
from anybpf.isa import llvm
from anybpf.proto import progs
from kernel.fuzz.world import CONTEXTS, CTX, FDS, FUNCS, MAPS_HERE, REFERS_TO_MAP, STRUCT, Sample
from verifier.cases import FLAGS

_NAMES = {fd: name for name, fd in FDS.items()}


def case(of: Sample, name: str) -> str:
    """The sample as a case, without what is expected; source lines are left out."""
    words = [progs.BY_TYPE[of.type].name, *(w for w, flag in FLAGS.items() if of.flags & flag)]
    text = source(of)
    for slot, function in of.funcs:
        text = re.sub(rf"\bfunc_{slot}\b", function, text)
    return "\n".join((f"[case {name}]", f"[prog {' '.join(words)}]", text, *_maps(text),
                      *_types(of)))


def source(of: Sample) -> str:
    """The instructions, maps by name."""
    return re.sub(r"ld_pseudo r(\d+), (\d+), (\d+)\b", _named, "\n".join(llvm.source(of.insns)))


def _named(match: re.Match[str]) -> str:
    name = _NAMES.get(int(match[3]))
    if name is None or int(match[2]) not in REFERS_TO_MAP:
        return match[0]
    value = ".value" if int(match[2]) == uapi.BPF_PSEUDO_MAP_VALUE else ""
    return f"r{match[1]} = {name}{value} ll"


def _maps(text: str) -> list[str]:
    if "= frozen" not in text:
        return []
    content = MAPS_HERE["frozen"].content.hex()
    return ["[maps]", f"frozen array 4 16 1 rdonly_prog frozen content={content}"]


def _types(of: Sample) -> list[str]:
    """The functions; those of programs that other people wrote have no declaration here."""
    if not of.funcs or not all(name in FUNCS for _, name in of.funcs):
        return []
    kinds = {CTX: f"struct {CONTEXTS.get(of.type, '__sk_buff')} *", STRUCT: "struct pair *"}
    found = ["[types]", "struct pair { long a; long b; };"]
    for _, name in of.funcs:
        args, is_global = FUNCS[name]
        given = ", ".join(f"{kinds.get(kind, 'int ')}a{i}" for i, kind in enumerate(args))
        found.append(f"{'' if is_global else 'static '}int {name}({given});")
    return found
