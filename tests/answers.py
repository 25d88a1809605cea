"""What a call answers, errors among the answers: for comparing calls that may fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from anybpf.errors import BpfError


class Refused(NamedTuple):
    """In place of an answer: the call failed with this error number."""

    errno: int


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What a call answers; an error as `Refused`."""
    try:
        return call(*args)
    except BpfError as error:
        return Refused(error.errno or 0)


def errno_of(call: Callable[..., Any], *args: Any) -> int:
    """The error number that a call gives, 0 if it gives none."""
    answer = outcome(call, *args)
    return answer.errno if isinstance(answer, Refused) else 0
