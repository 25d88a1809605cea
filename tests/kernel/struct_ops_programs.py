"""Programs for every member of every struct of functions that the kernel has registered."""

from __future__ import annotations

from collections.abc import Iterator

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.proto import kfuncs, progs, struct_ops
from anybpf.proto.helpers import HELPERS
from kernel.sweep_programs import ST
from kernel.sweeps import Maps, Program
from kernel.verdicts import EXIT, LDX, Case, call, copy, kernel_btf, mov, slot

STRUCT_OPS = progs.BY_NAME["struct_ops"]
END = slot(0x95)
SIZES = (1, 2, 4, 8)
WORD = 8


def registered() -> list[str]:
    """The structs that the kernel has, and types for them."""
    return [ops.name for ops in struct_ops.STRUCT_OPS
            if kernel_btf().find(struct_ops.VALUE_PREFIX + ops.name, uapi.BTF_KIND_STRUCT)]


def _members(name: str) -> tuple[t.Member, ...]:
    return kernel_btf().expect(kernel_btf().find(name, uapi.BTF_KIND_STRUCT), t.Struct).members


def hooks() -> Iterator[tuple[Case, t.FuncProto | None]]:
    """Every member, and one more, for programs that sleep and that do not."""
    btf = kernel_btf()
    for name in registered():
        members = _members(name)
        for index in range(len(members) + 1):
            proto = None
            if index < len(members):
                pointer = btf.type(btf.resolve(members[index].type))
                made = btf.type(btf.resolve(pointer.type)) if isinstance(pointer, t.Ptr) else None
                proto = made if isinstance(made, t.FuncProto) else None
            for sleepable in (False, True):
                yield Case(STRUCT_OPS, index, name, sleepable=sleepable), proto


def arguments(maps: Maps) -> Iterator[Program]:
    """Each argument and what comes behind, in whole and in part; given back, too."""
    for case, proto in hooks():
        yield Program(case, END, "nothing")
        yield Program(case, mov(0, 0) + END, "not GPL", gpl=False)
        for value in (0, 1, -1):
            yield Program(case, mov(0, value) + END, f"returns {value}")
        for off in range(WORD * (len(proto.params) + 2) if proto else 1):
            for size in SIZES if off % WORD else (8, 4):
                load = slot(LDX[size], 0, 1, off)
                yield Program(case, load + EXIT, f"argument {off} {size}")
                yield Program(case, load + END, f"gives argument {off} {size}")


def _structs() -> Iterator[tuple[Case, int, t.Struct]]:
    """Each struct that an argument points to, once for each struct of functions, and where."""
    btf, seen = kernel_btf(), set()
    for case, proto in hooks():
        for number, param in enumerate(proto.params if proto and not case.sleepable else ()):
            pointer = btf.type(btf.resolve(param.type))
            struct = btf.type(btf.resolve(pointer.type)) if isinstance(pointer, t.Ptr) else None
            if isinstance(struct, t.Struct) and (case.target, struct.name) not in seen:
                seen.add((case.target, struct.name))
                yield case, number, struct


def fields(maps: Maps) -> Iterator[Program]:
    """Every part of what arguments point to is read, followed and written."""
    for case, number, struct in _structs():
        begin = slot(LDX[8], 1, 1, WORD * number)
        checked = begin + slot(0x55, 1, off=2) + EXIT  # leave if it is NULL
        for off in range(struct.size + 9):
            for size in SIZES:
                if off % size:
                    continue
                where = f"{struct.name} {off} {size}"
                load = checked + slot(LDX[size], 2, 1, off)
                yield Program(case, load + EXIT, f"read {where}")
                yield Program(case, checked + slot(ST[size], 1, 0, off) + EXIT, f"write {where}")
                if size == WORD:
                    yield Program(case, load + slot(LDX[1], 3, 2) + EXIT, f"follow {where}")


def calls(maps: Maps) -> Iterator[Program]:
    """Every helper and every kernel function, called with what is there."""
    for case, proto in hooks():
        if proto is None or case.sleepable:
            continue
        for row in HELPERS:
            yield Program(case, call(row.id) + EXIT, f"helper {row.name}")
        for name in kfuncs.BY_NAME:
            number = kernel_btf().find(name, uapi.BTF_KIND_FUNC)
            if number:
                code = copy(6, 1) + slot(LDX[8], 1, 1) + call(number, uapi.BPF_PSEUDO_KFUNC_CALL)
                yield Program(case, code + EXIT, f"kernel function {name}")
