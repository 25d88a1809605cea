"""proto.maps against the running kernel: what MAP_CREATE accepts, which helpers take which map."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.errors import ENOTSUPP
from anybpf.proto import access, helpers, kinds, maps
from anybpf.proto.maps import Map
from kernel.verdicts import (
    EXIT,
    LINUX,
    Case,
    bpf,
    call,
    cases,
    copy,
    create_map,
    load,
    map_fd,
    mov,
    packed,
    refusal,
    slot,
    stack,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: made only of a struct of the kernel's, by its BTF id
WITHOUT_TARGET = {"struct_ops"}
KEYS = (0, 1, 4, 5, 8, 12, 16, 260, 261, 512, 513, 4194251, 4194252, 1 << 23)
VALUES = (0, 1, 4, 5, 7, 8, 12, 16, 32, 1016, 1024, 32768, 32769, 65407, 65408, 4194024, 4194025,
          4194251, 4194252, 4194304, 4194305)
ENTRIES = (0, 1, 3, 4095, 4096, 8192, 12288)
#: where more entries take no memory at once
MANY = {"arena": (1 << 20, (1 << 20) + 1), "ringbuf": (1 << 20,), "cpumap": (1 << 20,)}
EXTRAS = (1, 15, 16, 4096, 4097)
MAPS = [pytest.param(m, id=m.name) for m in maps.MAPS if m.name not in WITHOUT_TARGET]


def number(size: maps.Size, wish: int) -> int:
    """A number that the rule allows, `wish` if it does."""
    return next(n for n in (wish, 4, 8, 64, 4096, 0) if size.check(n) == 0)


def right(row: Map) -> tuple[int, int, int, int, int]:
    """Key size, value size, entries, flags and extra of a map that can be made."""
    value = 4 if row.btf == "required" else 8
    return number(row.key, 4), number(row.value, value), number(row.entries, 4), row.required, 0


@pytest.fixture(scope="module")
def integer() -> Iterator[int]:
    """BTF with a signed 32-bit int as type 1."""
    types = packed((1, 4), (1 << 24, 4), (4, 4), (1 << 24 | 32, 4))
    names = b"\0int\0"
    head = packed((0xEB9F, 2), (1, 1), (0, 1), (24, 4), (0, 4), (len(types), 4), (len(types), 4),
                  (len(names), 4))
    blob = ctypes.create_string_buffer(bytes(head + types) + names, len(head + types) + len(names))
    fd = bpf(uapi.BPF_BTF_LOAD, packed((ctypes.addressof(blob), 8), (0, 8), (len(blob), 4),
                                       (0, 4), (0, 4), (0, 4)))
    yield fd
    LINUX.close(fd)


@pytest.fixture(scope="module")
def inner() -> Iterator[int]:
    """A map for maps of maps."""
    fd = create_map(uapi.BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    yield fd
    LINUX.close(fd)


def create(row: Map, attr: tuple[int, int, int, int, int], integer: int, inner: int) -> int:
    """A descriptor, or minus the error number."""
    key, value, entries, flags, extra = attr
    return create_map(row.type, key, value, entries, flags, extra=extra,
                      inner=inner if row.holds == "map" else 0,
                      btf=integer if row.btf == "required" else 0)


def variations(row: Map) -> Iterator[tuple[int, int, int, int, int]]:
    """One thing changed at a time."""
    key, value, entries, flags, extra = right(row)
    yield from ((k, value, entries, flags, extra) for k in KEYS)
    # a value must be as large as its BTF type says, so it cannot be varied there
    yield from ((key, v, entries, flags, extra) for v in VALUES if row.btf != "required")
    yield from ((key, value, n, flags, extra) for n in (
        *(ENTRIES[:3] if row.name == "cpumap" else ENTRIES), *MANY.get(row.name, ())))
    yield from ((key, value, entries, flags | 1 << bit, extra) for bit in range(20))
    yield from ((key, value, entries, flags | both, extra) for both in maps.CONFLICTS)
    yield key, value, entries, 0, extra
    yield from ((key, value, entries, flags, x) for x in EXTRAS)


@pytest.mark.parametrize("row", MAPS)
def test_the_same_attributes_are_accepted(row: Map, integer: int, inner: int) -> None:
    for attr in variations(row):
        found = create(row, attr, integer, inner)
        if found >= 0:
            LINUX.close(found)
        # whether there is so much memory is no question of rules
        kernel = 0 if found >= 0 or found == -errno.ENOMEM else -found
        assert row.check(*attr) == kernel, attr


@pytest.mark.parametrize("row", MAPS)
def test_btf_of_the_value_is_refused_by_the_same_types(row: Map, integer: int) -> None:
    if row.btf == "required" or row.holds == "map" or row.value.step > 4:
        pytest.skip("needs more than a number")
    key, value, entries, flags, extra = right(row)
    found = create_map(row.type, key, number(row.value, 4) if value else 0, entries, flags,
                       extra=extra, btf=integer)
    if found >= 0:
        LINUX.close(found)
    assert (found == -ENOTSUPP) == (row.btf == "refused")


# which helper goes with which map

#: another argument did not fit this map, so the verifier came no further
NO_FURTHER = ("R", "invalid map_ptr", "invalid zero-sized", "invalid arg_type", "Unreleased",
              "write into map forbidden")
SCHED = next(c for c in cases() if c.prog.name == "sched_cls")
TAKERS = [h for h in helpers.HELPERS if any(a.kind == kinds.ARG_CONST_MAP_PTR for a in h.args)
          and not {kinds.base(a.kind) for a in h.args}
          & {kinds.ARG_PTR_TO_TIMER, kinds.ARG_PTR_TO_FUNC}]


def arguments(helper: helpers.Helper, fd: int) -> bytes:
    """Code that fills in the arguments; pointers to BTF types get the current task."""
    code = {
        kinds.ARG_ANYTHING: lambda r: mov(r, 0), kinds.ARG_PTR_TO_CTX: lambda r: copy(r, 6),
        kinds.ARG_CONST_MAP_PTR: lambda r: map_fd(r, fd),
        kinds.ARG_PTR_TO_MAP_KEY: stack, kinds.ARG_PTR_TO_MAP_VALUE: stack,
        kinds.ARG_PTR_TO_MEM: stack, kinds.ARG_CONST_SIZE: lambda r: mov(r, 8),
        kinds.ARG_CONST_SIZE_OR_ZERO: lambda r: mov(r, 8),
        kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO: lambda r: mov(r, 8),
        kinds.ARG_PTR_TO_BTF_ID: lambda r: copy(r, 8),
        kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON: lambda r: copy(r, 7),
        kinds.ARG_PTR_TO_DYNPTR: stack,
    }
    return b"".join(code[kinds.base(a.kind)](i + 1) for i, a in enumerate(helper.args))


def caller(helper: helpers.Helper) -> Case:
    """A program type that may call the helper, sched_cls if it may."""
    able = [c for c in cases() if c.prog.name != "lirc_mode2"
            and access.grant(helper.id, c.prog.type, c.attach)]
    return min(able, key=lambda c: c != SCHED)


# an arena must lie in the memory of its user before any program may name it
@pytest.mark.parametrize("row", [p for p in MAPS if p.id != "arena"])
def test_the_same_helpers_take_the_map(row: Map, integer: int, inner: int) -> None:
    fd = create(row, right(row), integer, inner)
    sk = 168
    start = copy(6, 1) + b"".join(slot(0x7A, 10, off=-8 * i) for i in range(1, 10)) \
        + call(158) + copy(8, 0)
    socket = slot(0x79, 7, 6, sk) + slot(0x55, 7, off=2) + EXIT
    asked = 0
    for helper in TAKERS:
        if helper.name in ("inode_storage_get", "inode_storage_delete", "cgrp_storage_get",
                           "cgrp_storage_delete", "skb_output", "xdp_output"):
            continue  # need objects that no program here can get
        case = caller(helper)
        needs_socket = any(a.btf == "sock_common" for a in helper.args)
        said = load(case, start + (socket if needs_socket else b"")
                    + arguments(helper, fd) + call(helper.id) + EXIT).message
        mine = maps.compatible(row.type, helper.name, case.prog.type)
        refused = f"cannot pass map_type {row.type} into func" in said
        if said.startswith(NO_FURTHER) and not refused:
            continue
        asked += 1
        if helper.name == "tail_call":
            refused |= "expected prog array map for tail call" in said
        assert refused == (not mine), (helper.name, said)
    LINUX.close(fd)
    assert asked > 5


