"""Templates of statements to regular expressions (llvm/lib/Target/BPF/AsmParser/BPFAsmParser.cpp).

In a template a space is optional white space, `~` is required white space, and `{name:kind}` is a
part of the statement: its name in the match, and what it looks like.
"""

from __future__ import annotations

import re

_NUMBER = r"[-+]?\s*(?:0[xX][0-9a-fA-F]+|\d+)"
_PIECES = {
    "reg": r"[rw]\d{1,9}",
    "num": _NUMBER,
    "size": r"[us](?:8|16|32|64)",
    "off": r"(?:[-+]\s*(?:0[xX][0-9a-fA-F]+|\d+))?",
    "plus": r"(?:\+\s*[-+]?\s*(?:0[xX][0-9a-fA-F]+|\d+))?",
    "name": r"[A-Za-z_.$][\w.$]*",
    "target": r"(?:pc)?\s*[-+]\s*(?:0[xX][0-9a-fA-F]+|\d+)|[A-Za-z_.$][\w.$]*|\d+[bf]",
    "alu": r"s/=|s%=|s>>=|<<=|>>=|[-+*/%&|^]?=",
    "jmp": r"s>=|s<=|s>|s<|==|!=|>=|<=|>|<|&",
    "lock": r"[+|&^]=",
    "fetch": "add|or|and|xor",
    "end": "le|be|bswap",
    "bits": r"\d{1,9}",
    "type": "s8|s16|s32",
    "wide": "(?:64)?",
    "suffix": "_64|32_32",
}


def compile_template(template: str) -> re.Pattern[str]:
    """The regular expression of a template; llvm-objdump's `<L>` after a target is let pass."""
    parts = re.split(r"(\{\w+:\w+\}| |~)", template)
    return re.compile("".join(map(_piece, parts)) + r"(?:\s*<[^<>]*>)?", re.ASCII)


def _piece(part: str) -> str:
    if part in (" ", "~"):
        return r"\s*" if part == " " else r"\s+"
    if part.startswith("{"):
        name, kind = part[1:-1].split(":")
        return f"(?P<{name}>{_PIECES[kind]})"
    # white space is free around punctuation
    return re.sub(r"(\\[()\[\]*,])", r"\\s*\1\\s*", re.escape(part))
