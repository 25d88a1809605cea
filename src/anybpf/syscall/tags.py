"""Program tags (bpf_prog_calc_tag in kernel/bpf/core.c)."""

from __future__ import annotations

from hashlib import sha256

from anybpf import uapi

_LD_IMM64 = uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW
_MAP_SOURCES = (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE)
SLOT = 8


def stable(insns: bytes) -> bytes:
    """The instructions without what changes from load to load: both halves of map references."""
    out = bytearray(insns)
    for start in range(0, len(out) - SLOT, SLOT):
        if out[start] == _LD_IMM64 and out[start + 1] >> 4 in _MAP_SOURCES:
            out[start + 4:start + 8] = out[start + 12:start + 16] = bytes(4)
    return bytes(out)


def tag(insns: bytes) -> bytes:
    """The 8-byte tag of little-endian instructions."""
    return digest(insns)[:uapi.BPF_TAG_SIZE]


def digest(insns: bytes) -> bytes:
    """The whole SHA-256 of the stable instructions, as `excl_prog_hash` names a program."""
    return sha256(stable(insns)).digest()
