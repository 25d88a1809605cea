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
    """What our verifier says of a case."""
    fds = case.fds()
    verdict = verify(case.insns(fds), case.facts(fds, CPUS), Options(LEVEL))
    return verdict.log + verdict.message


@cache
def logs() -> tuple[str, list[Case]]:
    """The logs of all cases in one, and the case of each line; the same line once."""
    lines: dict[str, Case] = {}
    for case in all_cases():
        for line in log_of(case).splitlines():
            lines.setdefault(line, case)
    return "\n".join(lines), list(lines.values())


@cache
def shown(text: str) -> str:
    """The first case with the message; or nothing."""
    said, cases = logs()
    found = pattern(text).search(said)
    if found is None:
        return ""
    case = cases[said.count("\n", 0, found.start())]
    return f"{case.file.stem}: {case.name}"


@pytest.mark.parametrize("message", collect(), ids=lambda m: f"{m.file}:{m.text}")
def test_every_message_of_ours_is_shown_by_a_case(message: Message) -> None:
    assert shown(message.text) or HIDDEN.get(message.text), f"no case shows {message}"


def test_list_of_messages(request: pytest.FixtureRequest) -> None:
    """What is shown is shown by the case that the list says."""
    now = {text: shown(text) for text in SHOWN} | {m.text: shown(m.text) for m in collect()}
    now |= {text: shown(text) for text in HIDDEN}
    if request.config.getoption("--update"):
        _write({text: case for text, case in sorted(now.items()) if case})
    else:
        assert {text: now[text] for text in SHOWN} == SHOWN


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
