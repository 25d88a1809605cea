"""Rows about unions, BTF, ids, info, pins, runs and objects in slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anybpf import uapi as u
from anybpf.isa import build as b
from anybpf.syscall.attr import FIELDS, LAST_FIELD, SIZE
from kernel.calls import BAD, CLOSED, RETURN_1, Calls, u32, u64
from kernel.errno_base import BTF, Case, address, case

# -- the union: sizes and tails


def _tails() -> None:
    """The first byte behind a command's last field, the last byte, and what lies beyond."""
    for cmd, last in LAST_FIELD.items():
        # descriptors are 0x7fffffff here: a call that passes these checks fails at the next
        for at in sorted({FIELDS[last].end, SIZE - 1, SIZE, SIZE + 7}):
            def run(k: Calls, cmd: int = cmd, at: int = at) -> Any:
                attr = bytearray(SIZE + 8)
                attr[0:4] = u32(0x7FFF_FFFF)
                attr[at] = 1
                return k.raw(cmd, attr)
            case(f"tail of command {cmd}, byte {at}", run)
        if LAST_FIELD[cmd] != "next_id":    # there, the answer is what the host has loaded
            case(f"no byte of command {cmd}", lambda k, cmd=cmd: k.open(cmd, 0))


def _sizes() -> None:
    for size in (0, 1, 4, 8, 12, 15, 16, 17, 20, 48, 72, 167, 168):
        def run(k: Calls, size: int = size) -> Any:
            return k.open(u.BPF_MAP_CREATE, size, map_type=2, key_size=4, value_size=4,
                          max_entries=1)
        case(f"map create, union of {size} bytes", run)
    for size in (169, 4096, 4097):
        def long(k: Calls, size: int = size) -> Any:
            fields = {"map_type": 2, "key_size": 4, "value_size": 4, "max_entries": 1}
            return type(k.raw(u.BPF_MAP_CREATE, k.packed(fields).ljust(size, b"\0")))
        case(f"map create, union of {size} bytes", long)


_tails()
_sizes()
for number in (-1, 38, 39, 1000, 0x7FFF_FFFF):
    case(f"command {number}", lambda k, n=number: k.call(n))

# -- btf load

for name, (data, fields) in {
    "good": (BTF, {}), "empty": (b"", {}), "short": (BTF[:7], {}), "cut": (BTF[:-1], {}),
    "magic": (b"\0" + BTF[1:], {}), "flags": (BTF, {"btf_flags": 1}),
    "token": (BTF, {"btf_flags": u.BPF_F_TOKEN_FD, "btf_token_fd": CLOSED}),
    "too large": (BTF, {"btf_size": u.BTF_MAX_SIZE + 1}), "bad address": (BTF, {"btf": BAD}),
    "log level 16": (BTF, {"btf_log_level": 16}), "log level 1": (BTF, {"btf_log_level": 1}),
    "log buffer alone": (BTF, {"btf_log_buf": BAD}),
    "log without level": (BTF, {"btf_log_buf": bytes(64), "btf_log_size": 64}),
    "trailing": (BTF + b"\0", {}), "version": (BTF[:2] + b"\2" + BTF[3:], {}),
    "header flags": (BTF[:3] + b"\1" + BTF[4:], {}),
    "no types": (u32(0x1EB9F, 24, 0, 0, 0, 1) + b"\0", {}),
}.items():
    case(f"btf {name}", lambda k, d=data, f=fields: k.open(
        u.BPF_BTF_LOAD, **{"btf": d, "btf_size": len(d), **f}))

# -- ids and descriptors by id

for kind, cmd in (("prog", u.BPF_PROG_GET_NEXT_ID), ("map", u.BPF_MAP_GET_NEXT_ID),
                  ("btf", u.BPF_BTF_GET_NEXT_ID), ("link", u.BPF_LINK_GET_NEXT_ID)):
    for start in (0x7FFF_FFFE, 0x7FFF_FFFF, u.U32):
        case(f"next {kind} id after {start:#x}", lambda k, c=cmd, s=start: k.call(c, start_id=s))
