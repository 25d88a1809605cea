"""CO-RE records given to a Machine with types of its own (beside the kernel: tests/kernel)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import bpf
from anybpf.machine import Machine

MOVE = Insn(uapi.BPF_ALU64 | uapi.BPF_MOV, 0)
EXIT = Insn(uapi.BPF_JMP | uapi.BPF_EXIT)
INT = t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED)


def types(*members: str) -> tuple[Btf, int, dict[str, int]]:
    """BTF with a struct `s` of ints (id 2), a function, and offsets of access strings."""
    made = BtfBuilder()
    made.add(INT)
    made.add(t.Struct("s", 4 * len(members), tuple(
        t.Member(name, 1, 32 * i) for i, name in enumerate(members))))
    proto = made.add(t.FuncProto(1, (t.Param("ctx", made.add(t.Ptr(0))),)))
    func = made.add(t.Func("f", proto, uapi.BTF_FUNC_GLOBAL))
    texts = {x: made.string(x) for x in ("0:0", "0:1")}
    return made.build(), func, texts


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(btf=types("first", "b", "a")[0]) as made:
        yield made


def load(machine: Machine, *records: tuple[int, int, int, int]) -> bpf.ProgLoad:
    btf, func, _ = types("a", "gone")
    fd = bpf.btf_load(machine, btf.to_bytes())
    try:
        return bpf.prog_load(machine, bpf.ProgAttr(
            uapi.BPF_PROG_TYPE_SOCKET_FILTER, isa.encode([MOVE, EXIT]), "GPL", btf_fd=fd,
            func_info=struct.pack("=2I", 0, func),
            core_relos=b"".join(struct.pack("=4I", *r) for r in records)),
            log_level=2, log_size=4096)
    finally:
        machine.close(fd)


TEXTS = types("a", "gone")[2]


def test_the_program_runs_relocated(machine: Machine) -> None:
    made = load(machine, (0, 2, TEXTS["0:0"], rs.FIELD_BYTE_OFFSET))
    assert "patched insn #0 (ALU/ALU64) imm 0 -> 8" in made.log
    assert bpf.prog_test_run(machine, made.fd, data=bytes(64)).retval == 8


def test_a_field_that_is_gone(machine: Machine) -> None:
    with pytest.raises(BpfError, match="unexpected insn #0"):
        load(machine, (0, 2, TEXTS["0:1"], rs.FIELD_EXISTS))


@pytest.mark.parametrize(("record", "text"), [
    ((4, 2, TEXTS["0:0"], 0), "Invalid core_relo[0].insn_off:4 prog->len:2"),
    ((0, 50, TEXTS["0:0"], 0), "relo #0: bad type id 50"),
    ((0, 0, TEXTS["0:0"], 0), "target candidate search failed for 0"),
    ((0, 2, 5000, 0), "parsing [2] STRUCT s + <?> failed: -22"),
    ((0, 2, TEXTS["0:0"], 77), "+ 0:0 failed: -22"),
    ((8, 2, TEXTS["0:0"], 0), "trying to relocate unrecognized insn #1"),
])
def test_what_is_refused(record: tuple[int, int, int, int], text: str, machine: Machine) -> None:
    with pytest.raises(BpfError) as refused:
        load(machine, record)
    assert refused.value.errno == errno.EINVAL
    assert text in getattr(refused.value, "log", "")
