"""Each message of the verifier is in the log of a case, or there is a reason why none has it.

`messages.toml` is the list: `[shown]` has a case for each message (as `FILE: CASE`, rewritten by
`pytest --update`); the other tables say in `why` what keeps theirs from being shown. `...` stands
for what differs. The logs are our own; that they are the kernel's is tested with the cases.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import verifier.messages
from anybpf import uapi
from anybpf.verifier import Options, verify
from verifier.cases import Case, all_cases
from verifier.messages import Message, collect, pattern

TABLE = Path(verifier.messages.__file__).with_name("messages.toml")
KNOWN: dict[str, Any] = tomllib.loads(TABLE.read_text())
SHOWN: dict[str, str] = KNOWN["shown"]
#: message -> why no case shows it
HIDDEN = {message: part["why"] for name, part in KNOWN.items() if name != "shown"
          for message in part["messages"]}
LEVEL = uapi.BPF_LOG_LEVEL2 | uapi.BPF_LOG_STATS
CPUS = 2


def log_of(case: Case) -> str:
    """What our verifier says of a case; where the kernel lacks what it needs, what it expects."""
    fds = case.fds()
    try:
        verdict = verify(case.insns(fds), case.facts(fds, CPUS), Options(LEVEL))
    except KeyError:
        return "\n".join(case.text)
    return verdict.log + verdict.message


@cache
def logs() -> dict[str, str]:
    """The log of each case, by `FILE: CASE`."""
    return {f"{case.file.stem}: {case.name}": log_of(case) for case in all_cases()}


@cache
def lines() -> tuple[str, list[str]]:
    """The lines of all logs, each once, and the case that has it first."""
    found: dict[str, str] = {}
    for name, log in logs().items():
        for line in log.splitlines():
            found.setdefault(line, name)
    return "\n".join(found), list(found.values())


@cache
def shown(text: str) -> str:
    """The first case with the message; or nothing."""
    said, names = lines()
    found = pattern(text).search(said)
    return "" if found is None else names[said.count("\n", 0, found.start())]


@pytest.mark.parametrize("message", collect(), ids=lambda m: f"{m.file}:{m.text}")
def test_every_message_of_ours_is_shown_by_a_case(message: Message) -> None:
    assert shown(message.text) or HIDDEN.get(message.text), f"no case shows {message}"


def test_list_of_messages(request: pytest.FixtureRequest) -> None:
    """What is shown is shown by the case that the list says."""
    if request.config.getoption("--update"):
        texts = {*SHOWN, *HIDDEN, *(message.text for message in collect())}
        _write({text: shown(text) for text in sorted(texts) if shown(text)})
        return
    missing = [text for text, case in SHOWN.items()
               if not pattern(text).search(logs().get(case, ""))]
    assert missing == []


@pytest.mark.parametrize("text", HIDDEN)
def test_hidden_message_is_shown_nowhere(text: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        pytest.skip("the list is rewritten")
    assert HIDDEN[text]
    assert shown(text) == ""


def _write(now: dict[str, str]) -> None:
    """The list anew; hidden messages that are shown now are hidden no more."""
    lines = []
    for name, part in KNOWN.items():
        if name == "shown":
            continue
        hidden = [f"  {_quoted(text)}," for text in part["messages"] if text not in now]
        lines += [f"[{name}]", f"why = {_quoted(part['why'])}", "messages = [", *hidden, "]", ""]
    lines += ["[shown]", *(f"{_quoted(text)} = {_quoted(case)}" for text, case in now.items())]
    head = "".join(line for line in TABLE.read_text().splitlines(keepends=True)
                   if line.startswith("#"))
    TABLE.write_text(head + "\n" + "\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
