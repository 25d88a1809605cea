"""Buffers whose size is known when the program is attached (__check_buffer_access, verifier.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK, MEM_RDONLY
from anybpf.verifier import log, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region.access import Access
from anybpf.verifier.state import Reg, mark_unknown


def access(what: Access) -> None:
    """A load or store."""
    env, reg = what.env, what.reg
    if what.write and reg.kind & MEM_RDONLY:
        raise env.reject(EACCES, f"R{what.regno} cannot write into {regtype.text(reg.kind)}")
    check(env, reg, what.regno, what.off, what.size)
    if what.loads is not None:
        mark_unknown(what.loads)


def check(env: Env, reg: Reg, regno: int, off: int, size: int) -> None:
    """At a known place; how far the program reaches is kept for the attachment."""
    name = _name(reg.kind)
    if off < 0:
        raise env.reject(EACCES, f"R{regno} invalid {name} buffer access: off={off}, size={size}")
    if reg.vm or reg.vv:
        raise env.reject(EACCES, f"R{regno} invalid variable buffer offset: off={off}, "
                                 f"var_off={log.tnum_text(reg.vv, reg.vm)}")
    env.buffer_reach[name] = max(env.buffer_reach.get(name, 0), off + size)


def _name(kind: int) -> str:
    if kind & KIND_MASK == kinds.PTR_TO_TP_BUFFER:
        return "tracepoint"
    return "rdonly" if kind & MEM_RDONLY else "rdwr"
