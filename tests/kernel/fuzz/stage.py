"""Programs with types and maps of their own, as case files describe them, before both verifiers.

A `Stage` keeps what such a case needs in the kernel, so that many programs can be put before it;
only instructions and the places of functions differ from one to the next.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from anybpf.errors import NotSupported
from anybpf.isa import llvm
from anybpf.isa.insn import LD_IMM64, Insn
from anybpf.verifier import Facts, Options, verify
from anybpf.verifier.facts import Records, Table
from kernel.both_verifiers import Answer, Pair, errno_name, masked
from kernel.calls import Calls, u32
from kernel.fuzz.world import REFERS_TO_MAP, Sample
from verifier.bench import Bench, Setup
from verifier.cases import Case, kernel_types, map_symbols
from verifier.cases import written as written_case

RECORD = 8


@dataclass(eq=False)
class Stage:
    """One case's maps and types; samples name maps by the numbers of `Case.fds()`."""

    bench: Bench
    case: Case
    #: the kernel's maps and types
    setup: Setup

    @classmethod
    def of(cls, bench: Bench, case: Case) -> Stage:
        """With maps and types of its own."""
        if bench.names_matter(case):
            with contextlib.closing(Calls(bench.kernel)) as calls:
                bench.forget_candidates(calls)
        return cls(bench, case, Setup(case, Calls(bench.kernel), dict(bench.fds)))

    def close(self) -> None:
        """Maps and types go."""
        self.setup.calls.close()

    def sample(self, lines: Iterable[str] | None = None) -> Sample:
        """The case's own program, or another text with its types and maps."""
        case = self.case
        if lines is not None:
            case = replace(case, parts=case.parts | {"prog": (case.parts["prog"][0], tuple(lines))})
            case.__dict__["types"] = self.case.types
        fds = case.fds()
        names = {number: name for name, number in case.types.ids.items()}
        funcs = tuple((slot, names[number]) for slot, number in sorted(case.func_info(fds))
                      ) if "types" in case.parts else ()
        return Sample(tuple(case.insns(fds)), case.prog_type, case.attach, case.flags, funcs)

    # -- the kernel

    def _insns(self, of: Sample) -> list[Insn]:
        """With the kernel's descriptors."""
        real = {number: self.setup.fds[name] for name, number in self.case.fds().items()}
        return [insn._replace(imm=real.get(insn.imm, insn.imm))
                if insn.code == LD_IMM64 and insn.src in REFERS_TO_MAP else insn
                for insn in of.insns]

    def ask_kernel(self, of: Sample, level: int) -> Answer:
        records: dict[str, Any] = {}
        if self.setup.btf is not None:
            records = {"prog_btf_fd": self.setup.btf}
        if of.funcs:
            records |= {"func_info": self._records(of), "func_info_cnt": len(of.funcs),
                        "func_info_rec_size": RECORD}
        return self.setup.load(self.case, level, self._insns(of), of.flags, records)

    def _records(self, of: Sample) -> bytes:
        return u32(*(n for slot, name in of.funcs for n in (slot, self.case.types.ids[name])))

    # -- ours

    def ask(self, of: Sample, level: int) -> Pair:
        """Both answers."""
        kernel = self.ask_kernel(of, level)
        try:
            verdict = verify(*self.question(of), Options(level))
        except NotSupported as error:
            return Pair("", kernel, None, error.feature)
        return Pair("", kernel, Answer(errno_name(verdict.errno), masked(verdict.log)))

    @cached_property
    def _facts(self) -> Facts:
        return self.case.facts(self.setup.fds, self.bench.cpus)

    def question(self, of: Sample) -> tuple[list[Insn], Facts]:
        """What our verifier is asked."""
        records = None
        if self.setup.btf is not None:
            records = Records(self.case.types.parsed, _table(self._records(of)), _table(b""),
                              _table(b""), lambda: None)
        return self._insns(of), replace(self._facts, type=of.type, attach_type=of.attach,
                                        flags=of.flags, records=records)

    # -- as a case

    def written(self, of: Sample, name: str) -> str:
        """The sample as a case."""
        text = _source(of, self.case.fds())
        for slot, function in of.funcs:
            text = re.sub(rf"\bfunc_{slot}\b", function, text)
        parts = {"case": (name, ()), "prog": (self.case.parts["prog"][0], tuple(text.split("\n")))}
        kept = {part: self.case.parts[part] for part in ("types", "maps")
                if part in self.case.parts}
        return written_case(Case(Path(), name, parts | kept, "", ()), "", ())


def _source(of: Sample, fds: dict[str, int]) -> str:
    """The instructions, maps and functions of the kernel by name."""
    names = {(made.src, made.lo): name for name, made in map_symbols(fds).items()}

    def load(match: re.Match[str]) -> str:
        name = names.get((int(match[2]), int(match[3])))
        return f"r{match[1]} = {name} ll" if name else match[0]

    def called(match: re.Match[str]) -> str:
        return f"call {kernel_types().type(int(match[1])).name}"  # type: ignore[attr-defined]

    text = "\n".join(line.strip() for line in llvm.source(of.insns))
    text = re.sub(r"ld_pseudo r(\d+), (\d+), (\d+)\b", load, text)
    return re.sub(r"call kernel-function#(\d+)", called, text)


def _table(data: bytes) -> Table:
    return Table(len(data) // RECORD, RECORD if data else 0,
                 lambda offset, size: data[offset:offset + size], lambda size: None)
