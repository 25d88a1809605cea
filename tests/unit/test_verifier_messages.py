"""Each message of the verifier has a case that shows it, or a reason why none can.

`messages.toml` is the list: `[shown]` has a case for each message (as `FILE: CASE`, rewritten by
`pytest --update`); the other tables say in `why` what keeps theirs from being shown. `...` stands
for what differs.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import verifier.messages
from verifier.cases import all_cases
from verifier.messages import Message, collect, pattern

TABLE = Path(verifier.messages.__file__).with_name("messages.toml")
KNOWN: dict[str, Any] = tomllib.loads(TABLE.read_text())
SHOWN: dict[str, str] = KNOWN["shown"]
#: message -> why no case shows it
HIDDEN = {message: part["why"] for name, part in KNOWN.items() if name != "shown"
          for message in part["messages"]}
CASES = all_cases()
#: the lines of all cases, and the case of each
TEXT = "\n".join(line for case in CASES for line in case.text)
OF_LINE = [case for case in CASES for _ in case.text]


@cache
def shown(text: str) -> str:
    """The first case with the message; or nothing."""
    found = pattern(text).search(TEXT)
    if found is None:
        return ""
    case = OF_LINE[TEXT.count("\n", 0, found.start())]
    return f"{case.file.stem}: {case.name}"


@pytest.mark.parametrize("message", collect(), ids=lambda m: f"{m.file}:{m.text}")
def test_every_message_of_ours_is_shown_by_a_case(message: Message) -> None:
    assert shown(message.text) or HIDDEN.get(message.text), f"no case shows {message}"


@pytest.mark.parametrize("text", SHOWN)
def test_message_is_said_in_its_case(text: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        pytest.skip("the list is rewritten")
    name, _, case = SHOWN[text].partition(": ")
    assert any(c.file.stem == name and c.name == case
               and pattern(text).search("\n".join(c.text)) for c in CASES)


@pytest.mark.parametrize("text", HIDDEN)
def test_hidden_message_is_shown_nowhere(text: str) -> None:
    assert HIDDEN[text]
    assert shown(text) == ""


def test_list_of_messages(request: pytest.FixtureRequest) -> None:
    """All that cases show and our sources have is in the list."""
    found = {m.text: shown(m.text) for m in collect()} | {t: shown(t) for t in SHOWN}
    now = {text: case for text, case in sorted(found.items()) if case}
    if request.config.getoption("--update"):
        _write(now)
    else:
        assert now.keys() == SHOWN.keys()


def _write(now: dict[str, str]) -> None:
    head, _, _ = TABLE.read_text().partition("[shown]\n")
    lines = [f"{_quoted(text)} = {_quoted(case)}" for text, case in now.items()]
    TABLE.write_text(head + "[shown]\n" + "\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
