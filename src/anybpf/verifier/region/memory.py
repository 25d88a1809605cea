"""Memory of a known size that a helper gave, and arenas (PTR_TO_MEM, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf.proto.kinds import MEM_RDONLY, PTR_UNTRUSTED
from anybpf.verifier import regtype
from anybpf.verifier.region.access import Access, check_region
from anybpf.verifier.state import mark_unknown


def access(what: Access) -> None:
    """A load or store."""
    env, reg = what.env, what.reg
    if what.write and reg.kind & MEM_RDONLY:
        raise env.reject(EACCES, f"R{what.regno} cannot write into {regtype.text(reg.kind)}")
    if not reg.kind & PTR_UNTRUSTED:
        # untrusted memory is read by loads that may fault
        check_region(env, reg, what.regno, what.off, what.size, reg.mem_size)
    if what.loads is not None:
        mark_unknown(what.loads)


def access_arena(what: Access) -> None:
    """A load or store anywhere in an arena: where it has no page, loads give 0."""
    if what.loads is not None:
        mark_unknown(what.loads)
