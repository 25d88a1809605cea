"""CO-RE records in BPF_PROG_LOAD: the Machine beside the running kernel, log and errno."""

from __future__ import annotations

import errno
import random
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from anybpf import uapi
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.kernel import load_vmlinux
from anybpf.errors import BpfError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import bpf
from anybpf.linux import Linux
from anybpf.machine import Machine
from conftest import linux_backend
from kernel.test_core_relo_kernel import Object

pytestmark = pytest.mark.kernel

ROUNDS = 150
ABOUT_CORE = re.compile(r"prog '': rel|relo #|CO-RE rel|target cand|Invalid core_relo|nonzero tail")
EXIT = Insn(uapi.BPF_JMP | uapi.BPF_EXIT)
MOVE = Insn(uapi.BPF_ALU64 | uapi.BPF_MOV, 0)


class Outcome(NamedTuple):
    errno: int
    lines: list[str]
    prog: int = 0


@pytest.fixture(scope="module")
def kernels() -> Iterator[tuple[Linux, Machine]]:
    linux = linux_backend()
    with Machine(btf=load_vmlinux()) as machine:
        yield linux, machine


def load(backend: Any, blob: bytes, function: int, insns: list[Insn], records: bytes,
         size: int = 16, level: int = 2) -> Outcome:
    """What becomes of a program of one function; errno -1 if not even the BTF is taken."""
    try:
        fd = bpf.btf_load(backend, blob)
    except BpfError:
        return Outcome(-1, [])
    prog = bpf.ProgAttr(
        uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, isa.encode(insns, "little"), "GPL", "", btf_fd=fd,
        func_info=struct.pack("=2I", 0, function), func_info_rec_size=8, core_relos=records,
        core_relo_rec_size=size)
    try:
        made = bpf.prog_load(backend, prog, log_level=level, log_size=1 << 18)
        number, log, prog_fd = 0, made.log, made.fd
    except BpfError as e:
        number, log, prog_fd = e.errno or 0, getattr(e, "log", ""), 0
    finally:
        backend.close(fd)
    return Outcome(number, [x for x in log.splitlines() if ABOUT_CORE.match(x)], prog_fd)


def test_records_by_chance(kernels: tuple[Linux, Machine]) -> None:
    """The kernel may refuse what a relocated program does; then the Machine did not judge it."""
    chance, linux, machine = random.Random(11), *kernels
    kernel, told = load_vmlinux(), 0
    for _ in range(ROUNDS):
        made = Object(chance, kernel)
        given = (made.btf.to_bytes(), made.function, made.insns, struct.pack("=4I", *made.relo))
        theirs, ours = load(linux, *given), load(machine, *given)
        assert ours.lines == theirs.lines
        assert ours.errno in (0, theirs.errno)
        told += bool(theirs.lines)
        for backend, one in ((linux, theirs), (machine, ours)):
            if one.prog:
                backend.close(one.prog)
    assert told > ROUNDS // 2


class Small:
    """An object that knows a little of task_struct, and one enum with a name of its own."""

    def __init__(self) -> None:
        made = BtfBuilder()
        number = made.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
        array = made.add(t.Array(number, number, 4))
        self.task = made.add(t.Struct("task_struct", 32, (
            t.Member("pid", number, 0), t.Member("tgid", number, 32),
            t.Member("no_such_member", number, 64), t.Member("comm", array, 128))))
        self.nameless = made.add(t.Struct("", 4, (t.Member("x", number, 0),)))
        self.enum = made.add(t.Enum64("hrtimer_mode", 8, (
            t.EnumValue("HRTIMER_MODE_REL", 5),)))
        self.small_enum = made.add(t.Enum("pid_type", 4, (t.EnumValue("PIDTYPE_TGID", 5),)))
        self.pointer = made.add(t.Ptr(self.task))
        proto = made.add(t.FuncProto(number, (t.Param("ctx", made.add(t.Ptr(0))),)))
        inner = made.add(t.FuncProto(0, (t.Param("a", number),)))
        for _ in range(4):
            inner = made.add(t.FuncProto(0, (t.Param("a", made.add(t.Ptr(inner))),)))
        self.deep = made.add(t.Typedef("bpf_func_t", inner))
        self.function = made.add(t.Func("f", proto, uapi.BTF_FUNC_GLOBAL))
        self.text = {x: made.string(x) for x in ("0", "0:0", "0:1", "0:2", "0:3", "0:3:2", "0:3:9",
                                                 "0:9", "0:0:1", "x", "1:1", "0:", "")}
        self.btf = made.build()


