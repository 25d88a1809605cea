"""What programs do to maps, in the running kernel and by our native operations: same results.

Each kernel program does one operation with the key and value that stand in its packet, and returns
what the helper said (lookup: whether there was a value).
"""

from __future__ import annotations

import ctypes
import random
from typing import Any

import pytest

from anybpf import maps, uapi
from anybpf.isa import build as b
from anybpf.isa.insn import encode
from anybpf.maps import Map, MapAttr, type_name
from anybpf.maps.exercise import exercise
from kernel.kernel_maps import KernelMap, address, possible_cpus
from kernel.verdicts import LINUX, packed

# LRU and per-CPU maps have parts per CPU
pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("one_cpu")]

HELPERS = {"lookup": 1, "update": 2, "delete": 3, "push": 87, "pop": 88, "peek": 89}
LOAD_BYTES = 26
KEY_AT, VALUE_AT = 14, 64
KEY, VALUE = -64, -128      # on the stack
R0, R1, R2, R3, R4, R6, R10 = 0, 1, 2, 3, 4, 6, 10
ZERO_SEED = uapi.BPF_F_ZERO_SEED
TRIE = uapi.BPF_MAP_TYPE_LPM_TRIE


def copy(source: int, size: int, to: int) -> list[Any]:
    """Packet bytes to the stack."""
    if not size:
        return []
    return b.program(b.mov64_reg(R1, R6), b.mov64_imm(R2, source), b.mov64_reg(R3, R10),
                     b.alu64_imm(uapi.BPF_ADD, R3, to), b.mov64_imm(R4, size),
                     b.emit_call(LOAD_BYTES))


def stack(reg: int, at: int) -> list[Any]:
    return b.program(b.mov64_reg(reg, R10), b.alu64_imm(uapi.BPF_ADD, reg, at))


def arguments(operation: str, flags: int) -> list[Any]:
    """r2 and on for the helper."""
    if operation in ("lookup", "delete"):
        return stack(R2, KEY)
    if operation == "update":
        return b.program(stack(R2, KEY), stack(R3, VALUE), b.mov64_imm(R4, flags))
    return b.program(stack(R2, VALUE), b.mov64_imm(R3, flags))


