"""A program's func and line records (check_btf_info in kernel/bpf/verifier.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from errno import E2BIG, EACCES, EINVAL
from typing import NamedTuple

from anybpf.btf import types as t
from anybpf.btf.ext import FuncInfo, LineInfo
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.isa.insn import Insn
from anybpf.syscall.attr import Attr
from anybpf.syscall.info import check_tail
from anybpf.syscall.log import Refused
from anybpf.syscall.memory import UserMemory
from anybpf.syscall.objects import BtfObject, ProgBtf
from anybpf.syscall.state import State

MAX_RECORD = 252
_MAX_LINES = 0x7FFF_FFFF // 16


class _Kind(NamedTuple):
    """How one kind of records is given: attr fields, our layout, what the log says of long ones."""

    pointer: str
    number: str
    size: str
    layout: struct.Struct
    tail: str


_FUNC = _Kind("func_info", "func_info_cnt", "func_info_rec_size", struct.Struct("<2I"),
              "nonzero tailing record in func info")
_LINE = _Kind("line_info", "line_info_cnt", "line_info_rec_size", struct.Struct("<4I"),
              "nonzero tailing record in line_info")


def _bad_size(kind: _Kind, size: int) -> bool:
    return size < kind.layout.size or size > MAX_RECORD or size % 4 != 0


def _records(memory: UserMemory, attr: Attr, kind: _Kind) -> Iterator[tuple[int, ...]]:
    """The caller's records one by one; longer ones must end in zeros."""
    known, size = kind.layout.size, attr[kind.size]
    for number in range(attr[kind.number]):
        address = attr[kind.pointer] + number * size
        try:
            check_tail(memory, address, known, size)
        except BpfError as error:
            if error.errno == E2BIG:
                attr[kind.size] = known
                raise Refused(E2BIG, kind.tail) from None
            raise
        yield kind.layout.unpack(memory.read(address, known))


def _is_function(btf: Btf, type_id: int) -> bool:
    """Whether the id is a FUNC with its prototype."""
    try:
        func = btf.type(type_id)
        return isinstance(func, t.Func) and isinstance(btf.type(func.type), t.FuncProto)
    except (LoadError, LookupError):
        return False


def _functions(memory: UserMemory, attr: Attr, btf: Btf) -> Iterator[FuncInfo]:
    """The func records, checked as far as they can be alone (check_btf_func_early)."""
    size = attr[_FUNC.size]
    if attr[_FUNC.number] and _bad_size(_FUNC, size):
        raise Refused(EINVAL, f"invalid func info rec size {size}\n")
    before = -1
    for here, type_id in _records(memory, attr, _FUNC):
        if before < 0 and here:
            raise Refused(EINVAL, f"nonzero insn_off {here} for the first func info record")
        if here <= before:
            raise Refused(EINVAL, f"same or smaller insn offset ({here}) than previous func info "
                                  f"record ({before})")
        if not _is_function(btf, type_id):
            raise Refused(EINVAL, f"invalid type id {type_id} in func info")
        before = here
        yield FuncInfo(here, type_id)


def read_funcs(state: State, attr: Attr) -> ProgBtf | None:
    """The program's BTF and functions, or None where it gives no records."""
    if not attr["func_info_cnt"] and not attr["line_info_cnt"]:
        return None
    object = state.object(attr["prog_btf_fd"], BtfObject)
    if object.kernel:
        raise BpfError(EACCES, "a program's types come from user BTF")
    funcs = tuple(_functions(state.memory, attr, object.btf))
    return ProgBtf(object, funcs, ())


def check_funcs(btf: ProgBtf, starts: Sequence[int]) -> None:
    """The records are those of the program's functions, where there are any."""
    if not btf.funcs:
        return
    if len(btf.funcs) != len(starts):
        raise Refused(EINVAL, "number of funcs in func_info doesn't match number of subprogs\n")
    if [f.insn_off for f in btf.funcs] != list(starts):
        raise Refused(EINVAL, "func_info BTF section doesn't match subprog layout in BPF program\n")


def _has_string(btf: Btf, offset: int) -> bool:
    try:
        btf.string(offset)
    except (LoadError, LookupError):
        return False
    return True


def _check_line(btf: Btf, insns: Sequence[Insn], number: int, line: LineInfo, before: int) -> None:
    """One record: after the one before, on an instruction, with names."""
    here, length = line.insn_off, len(insns)
    if (number and here <= before) or here >= length:
        raise Refused(EINVAL, f"Invalid line_info[{number}].insn_off:{here} "
                              f"(prev_offset:{before} prog->len:{length})\n")
    if not insns[here].code:
        raise Refused(EINVAL, f"Invalid insn code at line_info[{number}].insn_off\n")
    if not (_has_string(btf, line.line_off) and _has_string(btf, line.file_name_off)):
        raise Refused(EINVAL, f"Invalid line_info[{number}].line_off or .file_name_off\n")


def _lines(memory: UserMemory, attr: Attr, btf: Btf, insns: Sequence[Insn],
           starts: Sequence[int]) -> Iterator[LineInfo]:
    """The line records; every function must begin with one."""
    before, reached = 0, 0
    for number, record in enumerate(_records(memory, attr, _LINE)):
        line = LineInfo(*record)
        _check_line(btf, insns, number, line, before)
        if reached < len(starts):
            if line.insn_off > starts[reached]:
                raise Refused(EINVAL, f"missing bpf_line_info for func#{reached}\n")
            reached += line.insn_off == starts[reached]
        before = line.insn_off
        yield line
    if reached < len(starts):
        raise Refused(EINVAL, f"missing bpf_line_info for {len(starts) - reached} funcs "
                              f"starting from func#{reached}\n")


def read_lines(state: State, attr: Attr, btf: ProgBtf, insns: Sequence[Insn],
               starts: Sequence[int]) -> ProgBtf:
    """The same with its line records."""
    if not attr["line_info_cnt"]:
        return btf
    if attr["line_info_cnt"] > _MAX_LINES or _bad_size(_LINE, attr["line_info_rec_size"]):
        raise BpfError(EINVAL, "line records of a bad size")
    lines = _lines(state.memory, attr, btf.object.btf, insns, starts)
    return btf._replace(lines=tuple(lines))


def refuse_relocations(attr: Attr) -> None:
    """CO-RE records are resolved by the loader so far."""
    if attr["core_relo_cnt"]:
        raise NotSupported("CO-RE relocations in BPF_PROG_LOAD", "5.17")
