"""Format strings of bpf_snprintf() (bpf_bprintf_prepare, kernel/bpf/helpers.c)."""

from __future__ import annotations

import re

# the kernel's character classes are those of Latin-1
_SPACE = rb"\t-\r \xa0"
_PUNCT = rb"!-/:-@\[-`{-~\xa1-\xbf\xd7\xf7"
_END = rb"(?=[" + _SPACE + _PUNCT + rb"]|\Z)"
_SPEC = re.compile(
    rb"%[0+\- ]*(?:[1-9][0-9]*)?(?:p(?:[ku]s" + _END + rb"|[KxsSB]|[iI][46]|" + _END + rb")|s"
    + _END + rb"|c|l{0,2}[iduxX])")
_PLAIN = re.compile(rb"%%|[" + _SPACE + rb" -$&-~\x80-\xff]")


def specifiers(text: bytes) -> int:
    """How many arguments the format takes; -1: it is no format that programs may use."""
    count = at = 0
    while at < len(text):
        found = _PLAIN.match(text, at)
        if found is None:
            found = _SPEC.match(text, at)
            count += 1
        if found is None:
            return -1
        at = found.end()
    return count
