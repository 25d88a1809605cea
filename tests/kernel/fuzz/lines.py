"""The lines of a program that is made up, and what chance says of them."""

from __future__ import annotations

import random


class Lines:
    """Assembler text that grows; `random` makes the choices."""

    random: random.Random
    lines: list[str]
    labels: int

    def emit(self, *lines: str) -> None:
        self.lines += lines

    def label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, *choice: str) -> str:
        return self.random.choice(choice)
