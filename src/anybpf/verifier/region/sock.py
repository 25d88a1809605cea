"""Sockets and flow keys (check_sock_access, check_flow_keys_access; kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf.proto import contexts, kinds
from anybpf.verifier import regtype
from anybpf.verifier.region.access import Access, negative
from anybpf.verifier.state import mark_unknown


def access(what: Access) -> None:
    """A load of a socket's field."""
    env, reg = what.env, what.reg
    if what.write:
        raise env.reject(EACCES, f"R{what.regno} cannot write into {regtype.text(reg.kind)}")
    if reg.smin < 0:
        raise env.reject(EACCES, negative(what.regno))
    if contexts.load(contexts.POINTED[reg.kind], what.off, what.size) is None or reg.vm:
        raise env.reject(EACCES, f"R{what.regno} invalid {regtype.text(reg.kind)} access "
                                 f"off={what.off} size={what.size}")
    if what.loads is not None:
        mark_unknown(what.loads)


def access_flow_keys(what: Access) -> None:
    """A load or store of any aligned bytes of the keys."""
    size = contexts.CONTEXTS[contexts.POINTED[kinds.PTR_TO_FLOW_KEYS].context].size
    if what.off < 0 or what.off + what.size > size:
        raise what.env.reject(EACCES, "invalid access to flow keys off="
                                      f"{what.off} size={what.size}")
    if what.loads is not None:
        mark_unknown(what.loads)