for kind, cmd in (("prog", u.BPF_PROG_GET_FD_BY_ID), ("map", u.BPF_MAP_GET_FD_BY_ID),
                  ("btf", u.BPF_BTF_GET_FD_BY_ID), ("link", u.BPF_LINK_GET_FD_BY_ID)):
    for number in (0, 0x7FFF_FFFE, u.U32):
        case(f"{kind} by id {number:#x}", lambda k, c=cmd, n=number: k.open(c, prog_id=n))
    for flags in (1, 8, 16, 24, 128, u.BPF_F_TOKEN_FD):
        case(f"{kind} by id with flags {flags}", lambda k, c=cmd, f=flags: k.open(
            c, prog_id=0x7FFF_FFFE, open_flags=f))


def _reopen(k: Calls, flags: int) -> Any:
    """A map again by its id, with an access mode, and what that allows."""
    info = k.buffer(104)
    fd = k.map(1)
    k.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=fd, info__info=address(info),
           info__info_len=104)
    number = int.from_bytes(info.raw[4:8], "little")
    again = k.call(u.BPF_MAP_GET_FD_BY_ID, map_id=number, open_flags=flags)
    if not isinstance(again, int):
        return again
    k.fds.append(again)
    return [k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=again, key=u32(0), value=bytes(8)),
            k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=again, key=u32(0), value=bytes(8))]


for flags in (0, 8, 16, 24, 1, 32):
    case(f"reopened map with flags {flags}", lambda k, f=flags: _reopen(k, f))

# -- info

_INFO = {"prog": 232, "map": 104, "btf": 32}


def _object(k: Calls, kind: str) -> int:
    """A descriptor of such an object."""
    return {"prog": k.prog, "map": k.map, "btf": lambda: k.btf(BTF)}[kind]()


def _info(kind: str, data: bytes, length: int | None = None) -> Case:
    def run(k: Calls) -> Any:
        return (k.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=_object(k, kind), info__info=data,
                       info__info_len=len(data) if length is None else length),
                k.out("info.info_len"))
    return run


def _with(size: int, *fields: tuple[int, bytes]) -> bytes:
    """Zeros with some bytes set."""
    data = bytearray(size)
    for at, what in fields:
        data[at:at + len(what)] = what
    return bytes(data)


for kind, size in _INFO.items():
    for length in (0, 1, 4, 12, 31, size - 4, size, size + 8, 4096, 4097):
        case(f"info of {kind}, {length} bytes", _info(kind, bytes(max(length, 1)), length))
    case(f"info of {kind}, unknown tail", _info(kind, _with(size + 8, (size + 7, b"\1"))))
    case(f"info of {kind}, bad address", lambda k, kind=kind: k.call(
        u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=_object(k, kind), info__info=BAD,
        info__info_len=32))
    case(f"info of {kind}, nothing", lambda k, kind=kind: k.call(
        u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=_object(k, kind)))
for at in range(16, 232, 4):
    # jited lengths and symbols depend on machine code, which a Machine does not make
    if at not in (16, 24, 28, 104, 108, 112, 116, 120, 124):
        case(f"info of prog, 1 at {at}", _info("prog", _with(232, (at, u32(1)))))
for at, number in ((132, 8), (172, 16), (176, 8), (132, 4), (172, 8), (176, 4)):
    case(f"info of prog, record size {number} at {at}",
         _info("prog", _with(232, (at, u32(number)))))
for at in range(0, 104, 4):
    case(f"info of map, 1 at {at}", _info("map", _with(104, (at, u32(1)))))
for at in range(0, 32, 4):
    case(f"info of btf, 1 at {at}", _info("btf", _with(32, (at, u32(1)))))
case("info of closed", lambda k: k.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=CLOSED))


