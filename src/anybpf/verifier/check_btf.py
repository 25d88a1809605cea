"""A program's func and line records (check_btf_info in kernel/bpf/verifier.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from errno import E2BIG, EINVAL
from typing import NamedTuple

from anybpf import bits
from anybpf.btf import types as t
from anybpf.btf.ext import CoreRelo
from anybpf.btf.ext import LineInfo as LineRecord
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError
from anybpf.verifier import core_relo
from anybpf.verifier.env import Env, Subprog
from anybpf.verifier.facts import FuncInfo, LineInfo, Records, Table
from anybpf.verifier.reject import Reject

MAX_RECORD = 252
_MAX_RECORDS = 0x7FFF_FFFF // 16
_GLOBAL = 1
_REGISTER_BYTES = 8


class _Kind(NamedTuple):
    """One kind of records: our layout, and what the log says of longer ones."""

    layout: struct.Struct
    tail: str


_FUNC = _Kind(struct.Struct("<2I"), "nonzero tailing record in func info")
_CORE = _Kind(struct.Struct("<4I"), "nonzero tailing record in core_relo")
_LINE = _Kind(struct.Struct("<4I"), "nonzero tailing record in line_info")


def early(env: Env) -> None:
    """The func records, as far as they can be checked alone (check_btf_info_early)."""
    records = env.facts.records
    if records is None or not (records.funcs.count or records.lines.count):
        return
    try:
        env.facts.btf = records.btf()
        env.facts.funcs = tuple(_functions(env, env.facts.btf, records.funcs))
    except BpfError as error:
        raise _silent(error) from None


def check(env: Env) -> None:
    """Functions are where the records say; then lines and CO-RE relocations (check_btf_info)."""
    _check_returns(env)
    records, btf = env.facts.records, env.facts.btf
    if records is None or btf is None:
        return
    try:
        _check_functions(env)
        env.facts.lines = tuple(_lines(env, btf, records.lines))
        core_relo.apply(env, btf, records.target, _relocations(records))
    except BpfError as error:
        raise _silent(error) from None


def refuse(errno: int, text: str, end: str = "\n") -> Reject:
    """A refusal that is about no instruction."""
    return Reject(errno, text, None, end)


def _silent(error: BpfError) -> Reject:
    """What the caller's memory or a descriptor answers; the log has no word of it."""
    made = refuse(error.errno or EINVAL, error.strerror or "")
    made.logged = True
    return made


def _bad_size(kind: _Kind, size: int) -> bool:
    return size < kind.layout.size or size > MAX_RECORD or size % 4 != 0


def _records(table: Table, kind: _Kind) -> Iterator[tuple[int, ...]]:
    """The caller's records one by one; longer ones must end in zeros."""
    known = kind.layout.size
    for number in range(table.count):
        start = number * table.size
        if table.size > known and any(table.read(start + known, table.size - known)):
            table.tell(known)
            raise refuse(E2BIG, kind.tail, "")
        yield kind.layout.unpack(table.read(start, known))


# -- functions


def _is_function(btf: Btf, type_id: int) -> bool:
    """Whether the id is a FUNC with its prototype."""
    try:
        func = btf.type(type_id)
        return isinstance(func, t.Func) and isinstance(btf.type(func.type), t.FuncProto)
    except (LoadError, LookupError):
        return False


def _functions(env: Env, btf: Btf, table: Table) -> Iterator[FuncInfo]:
    """The func records in rising order (check_btf_func_early)."""
    if table.count and _bad_size(_FUNC, table.size):
        raise refuse(EINVAL, f"invalid func info rec size {table.size}")
    before = -1
    for here, type_id in _records(table, _FUNC):
        if before < 0 and here:
            raise refuse(EINVAL, f"nonzero insn_off {here} for the first func info record", "")
        if here <= before:
            raise refuse(EINVAL, f"same or smaller insn offset ({here}) than previous func info "
                                 f"record ({before})", "")
        if not _is_function(btf, type_id):
            raise refuse(EINVAL, f"invalid type id {bits.s32(type_id)} in func info", "")
        before = here
        yield function(btf, here, type_id)


