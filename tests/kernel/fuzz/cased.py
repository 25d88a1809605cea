"""Programs of case files, to be changed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from anybpf.errors import BpfError
from kernel.fuzz.stage import Stage
from kernel.fuzz.world import Sample
from verifier.bench import Bench
from verifier.cases import Case, all_cases

#: stages that are kept, each with its maps
KEPT = 40
#: longer programs are walked for too long
LONGEST = 400


def _judged() -> list[Case]:
    """The cases that this kernel can judge."""
    return [case for case in all_cases() if not Bench.refusal(case)]


@dataclass(eq=False)
class Cases:
    """The cases, and stages for those that were asked for last."""

    bench: Bench
    cases: list[Case] = field(default_factory=_judged)
    stages: OrderedDict[int, Stage] = field(default_factory=OrderedDict)

    def sample(self, seed: int) -> tuple[Stage, Sample]:
        """The program of a case; neighbouring seeds take the same one now and then."""
        at = seed // 4 % len(self.cases)
        while True:
            try:
                stage = self._stage(at)
                sample = stage.sample()
                if len(sample.insns) <= LONGEST:
                    return stage, sample
            except (KeyError, AssertionError, BpfError):
                # the kernel does not have what the case needs
                pass
            at = (at + 1) % len(self.cases)

    def _stage(self, at: int) -> Stage:
        if at not in self.stages:
            self.stages[at] = Stage.of(self.bench, self.cases[at])
            if len(self.stages) > KEPT:
                self.stages.popitem(last=False)[1].close()
        return self.stages[at]

    def close(self) -> None:
        while self.stages:
            self.stages.popitem()[1].close()
