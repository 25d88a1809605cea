"""The program of a seed in the typed world, and the stages on which such programs stand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from anybpf import uapi
from kernel.calls import Calls
from kernel.fuzz import borrowed, owned, scenes, views
from kernel.fuzz.scenes import Scene
from kernel.fuzz.scoped import CARELESS, Scoped, Statement
from kernel.fuzz.stage import Stage
from kernel.fuzz.world import Sample
from verifier.bench import Bench, Setup

_ALL: tuple[Statement, ...] = (*owned.OWNED, *borrowed.BORROWED, *views.VIEWS)
#: each seed leans towards something
PROFILES: tuple[Sequence[Statement], ...] = (
    _ALL, (*owned.OWNED, views.branch, views.static_call), (*borrowed.BORROWED, views.section),
    (*views.VIEWS, borrowed.current_task), (*borrowed.BORROWED, *views.VIEWS),
    (*owned.OWNED, *views.VIEWS), _ALL)


def made(seed: int, statements: int = 5) -> tuple[Scene, list[str], int]:
    """The scene, the text and the flags of a seed."""
    r = random.Random(seed ^ 0x7E57)
    scene = scenes.scene(r)
    p = Scoped(r, scene, PROFILES[seed % len(PROFILES)], careless=r.choice((0, CARELESS)))
    lines = p.text(statements)
    flags = uapi.BPF_F_TEST_STATE_FREQ if r.random() < 0.2 else 0
    return scene, lines, flags


@dataclass(eq=False)
class Theatre:
    """Stages; those whose contexts are of one struct share maps and types."""

    bench: Bench = field(default_factory=Bench)
    setups: dict[str, Setup] = field(default_factory=dict)

    def stage(self, scene: Scene) -> Stage:
        """Where programs of this scene stand."""
        case = scenes.case(scene)
        if scene.context not in self.setups:
            self.setups[scene.context] = Setup(case, Calls(self.bench.kernel),
                                               dict(self.bench.fds))
        return Stage(self.bench, case, self.setups[scene.context])

    def sample(self, seed: int, statements: int = 5) -> tuple[Stage, Sample]:
        """The program of a seed on its stage."""
        scene, lines, flags = made(seed, statements)
        stage = self.stage(scene)
        found = stage.sample(lines)
        return stage, found._replace(flags=found.flags | flags)

    def close(self) -> None:
        for setup in self.setups.values():
            setup.calls.close()
        self.bench.close()