def function(btf: Btf, insn: int, type_id: int) -> FuncInfo:
    """What BTF says of the function that begins at `insn`."""
    func = btf.type(type_id)
    assert isinstance(func, t.Func)
    return FuncInfo(insn, func.name, func.linkage == _GLOBAL, type_id)


def _check_returns(env: Env) -> None:
    """Only a function that is known to give an int may end by itself (check_abnormal_return)."""
    for subprog in () if env.facts.funcs else env.subprogs[1:]:
        for used, name in _early_ends(subprog):
            if used:
                raise refuse(EINVAL, f"{name} is not allowed in subprogs without BTF")


def _check_functions(env: Env) -> None:
    """The records are those of the program's functions, where there are any (check_btf_func)."""
    funcs = env.facts.funcs
    if not funcs:
        return
    if len(funcs) != len(env.subprogs):
        raise refuse(EINVAL, "number of funcs in func_info doesn't match number of subprogs")
    for number, (subprog, info) in enumerate(zip(env.subprogs, funcs, strict=True)):
        if info.insn != subprog.start:
            raise refuse(EINVAL,
                         "func_info BTF section doesn't match subprog layout in BPF program")
        for used, name in _early_ends(subprog) if number else ():
            if used and not _returns_number(env.facts.btf, info):
                raise refuse(EINVAL, f"{name} is only allowed in functions that return 'int'.")


def _early_ends(subprog: Subprog) -> tuple[tuple[bool, str], ...]:
    """What a function has that may end it."""
    return (subprog.has_ld_abs, "LD_ABS"), (subprog.has_tail_call, "tail_call")


def _returns_number(btf: Btf | None, info: FuncInfo) -> bool:
    """The function is known to give an enum, or an integer of a register's size at most."""
    if btf is None:
        return False
    func = btf.type(info.type_id)
    proto = btf.type(func.type) if isinstance(func, t.Func) else None
    given = btf.type(btf.resolve(proto.type)) if isinstance(proto, t.FuncProto) else None
    return isinstance(given, t.AnyEnum) or (
        isinstance(given, t.Int) and given.size <= _REGISTER_BYTES)


# -- lines


def _has_string(btf: Btf, offset: int) -> bool:
    try:
        btf.string(offset)
    except (LoadError, LookupError):
        return False
    return True


def _check_line(env: Env, btf: Btf, number: int, line: LineRecord, before: int) -> None:
    """One record: after the one before, on an instruction, with names."""
    here, length = line.insn_off, len(env.insns)
    if (number and here <= before) or here >= length:
        raise refuse(EINVAL, f"Invalid line_info[{number}].insn_off:{here} "
                             f"(prev_offset:{before} prog->len:{length})")
    if not env.insns[here].code:
        raise refuse(EINVAL, f"Invalid insn code at line_info[{number}].insn_off")
    if not (_has_string(btf, line.line_off) and _has_string(btf, line.file_name_off)):
        raise refuse(EINVAL, f"Invalid line_info[{number}].line_off or .file_name_off")


def _lines(env: Env, btf: Btf, table: Table) -> Iterator[LineInfo]:
    """The line records; every function must begin with one (check_btf_line)."""
    if not table.count:
        return
    if table.count > _MAX_RECORDS or _bad_size(_LINE, table.size):
        raise refuse(EINVAL, "", "")
    starts = [s.start for s in env.subprogs]
    before, reached = 0, 0
    for number, record in enumerate(_records(table, _LINE)):
        line = LineRecord(*record)
        _check_line(env, btf, number, line, before)
        if reached < len(starts):
            if line.insn_off > starts[reached]:
                raise refuse(EINVAL, f"missing bpf_line_info for func#{reached}")
            reached += line.insn_off == starts[reached]
        before = line.insn_off
        yield LineInfo(line.insn_off, btf.string(line.file_name_off), line.line,
                       btf.string(line.line_off), record)
    if reached < len(starts):
        raise refuse(EINVAL, f"missing bpf_line_info for {len(starts) - reached} funcs "
                             f"starting from func#{reached}")


def _relocations(records: Records) -> Iterator[CoreRelo]:
    """The CO-RE records; each is read when its turn comes."""
    table = records.relos
    if table.count and (table.count > _MAX_RECORDS or _bad_size(_CORE, table.size)):
        raise refuse(EINVAL, "", "")
    return (CoreRelo(*record) for record in _records(table, _CORE))
