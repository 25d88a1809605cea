"""Find where each BTF type record starts, and which names they have (kernel/bpf/btf.c).

The type section is 32-bit words throughout, so one pass over an array of words is enough. This is
the only loop that touches every type of a 5 MB BTF when it is opened.
"""

from __future__ import annotations

from array import array

from anybpf.btf.types import ELEMENT_WORDS, FIXED_WORDS

WORD = "I"
HEAD_WORDS = 3
KINDS = len(FIXED_WORDS)


def starts(words: array[int]) -> tuple[array[int], int]:
    """The word index of every type record in order, and the word index where reading stopped.

    It stops before a record of an unknown kind and at the end; the second number is
    beyond `len(words)` if the last record is cut short.
    """
    found = array(WORD)
    append = found.append
    fixed, per_element = FIXED_WORDS, ELEMENT_WORDS
    pos, last = 0, len(words) - HEAD_WORDS
    while pos <= last:
        info = words[pos + 1]
        kind = info >> 24 & 0x1F
        if kind >= KINDS or not kind:
            break
        append(pos)
        width, size = per_element[kind], fixed[kind]
        pos += HEAD_WORDS + size + (info & 0xFFFF) * width
    return found, pos


def names(words: array[int], begins: array[int], first_id: int) -> dict[int, list[int]]:
    """String offset -> ids of the types with that name, in order; nameless types left out."""
    index: dict[int, list[int]] = {}
    for i in range(len(begins)):
        offset = words[begins[i]]
        if not offset:
            continue
        known = index.get(offset)
        if known is None:
            index[offset] = [first_id + i]
        else:
            known.append(first_id + i)
    return index
