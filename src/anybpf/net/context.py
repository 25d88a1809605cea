"""Context tables: the rows of proto.contexts over our native structs (net/core/filter.c)."""

from __future__ import annotations

from functools import lru_cache

from anybpf import uapi
from anybpf.core import context as core_context
from anybpf.net import filter as net_filter
from anybpf.net import xdp
from anybpf.proto import contexts
from anybpf.proto.kinds import SCALAR_VALUE

#: contexts that are plain memory: there are no rows to go through
PLAIN = frozenset({
    uapi.BPF_PROG_TYPE_SYSCALL, uapi.BPF_PROG_TYPE_RAW_TRACEPOINT,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, uapi.BPF_PROG_TYPE_KPROBE,
    uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_PERF_EVENT,
    uapi.BPF_PROG_TYPE_LIRC_MODE2,
})

#: where the rows' sources lie: "struct.member" -> (offset, size) in bytes
LAYOUT: dict[str, tuple[int, int]] = {**net_filter.LAYOUT, **xdp.LAYOUT}

Rule = tuple[int, int, int, int, int]


def _flags(field: contexts.Field, writable: bool) -> int:
    flags: int = core_context.READ
    if writable and field.stores:
        flags |= core_context.WRITE
        if len(field.stores) > 1:
            flags |= core_context.NARROW_WRITE
    if field.kind != SCALAR_VALUE:
        flags |= core_context.POINTER
    if field.narrow:
        flags |= core_context.NARROW
    return int(flags)


def _rules(field: contexts.Field, writable: bool) -> list[Rule]:
    """One rule for each unit of the field; wide arrays are a rule for each of their units."""
    source, size = LAYOUT[field.source]
    flags = _flags(field, writable)
    if field.size <= field.unit or field.kind != SCALAR_VALUE:
        return [(field.offset, field.size, source, size, flags)]
    return [(field.offset + at, field.size - at if field.size - at < field.unit else field.unit,
             source + at, min(field.unit, field.size - at), flags)
            for at in range(0, field.size, field.unit)]


@lru_cache(maxsize=None)
def context_table(prog_type: int, attach_type: int = 0) -> core_context.ContextTable | None:
    """What a program of this type may touch in its context; None: its context is plain memory.

    Fields whose source no native struct has are left out: using them is refused.
    """
    view = contexts.VIEWS.get(prog_type)
    if view is None or prog_type in PLAIN:
        return None
    context = contexts.CONTEXTS[view.context]
    rules = [rule for field in context.fields
             if field.source in LAYOUT and view.sees(field.name, attach_type)
             for rule in _rules(field, view.writes(field.name, attach_type))]
    return core_context.ContextTable(context.size, rules)
