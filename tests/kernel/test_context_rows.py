"""proto.contexts against the running kernel: every offset, every size, loads and stores."""

from __future__ import annotations

import re

import pytest

from anybpf.proto import contexts, kinds
from anybpf.proto.contexts import View
from kernel.verdicts import (
    EXIT,
    LDX,
    STX,
    Case,
    call,
    cases,
    copy,
    each_case,
    lacking,
    load,
    mov,
    need_type,
    refusal,
    slot,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: contexts that go on and on: so many bytes of them are looked at
LIMITS = {"tracepoint": 64, "syscall": 64}

KINDS = {
    kinds.SCALAR_VALUE: "scalar", kinds.PTR_TO_PACKET: "pkt", kinds.PTR_TO_PACKET_END: "pkt_end",
    kinds.PTR_TO_PACKET_META: "pkt_meta", kinds.PTR_TO_FLOW_KEYS: "flow_keys",
    kinds.PTR_TO_SOCKET: "sock", kinds.PTR_TO_SOCKET | kinds.PTR_MAYBE_NULL: "sock_or_null",
    kinds.PTR_TO_SOCK_COMMON | kinds.PTR_MAYBE_NULL: "sock_common_or_null",
    kinds.PTR_TO_TP_BUFFER: "tp_buffer",
    kinds.PTR_TO_BTF_ID | kinds.PTR_TRUSTED: "trusted_ptr_",
}


def accesses(view: View) -> list[tuple[int, int]]:
    """(offset, size) of everything that may be tried, and a little beyond the end."""
    size = contexts.CONTEXTS[view.context].size
    end = LIMITS.get(view.context, size + 9)
    return [(off, size) for off in range(end) for size in (1, 2, 4, 8)]


def ours(field: contexts.Field | None) -> str | None:
    """What the verifier would print of a register loaded from the field."""
    return None if field is None else KINDS[field.kind] + field.btf


def kernels(case: Case, off: int, size: int) -> str | None:
    """The same from the kernel's log; None if the access is invalid."""
    verdict = load(case, slot(LDX[size], 0, 1, off) + EXIT, level=2)
    if "invalid bpf_context access" in verdict.log:
        return None
    found = re.search(r"; R0(?:_w)?=(\w+)", verdict.log)
    return found[1] if found else verdict.message


@each_case
def test_the_same_loads_are_allowed_and_give_the_same_kind(case: Case) -> None:
    need_type(case)
    view = contexts.VIEWS[case.prog.type]
    kernel = {at: kernels(case, *at) for at in accesses(view)}
    attach = case.attach or case.prog.default_attach
    assert kernel == {at: ours(contexts.load(view, *at, attach)) for at in kernel}


@each_case
def test_the_same_stores_are_allowed(case: Case) -> None:
    need_type(case)
    view = contexts.VIEWS[case.prog.type]
    attach = case.attach or case.prog.default_attach
    kept_away = view.store_feature in lacking()
    for off, size in accesses(view):
        verdict = load(case, mov(2, 0) + slot(STX[size], 1, 2, off) + EXIT)
        mine = contexts.store(view, off, size, attach) is not None and not kept_away
        assert mine == (verdict.errno == 0), (off, size, verdict.message)


TC = next(c for c in cases() if c.prog.name == "sched_cls")
#: r1 = ctx->sk, not NULL; then the helper that gives the pointer wanted, not NULL either
GET_SOCK = slot(LDX[8], 1, 1, 168) + slot(0x55, 1, off=2) + EXIT
#: if the helper gives one
GET_FULL = slot(0x55, 0, off=2) + EXIT + copy(1, 0)
POINTERS = {
    kinds.PTR_TO_SOCK_COMMON: GET_SOCK,
    kinds.PTR_TO_SOCKET: GET_SOCK + call(95) + GET_FULL,
    kinds.PTR_TO_TCP_SOCK: GET_SOCK + call(96) + GET_FULL,
}


@pytest.mark.parametrize("kind", POINTERS)
def test_the_same_loads_through_a_socket_are_allowed(kind: int) -> None:
    view = contexts.POINTED[kind]
    for off, size in accesses(view):
        verdict = load(TC, POINTERS[kind] + slot(LDX[size], 0, 1, off) + EXIT)
        mine = contexts.load(view, off, size) is not None
        assert mine == (verdict.errno == 0), (off, size, verdict.message)
