"""Context tables over the native structs."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.net.context import LAYOUT, PLAIN, context_table
from anybpf.proto import contexts


@pytest.mark.parametrize("prog_type", sorted(PLAIN))
def test_plain_contexts_have_no_table(prog_type: int) -> None:
    assert context_table(prog_type) is None


@pytest.mark.parametrize(("prog_type", "size"), [
    (uapi.BPF_PROG_TYPE_XDP, 24), (uapi.BPF_PROG_TYPE_SCHED_CLS, 192),
    (uapi.BPF_PROG_TYPE_LIRC_MODE2, 4)])
def test_the_size_is_that_of_the_context(prog_type: int, size: int) -> None:
    table = context_table(prog_type)
    assert table is not None
    assert table.size == size


@pytest.mark.parametrize("context", ["xdp_md", "__sk_buff"])
def test_every_row_has_its_place(context: str) -> None:
    for field in contexts.CONTEXTS[context].fields:
        assert field.source in LAYOUT, field
        assert field.kind != contexts.SCALAR or LAYOUT[field.source][1] in (2, field.size), field
