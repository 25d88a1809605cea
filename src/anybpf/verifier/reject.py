"""The one way up for a bad program: a text and an errno (verbose(), kernel/bpf/verifier.c)."""

from __future__ import annotations

from typing import Final

#: the kernel's own, which has no name in errno
ENOTSUPP: Final = 524


class Reject(Exception):
    """The program is refused: errno, instruction, and the kernel's text with all its lines."""

    def __init__(self, errno: int, text: str, insn: int | None = None, end: str = "\n") -> None:
        self.errno = errno
        self.text = text
        self.end = end
        self.insn = insn
        #: the text is in the log already
        self.logged = False
        #: what no path reaches was taken out before
        self.rewritten = False
        super().__init__(text)
