"""What helpers return and do, as proto.helpers says, against the running kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.proto import kinds, maps
from anybpf.proto.helpers import Does, Helper
from kernel.test_helper_arguments import PACKET, TRIED, XDP_PACKET, Tries
from kernel.verdicts import (
    EXIT,
    LDX,
    LINUX,
    Case,
    bpf,
    call,
    create_map,
    load,
    packed,
    refusal,
    slot,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: how the verifier's log prints what a helper returned
PRINTED = {
    kinds.RET_INTEGER: "scalar",
    kinds.RET_VOID: "1",  # what the next instruction puts there
    kinds.RET_PTR_TO_MAP_VALUE: "map_value",
    kinds.RET_PTR_TO_MAP_VALUE_OR_NULL: "map_value_or_null",
    kinds.RET_PTR_TO_SOCKET_OR_NULL: "sock_or_null",
    kinds.RET_PTR_TO_TCP_SOCK_OR_NULL: "tcp_sock_or_null",
    kinds.RET_PTR_TO_SOCK_COMMON_OR_NULL: "sock_common_or_null",
    kinds.RET_PTR_TO_RINGBUF_MEM_OR_NULL: "ringbuf_mem_or_null",
    kinds.RET_PTR_TO_BTF_ID: "ptr_",
    kinds.RET_PTR_TO_BTF_ID_OR_NULL: "ptr_or_null_",
    kinds.RET_PTR_TO_BTF_ID_TRUSTED: "trusted_ptr_",
}


def make(map_type: int) -> int:
    """A map of this type with 4-byte keys and 64-byte values, or as near as it may be."""
    row = maps.BY_TYPE[map_type]

    def near(size: maps.Size, wish: int) -> int:
        return next(n for n in (wish, 8, 4, 4096, 0) if size.check(n) == 0)

    return create_map(map_type, near(row.key, 4), near(row.value, 64), near(row.entries, 1),
                      row.required)


@pytest.fixture(scope="module")
def held() -> Iterator[dict[int, int]]:
    """Map type to descriptor, made when first asked for."""
    fds: dict[int, int] = {}
    yield fds
    for fd in fds.values():
        LINUX.close(fd)


@pytest.fixture(scope="module")
def text() -> Iterator[int]:
    """A frozen, read-only map whose value is an empty string."""
    fd = create_map(uapi.BPF_MAP_TYPE_ARRAY, 4, 64, 1, uapi.BPF_F_RDONLY_PROG)
    bpf(uapi.BPF_MAP_FREEZE, packed((fd, 4)))
    yield fd
    LINUX.close(fd)


def complete(case: Case, helper: Helper, held: dict[int, int], text: int) -> tuple[Tries, bytes]:
    """Code with every argument right; skips where we cannot make one."""
    map_type = min(maps.TAKES.get(helper.name, {uapi.BPF_MAP_TYPE_ARRAY}))
    if maps.BY_TYPE[map_type].btf == "required":
        pytest.skip("takes a map with BTF")
    fd = held.setdefault(map_type, 0) or make(map_type)
    held[map_type] = fd
    tries = Tries(case, helper, fd, text)
    body = tries.before(len(helper.args))
    if body is None:
        pytest.skip("takes an argument that this test cannot make")
    return tries, body


@pytest.mark.parametrize(("case", "helper"), TRIED)
def test_the_result_is_of_that_kind(case: Case, helper: Helper, held: dict[int, int],
                                    text: int) -> None:
    tries, body = complete(case, helper, held, text)
    code = tries.prologue + body + call(helper.id) + EXIT
    log = load(case, code, level=2).log
    # the state may follow on the same line or, after remarks on precision, on the next
    found = re.search(rf"^\d+: \(85\) call bpf_{helper.name}#\d+.*?R0(?:_w)?=(\w+)", log,
                      re.MULTILINE | re.DOTALL)
    if not found:
        pytest.skip(f"refused: {load(case, code).message}")
    assert found[1] == PRINTED[helper.ret] + helper.ret_btf
    released = "Unreleased reference" in log
    assert released == bool(helper.does & Does.ACQUIRES)


@pytest.mark.parametrize(("case", "helper"), [
    p for p in TRIED if p.values[0].prog.name in ("sched_cls", "xdp")])
def test_the_packet_is_lost_only_where_the_row_says(case: Case, helper: Helper,
                                                    held: dict[int, int], text: int) -> None:
    tries, body = complete(case, helper, held, text)
    packet = XDP_PACKET if case.prog.name == "xdp" else PACKET
    code = tries.prologue + packet + body + call(helper.id)
    if "Unreleased" not in (before := load(case, code + EXIT).message) and before:
        pytest.skip(f"refused: {before}")
    after = load(case, code + slot(LDX[1], 0, 9) + EXIT).message
    lost = "R9 invalid mem access 'scalar'" in after
    assert lost == bool(helper.does & Does.CHANGES_PACKET), after
