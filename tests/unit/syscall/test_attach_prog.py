"""Programs that attach to programs of a Machine, through bpf(2)."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from anybpf import uapi as u
from anybpf.isa.asm import parse
from kernel.calls import Calls
from verifier.c_types import CTypes

TARGET = "call sub\nexit\nsub:\nr0 = 2\nexit"
TYPES = "int main(struct xdp_md *ctx);\nint sub(struct xdp_md *ctx);\nstatic int other();"


def fields(calls: Calls, types: CTypes, text: str, kind: int, **more: Any) -> dict[str, Any]:
    """What PROG_LOAD takes for a program whose functions have the names of its labels."""
    insns, labels = parse(text, {})
    names = types.functions()
    records = [(labels.get(name, 0), types.ids[name]) for name in names
               if name in labels or name == names[0]]
    return {"prog_btf_fd": calls.btf(types.blob), "func_info_rec_size": 8,
            "func_info": b"".join(struct.pack("<2I", *record) for record in records),
            "func_info_cnt": len(records), **calls.prog_fields(insns), **more,
            "prog_type": kind}


@pytest.fixture
def target(calls: Calls) -> tuple[int, CTypes]:
    types = CTypes(TYPES)
    made = fields(calls, types, TARGET, u.BPF_PROG_TYPE_XDP)
    return calls.must(u.BPF_PROG_LOAD, **made), types


def attach(calls: Calls, target: tuple[int, CTypes], function: str, text: str, declared: str,
           kind: int = u.BPF_PROG_TYPE_EXT, **more: Any) -> int | str:
    fd, types = target
    made = fields(calls, CTypes(declared), text, kind, attach_prog_fd=fd,
                  attach_btf_id=types.ids[function], **more)
    return calls.open(u.BPF_PROG_LOAD, **made)


REPLACEMENT = ("r0 = *(u32 *)(r1 + 0)\nr0 = 1\nexit", "int f(struct xdp_md *ctx);")


def test_an_extension_has_its_targets_context(calls: Calls, target: tuple[int, CTypes]) -> None:
    assert attach(calls, target, "sub", *REPLACEMENT) == "fd"
    assert attach(calls, target, "main", *REPLACEMENT) == "fd"


@pytest.mark.parametrize(("function", "declared"), [
    ("sub", "int f(struct __sk_buff *ctx);"), ("sub", "void f(struct xdp_md *ctx);"),
    ("other", "int f();")])
def test_signatures_must_match(calls: Calls, target: tuple[int, CTypes], function: str,
                               declared: str) -> None:
    assert attach(calls, target, function, "r0 = 1\nexit", declared) == "EINVAL"


def test_nothing_extends_an_extension(calls: Calls, target: tuple[int, CTypes]) -> None:
    assert attach(calls, target, "sub", *REPLACEMENT) == "fd"
    types = CTypes(REPLACEMENT[1])
    assert attach(calls, (calls.fds[-1], types), "f", *REPLACEMENT) == "EINVAL"


def test_tracing_needs_the_kernels_types_for_the_context(calls: Calls,
                                                         target: tuple[int, CTypes]) -> None:
    kind = {"kind": u.BPF_PROG_TYPE_TRACING, "expected_attach_type": u.BPF_TRACE_FENTRY}
    declared = "int f(u64 *ctx);"
    assert attach(calls, target, "sub", "r0 = 0\nexit", declared, **kind) == "fd"
    assert attach(calls, target, "sub", "r0 = 1\nexit", declared, **kind) == "EINVAL"
    load = "r0 = *(u64 *)(r1 + 0)\nr0 = 0\nexit"
    assert attach(calls, target, "sub", load, declared, **kind) == "EACCES"


def test_the_target_stays(calls: Calls, target: tuple[int, CTypes]) -> None:
    assert attach(calls, target, "sub", *REPLACEMENT) == "fd"
    number = calls.fds[-1]
    calls.backend.close(target[0])
    assert calls.call(u.BPF_PROG_GET_NEXT_ID) == 0
    first = calls.out("next_id")
    assert calls.call(u.BPF_PROG_GET_NEXT_ID, start_id=first) == 0
    calls.backend.close(number)
    assert calls.call(u.BPF_PROG_GET_NEXT_ID) == "ENOENT"