def _hash_info(**make: Any) -> Case:
    """A map's hash before and after it is frozen."""
    def run(k: Calls) -> Any:
        fd, out = k.map(**make), k.buffer(32)
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=u64(5))
        data = _with(104, (88, u64(address(out))), (96, u32(32)))
        ask = {"info__bpf_fd": fd, "info__info": data, "info__info_len": 104}
        return [k.call(u.BPF_OBJ_GET_INFO_BY_FD, **ask), k.call(u.BPF_MAP_FREEZE, map_fd=fd),
                k.call(u.BPF_OBJ_GET_INFO_BY_FD, **ask), out.raw]
    return run


case("hash of an array", _hash_info())
case("hash of a single array", _hash_info(max_entries=1))
case("hash of odd values", _hash_info(value_size=5))
case("hash of a hash", _hash_info(map_type=1))
case("hash of a per-CPU array", _hash_info(map_type=6))

# -- others

for number in (0, 1, 2, u.U32):
    case(f"stats {number}", lambda k, n=number: k.open(u.BPF_ENABLE_STATS, enable_stats__type=n))
for name, run in {
    "closed program": lambda k: {"prog_bind_map__prog_fd": CLOSED, "prog_bind_map__map_fd": 0},
    "closed map": lambda k: {"prog_bind_map__prog_fd": k.prog(), "prog_bind_map__map_fd": CLOSED},
    "flags": lambda k: {"prog_bind_map__prog_fd": k.prog(), "prog_bind_map__map_fd": k.map(),
                        "prog_bind_map__flags": 1},
    "good": lambda k: {"prog_bind_map__prog_fd": k.prog(), "prog_bind_map__map_fd": k.map()},
    "reversed": lambda k: {"prog_bind_map__prog_fd": k.map(), "prog_bind_map__map_fd": k.prog()},
}.items():
    case(f"bind {name}", lambda k, r=run: k.call(u.BPF_PROG_BIND_MAP, **r(k)))
for name, fields in {
    "no path": {}, "bad path": {"pathname": BAD}, "flags": {"file_flags": 1},
    "path fd without flag": {"path_fd": 3}, "root": {"pathname": b"/\0"},
    "not a bpffs": {"pathname": b"/tmp/anybpf-none\0"},
    "no directory": {"pathname": b"/sys/fs/bpf-none/x\0"},
}.items():
    case(f"pin closed, {name}", lambda k, f=fields: k.call(
        u.BPF_OBJ_PIN, bpf_fd=CLOSED, **f))
    case(f"get, {name}", lambda k, f=fields: k.open(u.BPF_OBJ_GET, **f))
case("get with fd", lambda k: k.open(u.BPF_OBJ_GET, pathname=b"/x\0", bpf_fd=3))
for size in (0, 4):
    for where in (0, BAD):
        for field in ("in", "out"):
            given = {f"test__ctx_size_{field}": size, f"test__ctx_{field}": where}
            case(f"run closed, ctx {field} {size} at {where}", lambda k, g=given: k.call(
                u.BPF_PROG_TEST_RUN, test__prog_fd=CLOSED, **g))
case("run a map", lambda k: k.call(u.BPF_PROG_TEST_RUN, test__prog_fd=k.map()))
_PACKET = bytes(range(64))


def _run(kind: int, **fields: Any) -> Case:
    """Run a program that returns 1, and what the union says afterwards."""
    def run(k: Calls) -> Any:
        given = {"test__data_in": _PACKET, "test__data_size_in": len(_PACKET), **fields}
        flags = u.BPF_F_SLEEPABLE if kind == u.BPF_PROG_TYPE_SYSCALL else 0
        answer = k.call(u.BPF_PROG_TEST_RUN, test__prog_fd=k.prog(prog_type=kind, prog_flags=flags),
                        **given)
        return [answer, *(k.out(f"test.{name}") for name in ("retval", "data_size_out",
                                                             "ctx_size_out"))]
    return run


