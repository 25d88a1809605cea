"""The texts that our verifier may say, found in its sources, as patterns of log lines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anybpf

SOURCE = Path(anybpf.__file__).parent
#: where texts of the log are made
FILES = (*sorted((SOURCE / "verifier").rglob("*.py")), SOURCE / "isa" / "check.py")
#: what is said with these is for whoever uses the library, and not in the log
OTHERS = frozenset({"NotSupported", "Bug", "LoadError", "Field", "KeyError", "ValueError"})
#: a piece of a text that stands for something
HOLE = "\0"


class Message(NamedTuple):
    """A line that may be said: where, and as a pattern of the whole line."""

    file: str
    line: int
    text: str

    @property
    def pattern(self) -> re.Pattern[str]:
        return pattern(self.text)


def pattern(text: str) -> re.Pattern[str]:
    """`...` stands for anything."""
    return re.compile(".*?".join(map(re.escape, text.split("..."))))


def collect() -> list[Message]:
    """Every line of every text, in the order of the sources."""
    return [message for path in FILES for message in _of(path)]


def _of(path: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text())
    for node in _texts(tree):
        raw = _raw(node)
        for part in raw.split("\n"):
            text = part.replace(HOLE, "...").replace("{}", "...")
            if _is_sentence(text):
                yield Message(path.relative_to(SOURCE).as_posix(), node.lineno, text)


def _is_sentence(text: str) -> bool:
    """Long enough to say something by itself."""
    return " " in text.strip(" .") and len(re.findall(r"[A-Za-z_]{2,}", text)) > 1


def _raw(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE
                   for part in node.values)


def _texts(node: ast.AST) -> Iterator[ast.expr]:
    """Strings and f-strings below, without documentation and what is not for the log."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.Call) and _name(child.func) in OTHERS:
            continue
        if isinstance(child, ast.Assert):
            continue
        if isinstance(child, ast.JoinedStr):
            yield child
        elif isinstance(child, ast.Constant):
            if isinstance(child.value, str):
                yield child
        else:
            yield from _texts(child)


def _name(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else getattr(func, "attr", "")
