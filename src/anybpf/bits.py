"""Sign, width and byte order of machine integers, exact in both modes (linux/bitops.h, swab.h).

Every function takes and returns plain ints; unsigned results lie in 0 .. 2**width - 1.
`bits.pxd` holds the same as C inline functions; this module is never compiled.
"""

from __future__ import annotations

from anybpf import uapi


def s8(x: int) -> int:
    """The low 8 bits of `x` as a signed number."""
    return ((x & uapi.U8) ^ 0x80) - 0x80


def s16(x: int) -> int:
    """The low 16 bits of `x` as a signed number."""
    return ((x & uapi.U16) ^ 0x8000) - 0x8000


def s32(x: int) -> int:
    """The low 32 bits of `x` as a signed number."""
    return ((x & uapi.U32) ^ 0x8000_0000) - 0x8000_0000


def s64(x: int) -> int:
    """The low 64 bits of `x` as a signed number."""
    return ((x & uapi.U64) ^ 0x8000_0000_0000_0000) - 0x8000_0000_0000_0000


def bswap16(x: int) -> int:
    """The low 16 bits of `x` with their bytes reversed."""
    return int.from_bytes((x & uapi.U16).to_bytes(2, "little"), "big")


def bswap32(x: int) -> int:
    """The low 32 bits of `x` with their bytes reversed."""
    return int.from_bytes((x & uapi.U32).to_bytes(4, "little"), "big")


def bswap64(x: int) -> int:
    """The low 64 bits of `x` with their bytes reversed."""
    return int.from_bytes((x & uapi.U64).to_bytes(8, "little"), "big")
