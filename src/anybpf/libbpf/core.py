"""CO-RE of a whole object: records to changed instructions (tools/lib/bpf/libbpf.c).

`relocate` works function by function as libbpf does, before programs are linked: a function that
several programs call is resolved once. It changes no spec; `Relocated.apply` changes the
instructions of one linked program.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from anybpf.btf import relo_patch, relo_spec
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_spec import CoreError
from anybpf.btf.relo_value import Answer
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.isa.insn import Insn
from anybpf.libbpf import core_local, log
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.spec import CallTarget, Code, FunctionSpec, Linked, ObjectSpec

POISONED = re.compile(r"(\d+): \(\d+\) call unknown#195896080\n")
COMPLAINT = f"invalid func unknown#{relo_patch.POISON}\n"
#: how many lines from the log's end libbpf looks for the complaint
LAST_LINES = 10


class Site(NamedTuple):
    """One record: `number` of its section, for slot `slot` of `function`."""

    function: FunctionSpec
    number: int
    slot: int
    relo: CoreRelo

    @property
    def where(self) -> str:
        """How libbpf's messages begin."""
        return f"prog '{self.function.name}': relo #{self.number}"

    @property
    def place(self) -> CallTarget:
        return place_of(self.function)


def place_of(function: FunctionSpec) -> CallTarget:
    return CallTarget(function.code.section, function.start)


@dataclass(eq=False)
class Relocated:
    """The functions that CO-RE has changed, by place."""

    functions: dict[CallTarget, list[Insn]] = field(default_factory=dict)
    changed: dict[CallTarget, set[int]] = field(default_factory=dict)

    def apply(self, linked: Linked, insns: list[Insn]) -> None:
        """Put the changes into `insns`, a copy of the program's instructions."""
        for start, function in linked.layout:
            mine = self.functions.get(place_of(function))
            for slot in self.changed.get(place_of(function), ()):
                assert mine is not None
                insns[start + slot] = mine[slot]

    def patch(self, site: Site, answer: Answer) -> bool:
        """Change the instruction of one record; was it poisoned? Raises CoreError."""
        insns = self.functions.get(site.place)
        if insns is None:
            insns = self.functions[site.place] = site.function.instructions
        relo_patch.patch(insns, site.slot, answer, site.where)
        touched = self.changed.setdefault(site.place, set())
        touched.update(s for s in (site.slot, site.slot + 1)
                       if s < len(insns) and insns[s] != site.function.code.instructions[
                           site.function.start + s])
        return insns[site.slot] == relo_patch.POISON_INSN


def codes(spec: ObjectSpec) -> Iterator[Code]:
    """The sections of instructions with records, in the order of .BTF.ext."""
    every = {id(f.code): f.code for f in spec.functions.values()}
    return iter(sorted((c for c in every.values() if c.core_relos), key=lambda c: c.core_rank))


def sites(spec: ObjectSpec) -> Iterator[Site]:
    """All records of the object, by section; those of functions that linking left out are not."""
    for code in codes(spec):
        inside = sorted((f for f in spec.functions.values() if f.code is code),
                        key=lambda f: f.start)
        log.debug("sec '%s': found %d CO-RE relocations", code.section, len(code.core_relos))
        for index, (slot, relo) in enumerate(code.core_relos):
            function = next((f for f in inside if slot in f.slots()), None)
            if function is None:
                log.debug("sec '%s': skipping CO-RE relocation #%d for insn #%d belonging to "
                          "eliminated weak subprogram", code.section, index, slot)
            else:
                yield Site(function, index, slot - function.start, relo)


def has_records(spec: ObjectSpec) -> bool:
    return spec.btf is not None and any(codes(spec))


def relocate(spec: ObjectSpec, target: Target, skip: frozenset[str] = frozenset()) -> Relocated:
    """Resolve all records of an object but those of the programs called `skip`.

    Raises CoreError (with `program` and `index`) where libbpf refuses to load.
    """
    done = Relocated()
    if spec.btf is None:
        return done
    relocator = Relocator(spec.btf, target)
    left_out = {place_of(p.function) for n, p in spec.programs.items() if n in skip}
    for site in sites(spec):
        if site.place not in left_out:
            _relocate_one(relocator, site, done)
    return done


def _relocate_one(relocator: Relocator, site: Site, done: Relocated) -> None:
    try:
        done.patch(site, relocator.resolve(site.relo, site.where))
    except CoreError as e:
        e.program, e.index = site.function.name, site.number
        log.debug("%s: failed to relocate: -%d", site.where, e.errno)
        raise
    except LoadError as e:
        log.debug("%s: failed to relocate: %s", site.where, e)
        raise CoreError(errno.EINVAL, f"{site.where}: {e}") from None


# the kernel's types

def find_target(kernel: KernelBtf, custom: Btf | None) -> Target | None:
    """What to relocate against: `custom` BTF alone, or the backend's kernel with its modules.

    None if the backend offers no BTF.
    """
    if custom is not None:
        return Target(custom)
    try:
        base = kernel.vmlinux("CO-RE relocations")
    except NotSupported:
        return None
    return Target(base, lambda: [(m.name, m.btf) for m in kernel.modules])


def relocate_for(spec: ObjectSpec, kernel: KernelBtf, custom: Btf | None,
                 skip: frozenset[str]) -> Relocated:
    """Relocate before loading. Without any kernel BTF only what needs none may be asked for.

    Raises CoreError, BpfError (ESRCH: there is no BTF to look into).
    """
    if not has_records(spec):
        return Relocated()
    target = find_target(kernel, custom)
    if target is not None:
        return relocate(spec, target, skip)
    assert spec.btf is not None
    name = kernel.backend.name
    for site in sites(spec):
        if site.function.name not in skip and not core_local.is_settled(spec.btf, site.relo):
            raise BpfError(errno.ESRCH, f"{site.where}: backend {name} has no kernel BTF "
                           "to relocate against; give it one, or the object (btf=)")
    return Relocated()


# the verifier's log

def explain_log(btf: Btf, relos: list[CoreRelo], text: str) -> str:
    """The log with a reached poisoned instruction shown as the record that has failed.

    `relos` are the program's, in slots.
    """
    lines = text.splitlines(keepends=True)
    for at in range(len(lines) - 1, max(len(lines) - 1 - LAST_LINES, 0), -1):
        if lines[at] == COMPLAINT:
            lines[at - 1:at + 1] = _explained(btf, relos, lines[at - 1:at + 1])
            break
    return "".join(lines)


def _explained(btf: Btf, relos: list[CoreRelo], lines: list[str]) -> list[str]:
    found = POISONED.match(lines[0])
    slot = int(found[1]) if found else -1
    relo = next((r for r in relos if r.insn_off == slot), None)
    if relo is None:
        return lines
    try:
        spec = relo_spec.parse(btf, relo)
    except BpfError:
        return lines
    return [f"{slot}: <invalid CO-RE relocation>\n",
            f"failed to resolve CO-RE relocation {spec}\n"]
