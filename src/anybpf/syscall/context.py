"""Context tables of program types: rows and native layouts joined (net/core/filter.c)."""

from __future__ import annotations

from functools import cache

from anybpf.core.context import NARROW, NARROW_WRITE, POINTER, READ, WRITE, ContextTable
from anybpf.net import filter, xdp
from anybpf.proto import contexts
from anybpf.proto.contexts import Field, View

_LAYOUT: dict[str, tuple[int, int]] = {**filter.LAYOUT, **xdp.LAYOUT}
Rule = tuple[int, int, int, int, int]


def _flags(view: View, field: Field, attach_type: int) -> int:
    """What the engine may do with the field."""
    flags = POINTER if field.kind != contexts.SCALAR else 0
    if view.sees(field.name, attach_type):
        flags |= READ | (NARROW if field.narrow else 0)
    if view.writes(field.name, attach_type):
        flags |= WRITE | (NARROW_WRITE if field.stores != (field.unit,) else 0)
    return flags


def _rules(view: View, field: Field, attach_type: int) -> list[Rule]:
    """One rule for every element of the field; what has no home in the native struct reads as 0."""
    source, held = _LAYOUT.get(field.source, (0, 0))
    flags = _flags(view, field, attach_type)
    if flags & POINTER:
        return [(field.offset, field.size, source, held, flags)]
    rules = []
    for at in range(0, field.size, field.unit):
        size = min(field.unit, field.size - at)
        rules.append((field.offset + at, size, source + at, max(min(size, held - at), 0), flags))
    return rules


@cache
def table(prog_type: int, attach_type: int) -> ContextTable | None:
    """The table of a program type whose context is converted; None: plain memory."""
    view = contexts.VIEWS.get(prog_type)
    if view is None or view.context not in ("__sk_buff", "xdp_md"):
        return None
    context = contexts.CONTEXTS[view.context]
    fields = (f for f in context.fields if view.sees(f.name, attach_type))
    rules = [rule for field in fields for rule in _rules(view, field, attach_type)]
    return ContextTable(context.size, rules)
