"""The instructions of a loaded program as user space may see them (bpf_insn_prepare_dump)."""

from __future__ import annotations

import struct

from anybpf import uapi
from anybpf.syscall.objects import ProgObject

_SLOT = struct.Struct("<BBhI")
SLOT = _SLOT.size


def _reference(out: bytearray, index: int, source: int, map_id: int, offset: int) -> None:
    """Write an ld_imm64 that names a map by its id."""
    code, registers, off, _ = _SLOT.unpack_from(out, index * SLOT)
    _SLOT.pack_into(out, index * SLOT, code, registers & 0xF | source << 4, off, map_id)
    _SLOT.pack_into(out, (index + 1) * SLOT, 0, 0, 0, offset)


def xlated(prog: ProgObject) -> bytes:
    """Little-endian instructions; map references carry map ids instead of addresses."""
    out = bytearray(prog.facts.insns)
    for index, (map, offset) in prog.refs.items():
        source = uapi.BPF_PSEUDO_MAP_FD if offset is None else uapi.BPF_PSEUDO_MAP_VALUE
        _reference(out, index, source, map.id, offset or 0)
    return bytes(out)