for kind in (1, 3, 6, 8, 17, 31):
    for name, fields in {
        "": {}, "no data": {"test__data_in": 0, "test__data_size_in": 0},
        "bad data": {"test__data_in": BAD}, "bad data out": {"test__data_out": BAD},
        "bad data out, room": {"test__data_out": BAD, "test__data_size_out": 64},
        "bad data out, short": {"test__data_out": BAD, "test__data_size_out": 10},
        "short data out": {"test__data_out": bytes(64), "test__data_size_out": 10},
        "room for data": {"test__data_out": bytes(64), "test__data_size_out": 64},
        "bad ctx": {"test__ctx_in": BAD, "test__ctx_size_in": 8},
        "bad ctx out": {"test__ctx_out": BAD, "test__ctx_size_out": 8},
        "ctx of zeros": {"test__ctx_in": bytes(24), "test__ctx_size_in": 24},
        "no data, bad ctx": {"test__data_in": 0, "test__data_size_in": 0, "test__ctx_in": BAD,
                             "test__ctx_size_in": 8},
        "no data, ctx": {"test__data_in": 0, "test__data_size_in": 0, "test__ctx_in": bytes(8),
                         "test__ctx_size_in": 8},
        "flags": {"test__flags": 8}, "cpu": {"test__cpu": 1}, "batch": {"test__batch_size": 1},
        "repeat": {"test__repeat": 7}, "duration": {"test__duration": 7},
    }.items():
        case(f"run type {kind}: {name}", _run(kind, **fields))

# -- objects in slots


def _slot(put: Callable[[Calls], int], flags: int = 0, index: int = 0, kind: int = 3) -> Case:
    def run(k: Calls) -> Any:
        fd = k.map(kind, 4, 4)
        out = k.buffer(4)
        return [k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(index), value=u32(put(k)),
                       flags=flags),
                k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(index), value=address(out)),
                out.raw != bytes(4),
                k.call(u.BPF_MAP_DELETE_ELEM, map_fd=fd, key=u32(index)),
                k.call(u.BPF_MAP_DELETE_ELEM, map_fd=fd, key=u32(index))]
    return run


for name, put in {"program": lambda k: k.prog(), "closed": lambda k: CLOSED,
                  "map": lambda k: k.map(), "btf": lambda k: k.btf(BTF)}.items():
    for flags in (0, 1, 2, 4, 8):
        case(f"slot: {name}, flags {flags}", _slot(put, flags))
    case(f"slot: {name} outside", _slot(put, 0, 4))
    case(f"slot: {name} into perf event array", _slot(put, 0, 0, 4))


def _two_types(first: int, second: int, **fields: Any) -> Case:
    """Programs of two types into one prog array."""
    def run(k: Calls) -> Any:
        fd = k.map(3, 4, 4)
        progs = [k.prog(prog_type=first), k.prog(prog_type=second, **fields)]
        return [k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(i), value=u32(prog))
                for i, prog in enumerate(progs)]
    return run


case("prog array: same types", _two_types(1, 1))
case("prog array: two types", _two_types(1, 6))
case("prog array: tc and tc", _two_types(3, 3))
case("prog array: xdp and xdp frags", _two_types(6, 6, prog_flags=u.BPF_F_XDP_HAS_FRAGS))
case("prog array: frags of no xdp", _two_types(1, 1, prog_flags=u.BPF_F_XDP_HAS_FRAGS))
case("prog array: cgroup skb directions", _two_types(8, 8, expected_attach_type=1))
case("prog array: socket filter expecting", _two_types(1, 1, expected_attach_type=5))


def _program_of(kind: int, k: Calls, fd: int) -> int | str:
    """Load a program of a type that uses a map."""
    return k.open(u.BPF_PROG_LOAD, **k.prog_fields([*b.ld_map_fd(2, fd), *RETURN_1],
                                                   prog_type=kind))


def _owner(first: int, second: int) -> Case:
    def run(k: Calls) -> Any:
        fd = k.map(3, 4, 4)
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=u32(k.prog(prog_type=first)))
        return _program_of(second, k, fd)
    return run


case("prog array used by its type", _owner(6, 6))
case("prog array used by another type", _owner(6, 1))
case("prog array given to a type by its user", lambda k: [
    fd := k.map(3, 4, 4), _program_of(6, k, fd),
    k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=u32(k.prog()))][1:])
