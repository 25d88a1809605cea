"""How map operations say no: the BpfError of an error number and what it is about."""

from __future__ import annotations

from typing import NoReturn

from anybpf.errors import BpfError, error_text


def fail(number: int, what: str) -> NoReturn:
    """Raise the BpfError of a (negative or positive) error number."""
    text = error_text(abs(number))
    raise BpfError(abs(number), f"{text}: {what}" if what else text)


def require(ok: object, number: int, what: str) -> None:
    """Raise BpfError(number) unless `ok`."""
    if not ok:
        fail(number, what)