S = Small()
FIELD, EXISTS, SIZE = rs.FIELD_BYTE_OFFSET, rs.FIELD_EXISTS, rs.FIELD_BYTE_SIZE
#: name -> records (instruction's byte, type, access string, kind)
CASES: dict[str, list[tuple[int, int, str, int]]] = {
    "a field": [(0, S.task, "0:1", FIELD)],
    "two": [(0, S.task, "0:1", EXISTS), (8, S.task, "0:0", EXISTS)],
    "the same instruction twice": [(0, S.task, "0:1", FIELD), (0, S.task, "0:1", FIELD)],
    "missing field": [(0, S.task, "0:2", FIELD)],
    "missing field exists": [(0, S.task, "0:2", EXISTS)],
    "other kind of field": [(0, S.task, "0:3", FIELD)],
    "an element": [(0, S.task, "0:3:2", FIELD)],
    "an element's sign": [(0, S.task, "0:3:2", rs.FIELD_SIGNED)],
    "a root's sign": [(0, S.task, "0", rs.FIELD_SIGNED)],
    "beyond an array": [(0, S.task, "0:3:9", FIELD)],
    "beyond a struct": [(0, S.task, "0:9", FIELD)],
    "into an integer": [(0, S.task, "0:0:1", FIELD)],
    "no path": [(0, S.task, "x", FIELD)],
    "empty path": [(0, S.task, "", FIELD)],
    "half a path": [(0, S.task, "0:", FIELD)],
    "second root": [(0, S.task, "1:1", FIELD)],
    "unknown kind": [(0, S.task, "0", 13)],
    "type exists": [(0, S.task, "0", rs.TYPE_EXISTS)],
    "type size": [(0, S.task, "0", rs.TYPE_SIZE)],
    "type id here": [(0, S.task, "0", rs.TYPE_ID_LOCAL)],
    "void's id here": [(0, 0, "0", rs.TYPE_ID_LOCAL)],
    "type id there": [(0, S.task, "0", rs.TYPE_ID_TARGET)],
    "type matches": [(0, S.task, "0", rs.TYPE_MATCHES)],
    "type with a path": [(0, S.task, "0:1", rs.TYPE_EXISTS)],
    "nameless": [(0, S.nameless, "0:0", FIELD)],
    "nameless id here": [(0, S.nameless, "0", rs.TYPE_ID_LOCAL)],
    "void": [(0, 0, "0", rs.TYPE_EXISTS)],
    "a pointer": [(0, S.pointer, "0", rs.TYPE_EXISTS)],
    "functions": [(0, S.deep, "0", rs.TYPE_EXISTS)],
    "no such type": [(0, 99, "0", rs.TYPE_EXISTS)],
    "enumerator": [(0, S.small_enum, "0", rs.ENUMVAL_VALUE)],
    "enumerator of a large enum": [(0, S.enum, "0", rs.ENUMVAL_VALUE)],
    "beyond an enum": [(0, S.enum, "0:9", rs.ENUMVAL_EXISTS)],
    "off an instruction": [(4, S.task, "0:1", FIELD)],
    "behind the program": [(24, S.task, "0:1", FIELD)],
    "an exit": [(16, S.task, "0:1", FIELD)],
    "good then bad": [(0, S.task, "0:1", FIELD), (17, S.task, "0:1", FIELD)],
}
#: what an instruction holds before
HELD = {"a field": 4, "the same instruction twice": 4, "an element": 24, "second root": 36,
        "missing field": 8, "two": 1, "missing field exists": 1, "type exists": 1,
        "type matches": 1, "type size": 32, "functions": 1, "enumerator": 5,
        "other kind of field": 16,
        "enumerator of a large enum": 5, "void's id here": 0, "type id here": S.task,
        "nameless id here": S.nameless, "good then bad": 4}


def given(name: str) -> tuple[bytes, int, list[Insn], bytes]:
    records = b"".join(struct.pack("=4I", off, type_id, S.text[text], kind)
                       for off, type_id, text, kind in CASES[name])
    held = HELD.get(name, 0)
    return S.btf.to_bytes(), S.function, [MOVE._replace(imm=held), MOVE._replace(imm=held),
                                          EXIT], records


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, kernels: tuple[Linux, Machine]) -> None:
    theirs, ours = (load(one, *given(name)) for one in kernels)
    assert ours.lines == theirs.lines
    assert ours.errno in (0, theirs.errno)
    if theirs.prog:
        wanted, mine = (loaded(one, made.prog)
                        for one, made in zip(kernels, (theirs, ours), strict=True))
        assert mine == wanted


def loaded(backend: Any, fd: int) -> tuple[bytes, bytes]:
    """(tag, instructions) of a loaded program, which is then closed."""
    insns = bpf.new_buffer(1024)
    fill = struct.pack("=20xI8xQ", len(insns), bpf.address_of(insns))
    info = bpf.obj_get_info_by_fd(backend, fd, 64, fill)
    backend.close(fd)
    return info[8:16], insns.raw[:struct.unpack_from("=I", info, 20)[0]]


@pytest.mark.parametrize(("size", "tail"), [(12, b""), (256, b""), (18, b""), (20, b"\0" * 4),
                                            (20, b"\1\0\0\0")])
def test_record_sizes(size: int, tail: bytes, kernels: tuple[Linux, Machine]) -> None:
    blob, function, insns, record = given("a field")
    records = (record + tail).ljust(size, b"\0")[:size]
    theirs, ours = (load(one, blob, function, insns, records, size) for one in kernels)
    assert ours[:2] == theirs[:2]


def test_without_functions_records_are_passed_over(kernels: tuple[Linux, Machine]) -> None:
    blob, _, insns, records = given("no such type")
    for backend in kernels:
        fd = bpf.btf_load(backend, blob)
        made = bpf.prog_load(backend, bpf.ProgAttr(
            uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, isa.encode(insns, "little"), "GPL", "", btf_fd=fd,
            core_relos=records))
        backend.close(made.fd)
        backend.close(fd)


def test_a_machine_without_types_finds_nothing() -> None:
    blob, function, insns, records = given("a field")
    with Machine() as machine:
        made = load(machine, blob, function, insns, records)
    assert made == (errno.EINVAL, [f"target candidate search failed for {S.task}"], 0)


def test_quiet_without_a_log(kernels: tuple[Linux, Machine]) -> None:
    for backend in kernels:
        made = load(backend, *given("a field"), level=0)
        assert made.lines == []
        backend.close(made.prog)
