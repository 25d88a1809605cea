"""Context tables: the rows of proto.contexts over our native structs (net/core/filter.c)."""

from __future__ import annotations

from functools import cache

from anybpf import uapi
from anybpf.core.context import ContextTable, compile_context
from anybpf.net import filter as net_filter
from anybpf.net import xdp
from anybpf.proto import contexts

#: where the rows' sources lie: "struct.member" -> (offset, size) in bytes
LAYOUT: dict[str, tuple[int, int]] = {
    **net_filter.LAYOUT,
    **xdp.LAYOUT,
    "lirc_mode2.sample": (0, 4),
}

#: program types whose context is plain memory: there are no rows to go through
PLAIN = frozenset({
    uapi.BPF_PROG_TYPE_SYSCALL, uapi.BPF_PROG_TYPE_RAW_TRACEPOINT,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, uapi.BPF_PROG_TYPE_KPROBE,
    uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_PERF_EVENT,
})


@cache
def context_table(prog_type: int, attach_type: int = 0) -> ContextTable | None:
    """What a program of this type may touch in its context; None: its context is plain memory.

    Fields whose source no native struct has are left out: using them is refused.
    """
    view = contexts.VIEWS.get(prog_type)
    if view is None or prog_type in PLAIN:
        return None
    return compile_context(view, LAYOUT, attach_type)
