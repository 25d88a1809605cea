"""The argument kinds of proto.helpers against the running kernel, one register at a time.

A register gets what its kind forbids (a scalar, the context, NULL, an empty size, read-only memory,
the packet); the verifier's complaint, or that it has none, tells the kind.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.proto import access, contexts, helpers, kinds
from anybpf.proto.helpers import Arg, Does, Helper
from kernel.verdicts import (
    EXIT,
    LDX,
    LINUX,
    Case,
    Verdict,
    bpf,
    call,
    cases,
    copy,
    create_map,
    each_case,
    load,
    loadable,
    map_fd,
    mov,
    need_type,
    packed,
    refusal,
    slot,
    stack,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

MEMORY = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"
SOCKETS = "sock_common, sock, tcp_sock, xdp_sock"

#: the register types that the verifier names where a scalar is no such argument
EXPECTED = {
    kinds.ARG_CONST_MAP_PTR: "map_ptr",
    kinds.ARG_PTR_TO_MAP_KEY: MEMORY,
    kinds.ARG_PTR_TO_MAP_VALUE: MEMORY,
    kinds.ARG_PTR_TO_MEM: MEMORY,
    kinds.ARG_PTR_TO_CTX: "ctx",
    kinds.ARG_PTR_TO_SPIN_LOCK: "map_value, ptr_",
    kinds.ARG_PTR_TO_SOCK_COMMON: SOCKETS,
    kinds.ARG_PTR_TO_SOCKET: "sock",
    kinds.ARG_PTR_TO_BTF_ID: "ptr_, trusted_ptr_, rcu_ptr_",
    kinds.ARG_PTR_TO_RINGBUF_MEM: "ringbuf_mem",
    kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON: f"{SOCKETS}, ptr_, trusted_ptr_",
    kinds.ARG_PTR_TO_PERCPU_BTF_ID: "percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_",
    kinds.ARG_PTR_TO_FUNC: "func",
    kinds.ARG_PTR_TO_STACK: "fp",
    kinds.ARG_PTR_TO_CONST_STR: "map_value",
    kinds.ARG_PTR_TO_TIMER: "map_value",
    kinds.ARG_KPTR_XCHG_DEST: "map_value, ptr_",
    kinds.ARG_PTR_TO_DYNPTR: "fp, dynptr_ptr",
}
MEMORIES = (kinds.ARG_PTR_TO_MAP_VALUE, kinds.ARG_PTR_TO_MEM)
SIZES = (kinds.ARG_CONST_SIZE, kinds.ARG_CONST_SIZE_OR_ZERO)

#: what the verifier refuses for another reason in the program types that load without a target
REFUSED_EARLIER = {"d_path", "sk_storage_get", "sk_storage_delete"}
#: where the two of sockets are traced functions' only
TRACED = "syscall"
SKB_SK = 168

#: r6 = context, r8 = current task, 64 bytes of stack written
PROLOGUE = (copy(6, 1) + b"".join(slot(0x7A, 10, off=-8 * i) for i in range(1, 9))
            + call(158) + copy(8, 0))
#: r7 = ctx->sk, not NULL
SOCKET = slot(LDX[8], 7, 6, SKB_SK) + slot(0x55, 7, off=2) + EXIT
#: r9 = 64 bytes of packet
PACKET = (slot(LDX[4], 9, 6, 76) + slot(LDX[4], 2, 6, 80) + copy(3, 9) + slot(0x07, 3, imm=64)
          + slot(0xBD, 3, 2, 2) + EXIT)
XDP_PACKET = (slot(LDX[4], 9, 6, 0) + slot(LDX[4], 2, 6, 4) + copy(3, 9) + slot(0x07, 3, imm=64)
              + slot(0xBD, 3, 2, 2) + EXIT)


@pytest.fixture(scope="module")
def array() -> Iterator[int]:
    """An array map of one 64-byte value."""
    fd = create_map(uapi.BPF_MAP_TYPE_ARRAY, 4, 64, 1)
    yield fd
    LINUX.close(fd)


@pytest.fixture(scope="module")
def read_only() -> Iterator[int]:
    """The same, frozen, and for programs to read only."""
    fd = create_map(uapi.BPF_MAP_TYPE_ARRAY, 4, 64, 1, uapi.BPF_F_RDONLY_PROG)
    bpf(uapi.BPF_MAP_FREEZE, packed((fd, 4)))
    yield fd
    LINUX.close(fd)


class Tries:
    """Calls of one helper in one program type."""

    def __init__(self, case: Case, helper: Helper, array: int, read_only: int) -> None:
        self.case = case
        self.helper = helper
        self.array = array
        self.read_only = read_only
        view = contexts.VIEWS[case.prog.type]
        self.has_sk = view.context == "__sk_buff" and "sk" in view.shows
        self.prologue = PROLOGUE + (SOCKET if self.has_sk else b"")

    def valid(self, arg: Arg, reg: int) -> bytes | None:
        """Code for an argument that is right, or None if we have none."""
        if arg.btf == "task_struct":
            return copy(reg, 8)
        if arg.btf == "sock_common" and not arg.kind & kinds.OBJ_RELEASE:
            return copy(reg, 7) if self.has_sk else None
        return {
            kinds.ARG_ANYTHING: mov(reg, 0), kinds.ARG_PTR_TO_CTX: copy(reg, 6),
            kinds.ARG_CONST_MAP_PTR: map_fd(reg, self.array),
            kinds.ARG_PTR_TO_MAP_KEY: stack(reg), kinds.ARG_PTR_TO_MAP_VALUE: stack(reg),
            kinds.ARG_PTR_TO_MEM: stack(reg), kinds.ARG_CONST_SIZE: mov(reg, 8),
            kinds.ARG_CONST_SIZE_OR_ZERO: mov(reg, 8), kinds.ARG_PTR_TO_STACK: stack(reg),
            kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO: mov(reg, 8),
            kinds.ARG_PTR_TO_CONST_STR: map_fd(reg, self.read_only, value=True),
        }.get(kinds.base(arg.kind))

    def before(self, index: int) -> bytes | None:
        """Code for the arguments before the one that is tried."""
        parts = [self.valid(arg, i + 1) for i, arg in enumerate(self.helper.args[:index])]
        return None if None in parts else b"".join(p for p in parts if p)

    def load(self, body: bytes, prologue: bytes = b"") -> Verdict:
        return load(self.case, self.prologue + prologue + body + call(self.helper.id) + EXIT)

    def reachable(self) -> Iterator[tuple[int, Arg, bytes]]:
        """(register, argument, code before it) as far as we can fill the others in."""
        for index, arg in enumerate(self.helper.args):
            before = self.before(index)
            if before is None:
                return
            yield index + 1, arg, before


def complaint(reg: int, arg: Arg) -> str | None:
    """What the verifier says of a scalar in place of `arg`."""
    names = EXPECTED.get(kinds.base(arg.kind))
    return names and f"R{reg} type=scalar expected={names}"


def usable(helper: Helper, case: Case) -> bool:
    """True if the program type may call the helper in every kernel."""
    grant = access.grant(helper.id, case.prog.type, case.attach)
    return grant is not None and not grant.config


def home(helper: Helper) -> Case | None:
    """The program type that a helper is tried in."""
    wanted = "syscall" if helper.does & Does.MIGHT_SLEEP else "sched_cls"
    able = [c for c in cases() if loadable(c.prog.type)
            and helpers.proto_for(helper.id, c.prog.type, c.attach) == helper
            and usable(helper, c)]
    return min(able, key=lambda c: c.prog.name != wanted, default=None)


HOMES = [(h, home(h)) for h in (*helpers.HELPERS, *(v.helper for v in helpers.VARIANTS))]
TRIED = [pytest.param(c, h, id=f"{h.name}-{c.prog.name}") for h, c in HOMES
         if c is not None and (h.name not in REFUSED_EARLIER
                               or (h.name != "d_path" and c.prog.name != TRACED))]


@each_case
def test_the_first_argument_is_of_that_kind(case: Case) -> None:
    need_type(case)
    for row in helpers.HELPERS:
        helper = helpers.proto_for(row.id, case.prog.type, case.attach)
        if usable(helper, case) and helper.args and not helper.does & Does.MIGHT_SLEEP \
                and helper.name not in REFUSED_EARLIER:
            said = load(case, mov(1, 1) + call(helper.id) + EXIT).message
            got = said if "R1 type=" in said else None
            assert got == complaint(1, helper.args[0]), helper.name


@pytest.mark.parametrize(("case", "helper"), TRIED)
def test_every_argument_is_of_that_kind(case: Case, helper: Helper, array: int,
                                        read_only: int) -> None:
    tries = Tries(case, helper, array, read_only)
    for reg, arg, before in tries.reachable():
        base = kinds.base(arg.kind)
        scalar = tries.load(before + mov(reg, 1)).message
        assert (scalar if f"R{reg} type=" in scalar else None) == complaint(reg, arg)
        if base in EXPECTED:
            null = tries.load(before + mov(reg, 0)).message
            refused = f"R{reg} type=scalar" in null
            assert refused != bool(arg.kind & kinds.PTR_MAYBE_NULL), (reg, null)
        if base in (*SIZES, kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO, kinds.ARG_ANYTHING):
            pointer = tries.load(before + copy(reg, 6)).message
            refused = f"R{reg} type=ctx expected=scalar" in pointer
            assert refused == (base != kinds.ARG_ANYTHING), (reg, pointer)
        if base in SIZES:
            empty = tries.load(before + mov(reg, 0)).message
            refused = f"R{reg} invalid zero-sized read" in empty
            assert refused == (base == kinds.ARG_CONST_SIZE), (reg, empty)


@pytest.mark.parametrize(("case", "helper"), TRIED)
def test_memory_is_written_only_where_the_row_says(case: Case, helper: Helper, array: int,
                                                   read_only: int) -> None:
    tries = Tries(case, helper, array, read_only)
    for reg, arg, before in tries.reachable():
        if kinds.base(arg.kind) in MEMORIES:
            rest = b"".join(mov(r, 8) for r in range(reg + 1, 6))
            said = tries.load(before + map_fd(reg, read_only, value=True) + rest).message
            assert ("write into map forbidden" in said) == bool(arg.kind & kinds.MEM_WRITE), said


@pytest.mark.parametrize(("case", "helper"), TRIED)
def test_no_argument_follows_the_last(case: Case, helper: Helper, array: int,
                                      read_only: int) -> None:
    tries = Tries(case, helper, array, read_only)
    last = len(helper.args)
    before = tries.before(last)
    if before is not None and last < 5:
        # a call makes r1 ... r5 unreadable, so what follows the arguments is not set
        assert f"R{last + 1} !read_ok" not in tries.load(call(5) + before).message


@pytest.mark.parametrize(("case", "helper"), [
    p for p in TRIED if p.values[0].prog.name in ("sched_cls", "xdp")])
def test_the_packet_is_taken_only_where_the_row_says(case: Case, helper: Helper, array: int,
                                                     read_only: int) -> None:
    tries = Tries(case, helper, array, read_only)
    packet = XDP_PACKET if case.prog.name == "xdp" else PACKET
    for reg, arg, before in tries.reachable():
        if kinds.base(arg.kind) in (*MEMORIES, kinds.ARG_PTR_TO_MAP_KEY):
            rest = b"".join(mov(r, 8) for r in range(reg + 1, 6))
            said = tries.load(before + copy(reg, 9) + rest, packet).message
            refused = "helper access to the packet is not allowed" in said
            assert refused == (not helper.pkt), (reg, said)