class Program:
    """One operation on one kernel map."""

    def __init__(self, m: KernelMap, operation: str, flags: int) -> None:
        attr = m.attr
        insns = b.program(
            b.mov64_reg(R6, R1), copy(KEY_AT, attr.key_size, KEY),
            copy(VALUE_AT, attr.value_size, VALUE), b.ld_map_fd(R1, m.fd),
            arguments(operation, flags), b.emit_call(HELPERS[operation]),
            b.program(b.jmp_imm(uapi.BPF_JEQ, R0, 0, 1), b.mov64_imm(R0, 1))
            if operation == "lookup" else [], b.exit_insn())
        code, licence = bytearray(encode(insns)), bytearray(b"GPL\0")
        self.fd = LINUX.bpf(uapi.BPF_PROG_LOAD, packed(
            (uapi.BPF_PROG_TYPE_SCHED_CLS, 4), (len(code) // 8, 4), (address(code), 8),
            (address(licence), 8)))

    def run(self, key: bytes, value: bytes) -> int:
        packet = bytearray(128)
        packet[KEY_AT:KEY_AT + len(key)] = key
        packet[VALUE_AT:VALUE_AT + len(value)] = value
        attr = packed((self.fd, 4), (0, 4), (len(packet), 4), (0, 4), (address(packet), 8), (0, 8),
                    (1, 4), (0, 4))
        LINUX.bpf(uapi.BPF_PROG_TEST_RUN, attr)
        return ctypes.c_int32.from_buffer(attr, 4).value

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            LINUX.close(self.fd)


def ours(m: Map, operation: str, flags: int, key: bytes, value: bytes) -> int:
    """Success as the kernel program tells it: 1 found, 0 done, or not."""
    failed = exercise(m, operation, key, 1, 0, value, flags)[1]
    if operation == "lookup":
        return 0 if failed else 1
    return -1 if failed else 0


def contents(m: Any, attr: MapAttr) -> list[Any]:
    found: list[Any] = []
    try:
        while True:
            key = m.next_key(found[-1][0] if found else None)
            found.append((key, m.lookup(key)))
    except OSError as error:
        found.append(error.errno)
    return found


CASES = [
    (uapi.BPF_MAP_TYPE_ARRAY, 0), (uapi.BPF_MAP_TYPE_PERCPU_ARRAY, 0),
    (uapi.BPF_MAP_TYPE_HASH, ZERO_SEED), (uapi.BPF_MAP_TYPE_HASH, ZERO_SEED | 1),
    (uapi.BPF_MAP_TYPE_PERCPU_HASH, ZERO_SEED), (uapi.BPF_MAP_TYPE_LRU_HASH, ZERO_SEED),
    (uapi.BPF_MAP_TYPE_LRU_HASH, ZERO_SEED | uapi.BPF_F_NO_COMMON_LRU),
    (uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH, ZERO_SEED),
    (uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH, ZERO_SEED | uapi.BPF_F_NO_COMMON_LRU),
    (TRIE, uapi.BPF_F_NO_PREALLOC),
]


@pytest.mark.parametrize("entries", [1, 4, 13, 300])
@pytest.mark.parametrize(("map_type", "flags"), CASES,
                         ids=[f"{type_name(t)}-{f:#x}" for t, f in CASES])
def test_elements(map_type: int, flags: int, entries: int) -> None:
    """Random lookups, updates and deletes by programs, with lookups by user space between."""
    rng = random.Random(entries * 64 + map_type)
    key_size = 4 if map_type in (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY) else 8
    attr = MapAttr(map_type, key_size, 12, entries, flags)
    kernel, mine = KernelMap(attr), maps.create(attr, possible_cpus())
    programs = {(op, f): Program(kernel, op, f) for op, f in (
        ("lookup", 0), ("update", 0), ("update", 1), ("update", 2), ("update", 3), ("delete", 0))}
    choices = [*programs, *[("lookup", 0)] * 3, *[("update", 0)] * 4]
    for step in range(500):
        op, op_flags = rng.choice(choices)
        number = rng.randrange(entries * 2)
        key = number.to_bytes(key_size, "little")
        if map_type == TRIE:
            key = (number % 33).to_bytes(4, "little") + rng.choice([b"\0\1\2\3", b"\x80\0\0\1"])
        value = rng.randbytes(12)
        result = programs[op, op_flags].run(key, value)
        assert ours(mine, op, op_flags, key, value) == (-1 if result < 0 else result), (step, op)
        if step % 20 == 0:
            assert contents(mine, attr) == contents(kernel, attr), (step, op, op_flags)
    assert contents(mine, attr) == contents(kernel, attr)


@pytest.mark.parametrize("map_type", [uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK],
                         ids=type_name)
def test_queues(map_type: int) -> None:
    rng = random.Random(map_type)
    attr = MapAttr(map_type, 0, 8, 4)
    kernel, mine = KernelMap(attr), maps.create(attr, possible_cpus())
    programs = {(op, f): Program(kernel, op, f)
                for op, f in (("push", 0), ("push", 2), ("push", 1), ("pop", 0), ("peek", 0))}
    for step in range(300):
        op, flags = rng.choice([*programs, ("push", 0)])
        value = rng.randbytes(8)
        result = programs[op, flags].run(b"", value)
        assert ours(mine, op, flags, b"", value) == (-1 if result < 0 else result), (step, op)
    left = []
    for m in (kernel, mine):
        values = []
        while True:
            try:
                values.append(m.lookup_and_delete())
            except OSError:
                break
        left.append(values)
    assert left[0] == left[1]
