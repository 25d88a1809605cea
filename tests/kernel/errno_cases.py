"""The table of calls whose answers must be the same on Machine and Linux.

A case is a function of `Calls`; what it returns is compared. Descriptors show as "fd".
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from anybpf import uapi as u
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.isa import build as b
from anybpf.isa.insn import Insn, encode
from anybpf.syscall.attr import FIELDS, LAST_FIELD, SIZE
from anybpf.syscall.tags import stable
from kernel.calls import BAD, CLOSED, RETURN_1, Calls, u32, u64

Case = Callable[[Calls], Any]
CASES: dict[str, Case] = {}


def case(name: str, run: Case) -> None:
    """Add one row."""
    assert name not in CASES, name
    CASES[name] = run


def calls(cmd: int, rows: Iterable[tuple[str, dict[str, Any]]], prefix: str) -> None:
    """Rows that are one call each, with no objects."""
    for name, fields in rows:
        case(f"{prefix} {name}", lambda k, f=fields: k.open(cmd, **f))


def btf_blob() -> tuple[bytes, dict[str, int]]:
    """BTF with the types that the cases need, and their ids."""
    made = BtfBuilder()
    ids = {"int": made.add(t.Int("int", 4, encoding=u.BTF_INT_SIGNED))}
    ids["long"] = made.add(t.Int("long", 8))
    ids["proto"] = made.add(t.FuncProto(ids["int"]))
    ids["main"] = made.add(t.Func("main", ids["proto"], u.BTF_FUNC_GLOBAL))
    ids["sub"] = made.add(t.Func("sub", ids["proto"], u.BTF_FUNC_STATIC))
    ids["typedef"] = made.add(t.Typedef("key_t", ids["int"]))
    ids["lock"] = made.add(t.Struct("bpf_spin_lock", 4, (t.Member("val", ids["int"], 0),)))
    ids["locked"] = made.add(t.Struct("locked", 8, (
        t.Member("lock", ids["lock"], 0), t.Member("n", ids["int"], 32))))
    ids["ptr"] = made.add(t.Ptr(ids["int"]))
    return made.to_bytes(), ids


BTF, IDS = btf_blob()

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

# -- map create

_ARRAY = {"map_type": 2, "key_size": 4, "value_size": 8, "max_entries": 4}
_BASE = {
    1: (4, 8, 4), 2: (4, 8, 4), 3: (4, 4, 4), 4: (4, 4, 4), 5: (4, 8, 4), 6: (4, 8, 4),
    9: (4, 8, 4), 10: (4, 8, 4), 27: (0, 0, 4096),
}


def _create_types() -> None:
    for kind, (key, value, entries) in _BASE.items():
        base = {"map_type": kind, "key_size": key, "value_size": value, "max_entries": entries}
        for name, change in {
            "": {}, "key 0": {"key_size": 0}, "key 1": {"key_size": 1}, "key 5": {"key_size": 5},
            "key 8": {"key_size": 8}, "key 600": {"key_size": 600}, "value 0": {"value_size": 0},
            "value 1": {"value_size": 1}, "value 5": {"value_size": 5},
            "value 40000": {"value_size": 40000}, "value 2**31": {"value_size": 1 << 31},
            "value 2**32-1": {"value_size": u.U32}, "value 2**32-8": {"value_size": u.U32 - 7},
            "entries 0": {"max_entries": 0}, "entries 1": {"max_entries": 1},
            "extra": {"map_extra": 1},
            "numa 0": {"map_flags": u.BPF_F_NUMA_NODE},
            "numa 9": {"map_flags": u.BPF_F_NUMA_NODE, "numa_node": 9},
        }.items():
            fields = {**base, **change}
            case(f"create type {kind} {name}",
                 lambda k, f=fields: k.open(u.BPF_MAP_CREATE, **f))
        flags = [1 << bit for bit in range(32) if 1 << bit != u.BPF_F_NUMA_NODE]
        case(f"create type {kind} with each flag", lambda k, fields=base, flags=flags: [
            k.open(u.BPF_MAP_CREATE, **fields, map_flags=flag) for flag in flags])


_create_types()
calls(u.BPF_MAP_CREATE, [(name, {**_ARRAY, **change}) for name, change in {
    "type 0": {"map_type": 0}, "type 34": {"map_type": 34}, "type -1": {"map_type": u.U32},
    "name": {"map_name": b"a_B.9"}, "name 15": {"map_name": b"a" * 15},
    "name 16": {"map_name": b"a" * 16}, "name space": {"map_name": b"a b"},
    "name dash": {"map_name": b"a-b"}, "name slash": {"map_name": b"/"},
    "name utf-8": {"map_name": "ä".encode()}, "name after nul": {"map_name": b"a\0b"},
    "name del": {"map_name": b"a\x7f"}, "name high": {"map_name": b"\xff"},
    "both access": {"map_flags": u.BPF_F_RDONLY | u.BPF_F_WRONLY},
    "both prog access": {"map_flags": u.BPF_F_RDONLY_PROG | u.BPF_F_WRONLY_PROG},
    "token flag": {"map_flags": u.BPF_F_TOKEN_FD},
    "token closed": {"map_flags": u.BPF_F_TOKEN_FD, "map_token_fd": CLOSED},
    "token without flag": {"map_token_fd": CLOSED},
    "key without value type": {"btf_key_type_id": 1},
    "value type, no btf": {"btf_value_type_id": 1},
    "types, btf closed": {"btf_key_type_id": 1, "btf_value_type_id": 1, "btf_fd": CLOSED},
    "btf unused": {"btf_fd": CLOSED}, "vmlinux value": {"btf_vmlinux_value_type_id": 1},
    "value module btf": {"value_type_btf_obj_fd": CLOSED},
    "hash without size": {"excl_prog_hash": BAD}, "size without hash": {"excl_prog_hash_size": 32},
    "hash at bad address": {"excl_prog_hash": BAD, "excl_prog_hash_size": 32},
    "hash short": {"excl_prog_hash": BAD, "excl_prog_hash_size": 31},
    "hash": {"excl_prog_hash": bytes(32), "excl_prog_hash_size": 32},
    "inner unused": {"inner_map_fd": CLOSED},
    "bad name and btf": {"map_name": b"%", "btf_key_type_id": 1, "btf_value_type_id": 1,
                         "btf_fd": CLOSED},
    "numa without flag": {"numa_node": 77},
    "numa none": {"map_flags": u.BPF_F_NUMA_NODE, "numa_node": u.U32},
}.items()], "create")


def _with_btf(key: str, value: str, **fields: Any) -> Case:
    """Create a map with types of the BTF (an empty name is 0)."""
    def run(k: Calls) -> Any:
        given = {**_ARRAY, **fields, "btf_fd": k.btf(BTF), "btf_key_type_id": IDS.get(key, 0),
                 "btf_value_type_id": IDS.get(value, 0)}
        return k.open(u.BPF_MAP_CREATE, **given)
    return run


for name, (key, value, fields) in {
    "int to long": ("int", "long", {}), "typedef key": ("typedef", "long", {}),
    "wrong key size": ("long", "long", {}), "wrong value size": ("int", "int", {}),
    "no key": ("", "long", {}), "func value": ("int", "main", {}),
    "proto key": ("proto", "long", {}), "pointer value": ("int", "ptr", {}),
    "struct key": ("lock", "long", {}), "spin lock": ("int", "locked", {}),
    "hash": ("int", "long", {"map_type": 1}), "hash struct key": ("lock", "long", {"map_type": 1}),
    "hash no key": ("", "long", {"map_type": 1}),
    "hash spin lock": ("int", "locked", {"map_type": 1}),
    "per-CPU spin lock": ("int", "locked", {"map_type": 6}),
    "lru spin lock": ("int", "locked", {"map_type": 9}),
    "per-CPU hash spin lock": ("int", "locked", {"map_type": 5}),
    "per-CPU array": ("int", "long", {"map_type": 6}),
    "per-CPU array no key": ("", "long", {"map_type": 6, "max_entries": 1}),
    "prog array": ("int", "int", {"map_type": 3, "value_size": 4}),
    "perf event array": ("int", "int", {"map_type": 4, "value_size": 4}),
    "ring buffer": ("int", "long", {"map_type": 27, "max_entries": 4096}),
    "ring buffer no types": ("", "", {"map_type": 27, "max_entries": 4096, "key_size": 0,
                                      "value_size": 0}),
}.items():
    case(f"create with btf, {name}", _with_btf(key, value, **fields))
case("create with btf, type id outside", lambda k: k.open(
    u.BPF_MAP_CREATE, **_ARRAY, btf_fd=k.btf(BTF), btf_key_type_id=1, btf_value_type_id=1000))
case("create with a map as btf", lambda k: k.open(
    u.BPF_MAP_CREATE, **_ARRAY, btf_fd=k.map(), btf_key_type_id=1, btf_value_type_id=2))

# -- elements

ELEMENT = {
    "lookup": u.BPF_MAP_LOOKUP_ELEM, "update": u.BPF_MAP_UPDATE_ELEM,
    "delete": u.BPF_MAP_DELETE_ELEM, "next": u.BPF_MAP_GET_NEXT_KEY,
    "pop": u.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
}
_MAPS: dict[str, dict[str, Any]] = {
    "array": {}, "hash": {"map_type": 1}, "per-CPU array": {"map_type": 6},
    "per-CPU hash": {"map_type": 5}, "lru": {"map_type": 9}, "per-CPU lru": {"map_type": 10},
    "prog array": {"map_type": 3, "value_size": 4},
    "perf event array": {"map_type": 4, "value_size": 4},
    "ring buffer": {"map_type": 27, "key_size": 0, "value_size": 0, "max_entries": 4096},
}
#: room for a value on as many CPUs as any backend here has
_ROOM = 8 * 512


def _element(cmd: str, make: dict[str, Any], fields: dict[str, Any], fill: int) -> Case:
    """One command on a fresh map into which `fill` keys were put."""
    def run(k: Calls) -> Any:
        fd = k.map(**make)
        for key in range(fill):
            k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(key), value=bytes(_ROOM))
        given = {"key": u32(0), "value": bytes(_ROOM), **fields}
        if cmd == "delete":
            del given["value"]
        return k.call(ELEMENT[cmd], map_fd=fd, **given)
    return run


def _elements() -> None:
    variants: dict[str, dict[str, Any]] = {
        "": {}, "key outside": {"key": u32(77)}, "bad key": {"key": BAD}, "no key": {"key": 0},
    }
    valued: dict[str, dict[str, Any]] = {
        "bad value": {"value": BAD}, "no value": {"value": 0},
        "kernel value": {"value": 0xFFFF_8880_0000_0000}, "kernel key": {"key": u.U64 - 100},
        **{f"flags {f:#x}": {"flags": f} for f in (1, 2, 3, 4, 5, 6, 7, 8, 1 << 32, 1 << 63)},
        "bad flags and key": {"flags": 8, "key": BAD}, "flags 1, bad value": {"flags": 1,
                                                                              "value": BAD},
        "outside, flags 1": {"key": u32(77), "flags": 1},
        "outside, flags 2": {"key": u32(77), "flags": 2},
    }
    for map_name, make in _MAPS.items():
        for cmd in ELEMENT:
            rows = variants if cmd in ("delete", "next") else {**variants, **valued}
            for name, fields in rows.items():
                for fill in (0, 2):
                    if cmd == "next" and fill and not name:
                        continue            # the order of hashes is their own
                    case(f"{cmd} {map_name} of {fill}: {name}",
                         _element(cmd, make, fields, fill))


_elements()
for cmd in ELEMENT:
    for what in ("closed", "prog", "negative", "btf"):
        def wrong(k: Calls, cmd: str = cmd, what: str = what) -> Any:
            fd = {"closed": lambda: CLOSED, "prog": k.prog, "negative": lambda: -1,
                  "btf": lambda: k.btf(BTF)}[what]()
            return k.call(ELEMENT[cmd], map_fd=fd, key=u32(0))
        case(f"{cmd} on {what}", wrong)
    for flag, mode in ((u.BPF_F_RDONLY, "read-only"), (u.BPF_F_WRONLY, "write-only")):
        def access(k: Calls, cmd: str = cmd, flag: int = flag) -> Any:
            fd = k.map(1, map_flags=flag)
            value = {} if cmd == "delete" else {"value": bytes(_ROOM)}
            return k.call(ELEMENT[cmd], map_fd=fd, key=u32(0), **value)
        case(f"{cmd} through a {mode} descriptor", access)

    def frozen(k: Calls, cmd: str = cmd) -> Any:
        fd = k.map(1)
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=bytes(8))
        first = k.call(u.BPF_MAP_FREEZE, map_fd=fd)
        value = {} if cmd == "delete" else {"value": bytes(8)}
        return first, k.call(ELEMENT[cmd], map_fd=fd, key=u32(0), **value)
    case(f"{cmd} on a frozen map", frozen)


def _page_ends() -> None:
    """Buffers that end exactly where the mapping ends, and one byte later."""
    for cut in (0, 1):
        def read(k: Calls, cut: int = cut) -> Any:
            fd = k.map()
            return (k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0),
                           value=k.at_page_end(bytes(8)) + cut),
                    k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=k.at_page_end(u32(0)) + cut,
                           value=k.at_page_end(bytes(8))),
                    k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(0),
                           value=k.at_page_end(bytes(8)) + cut))
        case(f"element buffers {cut} bytes over the end of a page", read)


_page_ends()


def _locked(k: Calls) -> Any:
    fd = k.map(1, btf_fd=k.btf(BTF), btf_key_type_id=IDS["int"], btf_value_type_id=IDS["locked"])
    key, out = u32(0), k.buffer(8)
    at = _address(out)
    return [
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=key, value=u32(7, 8), flags=4),
        k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=key, value=at, flags=4), out.raw,
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=key, value=u32(9, 10), flags=5),
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(1), value=u32(9, 10), flags=6),
        k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=key, value=at), out.raw,
        k.call(u.BPF_MAP_FREEZE, map_fd=fd),
    ]


def _address(buffer: Any) -> int:
    return ctypes.addressof(buffer)


case("values with a spin lock", _locked)

# -- freeze

for name, make in _MAPS.items():
    def freeze(k: Calls, make: dict[str, Any] = make) -> Any:
        fd = k.map(**make)
        return [k.call(u.BPF_MAP_FREEZE, map_fd=fd), k.call(u.BPF_MAP_FREEZE, map_fd=fd)]
    case(f"freeze {name} twice", freeze)
case("freeze closed", lambda k: k.call(u.BPF_MAP_FREEZE, map_fd=CLOSED))
case("freeze a program", lambda k: k.call(u.BPF_MAP_FREEZE, map_fd=k.prog()))
case("freeze read-only", lambda k: k.call(u.BPF_MAP_FREEZE, map_fd=k.map(map_flags=8)))

# -- batches

BATCH = {
    "lookup": u.BPF_MAP_LOOKUP_BATCH, "update": u.BPF_MAP_UPDATE_BATCH,
    "delete": u.BPF_MAP_DELETE_BATCH, "lookup and delete": u.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
}


def _batch(cmd: str, make: dict[str, Any], fields: dict[str, Any]) -> Case:
    """One batch command on a map with the elements 0 and 1, with the count it leaves."""
    def run(k: Calls) -> Any:
        fd = k.map(**make)
        for key in (0, 1):
            k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(key), value=bytes(_ROOM))
        given = {"batch__keys": u32(0, 1, 2, 3), "batch__values": bytes(_ROOM * 4),
                 "batch__out_batch": bytes(16), "batch__count": 2, **fields}
        answer = k.call(BATCH[cmd], batch__map_fd=fd, **given)
        return answer, k.out("batch.count")
    return run


def _batches() -> None:
    rows: dict[str, dict[str, Any]] = {
        "": {}, "count 0": {"batch__count": 0}, "count 4": {"batch__count": 4},
        "count 5": {"batch__count": 5}, "flags": {"batch__flags": 1},
        "elem flags 1": {"batch__elem_flags": 1}, "elem flags 4": {"batch__elem_flags": 4},
        "elem flags 8": {"batch__elem_flags": 8}, "bad keys": {"batch__keys": BAD},
        "bad values": {"batch__values": BAD}, "bad in": {"batch__in_batch": BAD},
        "bad out": {"batch__out_batch": BAD}, "bad keys, count 0": {"batch__keys": BAD,
                                                                    "batch__count": 0},
        "unknown keys": {"batch__keys": u32(0, 50, 51, 52)},
        "in after the end": {"batch__in_batch": u32(1 << 20)},
    }
    for map_name, make in _MAPS.items():
        for cmd in BATCH:
            for name, fields in rows.items():
                # where a hash begins is its own business: it may stop with ENOSPC
                case(f"{cmd} batch on {map_name}: {name}", _batch(cmd, make, fields))
    for cmd in BATCH:
        case(f"{cmd} batch closed", lambda k, c=cmd: k.call(BATCH[c], batch__map_fd=CLOSED))
        for flag in (u.BPF_F_RDONLY, u.BPF_F_WRONLY):
            case(f"{cmd} batch access {flag}", lambda k, c=cmd, f=flag: k.call(
                BATCH[c], batch__map_fd=k.map(1, map_flags=f)))


_batches()

# -- programs


def _load(name: str, change: dict[str, Any] | None = None,
          insns: Iterable[Insn] = RETURN_1) -> None:
    code = list(insns)
    case(f"load {name}", lambda k: k.open(
        u.BPF_PROG_LOAD, **k.prog_fields(code, **(change or {}))))


#: types that this kernel may be built without, or that its policy may keep to itself
_ELSEWHERE = (u.BPF_PROG_TYPE_LIRC_MODE2, u.BPF_PROG_TYPE_TRACING, u.BPF_PROG_TYPE_STRUCT_OPS,
              u.BPF_PROG_TYPE_EXT, u.BPF_PROG_TYPE_LSM)
for number in [*range(35), u.U32]:
    if number in _ELSEWHERE:
        continue
    case(f"load type {number} expecting each attach type", lambda k, n=number: [
        k.open(u.BPF_PROG_LOAD, **k.prog_fields(prog_type=n, expected_attach_type=expected))
        for expected in (*range(60), u.U32)])
    _load(f"type {number} with btf id", {"prog_type": number, "attach_btf_id": 1})
    _load(f"type {number} sleepable", {"prog_type": number, "prog_flags": 16})
    _load(f"type {number} on device", {"prog_type": number, "prog_ifindex": 1})
    _load(f"type {number} attach fd", {"prog_type": number, "attach_prog_fd": CLOSED})
for name, change in {
    "no insns": {"insn_cnt": 0}, "too many": {"insn_cnt": 1_000_001}, "max": {"insn_cnt": u.U32},
    "bad insns": {"insns": BAD}, "null insns": {"insns": 0}, "bad licence": {"license": BAD},
    "null licence": {"license": 0}, "no licence": {"license": b"\0"},
    "long licence": {"license": b"x" * 300 + b"\0"}, "name 16": {"prog_name": b"a" * 16},
    "name": {"prog_name": b"a.b_C9"}, "bad name": {"prog_name": b"a-b"},
    "bad name and insns": {"prog_name": b"a-b", "insns": BAD},
    "unknown type, bad insns": {"prog_type": 99, "insns": BAD},
    "unknown type, no insns": {"prog_type": 99, "insn_cnt": 0},
    "version": {"kern_version": 5}, "btf unused": {"prog_btf_fd": CLOSED},
    "token": {"prog_flags": u.BPF_F_TOKEN_FD, "prog_token_fd": CLOSED},
    "token unused": {"prog_token_fd": CLOSED}, "keyring": {"keyring_id": 5},
    "signature size": {"signature_size": 5},
    "fd array unused": {"fd_array": BAD}, "fd array bad": {"fd_array": BAD, "fd_array_cnt": 1},
    "fd array huge": {"fd_array": BAD, "fd_array_cnt": u.U32},
    "fd array null": {"fd_array_cnt": 1}, "fd array closed": {"fd_array": u32(CLOSED),
                                                             "fd_array_cnt": 1},
    "core relos unused": {"core_relo_cnt": 1, "core_relo_rec_size": 3},
    **{f"flag {1 << bit:#x}": {"prog_flags": 1 << bit} for bit in range(32) if bit != 16},
    **{f"log {level} {size} {address}": {"log_level": level, "log_size": size, "log_buf": where}
       for level in (0, 1, 2, 3, 4, 8, 9, 16, 32, u.U32)
       for size in (0, 1, 20, 4096, u.U32 >> 2, (u.U32 >> 2) + 1)
       for address, where in (("null", 0), ("bad", BAD)) if level or where},
    "log 0 with room": {"log_buf": bytes(4096), "log_size": 4096},
}.items():
    _load(name, change)
_load("licence of 127 without nul", {"license": b"G" * 127})


def _insn_loads() -> None:
    wild = Insn(0x18, 1, 9, 0, 0), Insn(0, 0, 0, 0, 0)
    for name, insns in {
        "no exit": (b.mov64_imm(0, 0),), "jump out": (b.jmp_a(5), b.exit_insn()),
        "jump back": (b.jmp_a(-5), b.exit_insn()), "unknown opcode": (Insn(0xFF, 0, 0, 0, 0),
                                                                      b.exit_insn()),
        "map closed": (*b.ld_map_fd(1, CLOSED), *RETURN_1),
        "value closed": (*b.ld_map_value(1, CLOSED, 0), *RETURN_1),
        "index without array": (*b.ld_map_idx(1, 0), *RETURN_1),
        "index value without array": (*b.ld_map_idx_value(1, 0, 0), *RETURN_1),
        "half imm64": (b.ld_map_fd(1, 3)[0],), "unknown pseudo": (*wild, *RETURN_1),
        "map fd with high": (*(b.ld_map_fd(1, CLOSED)[0], Insn(0, 0, 0, 0, 5)), *RETURN_1),
        "call outside": (b.call_rel(50), b.exit_insn()), "call before": (b.call_rel(-5),
                                                                         b.exit_insn()),
        "unknown helper": (b.emit_call(999), b.exit_insn()),
        "negative helper": (b.emit_call(-1), b.exit_insn()),
        "helper 0": (b.emit_call(0), b.exit_insn()),
        "neg with imm": (b.mov64_imm(0, 1), Insn(0x87, 0, 0, 0, 1), b.exit_insn()),
        "mov with off": (Insn(0xB7, 0, 0, 9, 1), b.exit_insn()),
        "exit with imm": (b.mov64_imm(0, 1), Insn(0x95, 0, 0, 0, 1)),
        "register 11": (Insn(0xB7, 11, 0, 0, 1), b.exit_insn()),
        "write fp": (Insn(0xB7, 10, 0, 0, 1), *RETURN_1),
        "shift 64": (b.mov64_imm(0, 1), b.alu64_imm(u.BPF_LSH, 0, 64), b.exit_insn()),
        "division by 0": (b.mov64_imm(0, 1), b.alu64_imm(u.BPF_DIV, 0, 0), b.exit_insn()),
        "ldx with imm": (Insn(0x61, 0, 1, 0, 5), b.exit_insn()),
        "code 0": (Insn(0, 0, 0, 0, 0), b.exit_insn()),
        "into imm64": (b.jmp_imm(u.BPF_JEQ, 1, 0, 1), *b.ld_imm64(0, 1), b.exit_insn()),
    }.items():
        _load(f"insns: {name}", insns=insns)
    for licence in (b"BSD\0", b"\0", b"GPL2\0", b"Proprietary\0", b"gpl\0", b"GPL v3\0"):
        _load(f"GPL-only helper under {licence!r}", {"license": licence},
              (b.emit_call(6), b.exit_insn()))


_insn_loads()


def _on_map(insns: Callable[[int], Iterable[Insn]], **make: Any) -> Case:
    """Load a program that refers to a new map."""
    return lambda k: k.open(u.BPF_PROG_LOAD, **k.prog_fields([*insns(k.map(**make)), *RETURN_1]))


for name, make in _MAPS.items():
    case(f"load with {name}", _on_map(lambda fd: b.ld_map_fd(1, fd), **make))
    for off in (0, 7, 8, 1 << 29, u.U32):
        case(f"load with value of {name} at {off}",
             _on_map(lambda fd, o=off: b.ld_map_value(1, fd, o), **make))
for off in (0, 7, 8, 9, 1 << 28, (1 << 29) - 1, 1 << 29):
    case(f"load with value of single array at {off}",
         _on_map(lambda fd, o=off: b.ld_map_value(1, fd, o), max_entries=1))


def _by_index(index: int, pad: int = 0) -> Case:
    def run(k: Calls) -> Any:
        array = u32(*[CLOSED] * pad, k.map())
        insns = [*b.ld_map_idx(1, index), *RETURN_1]
        return k.open(u.BPF_PROG_LOAD, **k.prog_fields(insns, fd_array=array))
    return run


case("load by index 0", _by_index(0))
case("load by index 1", _by_index(1, 1))
case("load by index of closed", _by_index(0, 1))
case("load with map in fd array", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields(fd_array=u32(k.map()), fd_array_cnt=1)))
case("load with btf in fd array", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields(fd_array=u32(k.btf(BTF)), fd_array_cnt=1)))
case("load with program in fd array", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields(fd_array=u32(k.prog()), fd_array_cnt=1)))
case("load with program as map", lambda k: k.open(
    u.BPF_PROG_LOAD, **k.prog_fields([*b.ld_map_fd(1, k.prog()), *RETURN_1])))


def _many_maps(count: int) -> Case:
    return lambda k: k.open(u.BPF_PROG_LOAD, **k.prog_fields(
        [i for _ in range(count) for i in b.ld_map_fd(1, k.map())] + list(RETURN_1)))


case("load with 64 maps", _many_maps(64))
case("load with 65 maps", _many_maps(65))


def _exclusive(digest: Callable[[bytes], bytes]) -> Case:
    """A map for one program only, then a program."""
    def run(k: Calls) -> Any:
        insns = [*b.ld_map_fd(1, 0), *RETURN_1]
        fd = k.map(excl_prog_hash=digest(stable(encode(insns))), excl_prog_hash_size=32)
        return k.open(u.BPF_PROG_LOAD, **k.prog_fields([*b.ld_map_fd(1, fd), *RETURN_1]))
    return run


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


case("load with its exclusive map", _exclusive(_sha256))
case("load with another's exclusive map", _exclusive(lambda data: bytes(32)))

# -- func and line records

_WITH_SUB = (b.call_rel(1), b.exit_insn(), *RETURN_1)
_NAME = 1


def _records(fields: dict[str, Any], insns: Iterable[Insn] = RETURN_1) -> Case:
    """Load with records; the record sizes and the log's text are compared too."""
    code = list(insns)

    def run(k: Calls) -> Any:
        log = k.buffer(4096)
        given = {"prog_btf_fd": k.btf(BTF), "func_info_rec_size": 8, "line_info_rec_size": 16,
                 "log_level": 1, "log_buf": _address(log), "log_size": 4096, **fields}
        answer = k.open(u.BPF_PROG_LOAD, **k.prog_fields(code, **given))
        text = log.value.split(b"processed ")[0]
        return (answer, text if answer != "fd" else b"", k.out("func_info_rec_size"),
                k.out("line_info_rec_size"))
    return run


def _func(*numbers: int, size: int = 8, **more: Any) -> dict[str, Any]:
    return {"func_info": u32(*numbers), "func_info_cnt": len(numbers) * 4 // size,
            "func_info_rec_size": size, **more}


def _line(*numbers: int, size: int = 16, **more: Any) -> dict[str, Any]:
    return {"line_info": u32(*numbers), "line_info_cnt": len(numbers) * 4 // size,
            "line_info_rec_size": size, **more}


_MAIN, _SUB = IDS["main"], IDS["sub"]
for name, (fields, insns) in {
    "one func": (_func(0, _MAIN), RETURN_1), "two funcs": (_func(0, _MAIN, 2, _SUB), _WITH_SUB),
    "one of two": (_func(0, _MAIN), _WITH_SUB), "two of one": (_func(0, _MAIN, 1, _SUB), RETURN_1),
    "wrong start": (_func(0, _MAIN, 1, _SUB), _WITH_SUB),
    "first not 0": (_func(1, _MAIN), RETURN_1),
    "same start": (_func(0, _MAIN, 0, _SUB), _WITH_SUB),
    "int as func": (_func(0, IDS["int"]), RETURN_1), "no such type": (_func(0, 999), RETURN_1),
    "size 4": (_func(0, _MAIN, size=4), RETURN_1), "size 12": (_func(0, _MAIN, 0, size=12),
                                                              RETURN_1),
    "size 12, tail": (_func(0, _MAIN, 1, size=12), RETURN_1),
    "size 252": (_func(0, _MAIN, *[0] * 61, size=252), RETURN_1),
    "size 256": (_func(0, _MAIN, *[0] * 62, size=256), RETURN_1),
    "size 10": (_func(0, _MAIN, 0, size=10), RETURN_1),
    "bad address": (_func(0, _MAIN, func_info=BAD), RETURN_1),
    "closed btf": (_func(0, _MAIN, prog_btf_fd=CLOSED), RETURN_1),
    "one line": (_line(0, _NAME, _NAME, 0), RETURN_1),
    "two lines": (_line(0, _NAME, _NAME, 0, 1, _NAME, _NAME, 5), RETURN_1),
    "line not at 0": (_line(1, _NAME, _NAME, 0), RETURN_1),
    "line twice": (_line(0, _NAME, _NAME, 0, 0, _NAME, _NAME, 0), RETURN_1),
    "line outside": (_line(0, _NAME, _NAME, 0, 2, _NAME, _NAME, 0), RETURN_1),
    "line string": (_line(0, 9999, _NAME, 0), RETURN_1),
    "file string": (_line(0, _NAME, 9999, 0), RETURN_1),
    "line size 12": (_line(0, _NAME, _NAME, size=12), RETURN_1),
    "line size 20": (_line(0, _NAME, _NAME, 0, 0, size=20), RETURN_1),
    "line size 20, tail": (_line(0, _NAME, _NAME, 0, 1, size=20), RETURN_1),
    "line size 18": (_line(0, _NAME, _NAME, 0, 1, size=18), RETURN_1),
    "line address": (_line(0, _NAME, _NAME, 0, line_info=BAD), RETURN_1),
    "line in imm64": (_line(0, _NAME, _NAME, 0, 1, _NAME, _NAME, 0),
                      (*b.ld_imm64(0, 1), b.exit_insn())),
    "second func without line": (_line(0, _NAME, _NAME, 0), _WITH_SUB),
    "second func late line": (_line(0, _NAME, _NAME, 0, 3, _NAME, _NAME, 0), _WITH_SUB),
    "too many lines": (_line(line_info_cnt=0x0800_0000), RETURN_1),
}.items():
    case(f"records: {name}", _records(fields, insns))
case("records: btf is a map", lambda k: k.open(u.BPF_PROG_LOAD, **k.prog_fields(
    **_func(0, _MAIN), prog_btf_fd=k.map())))

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
    k.call(u.BPF_OBJ_GET_INFO_BY_FD, info__bpf_fd=fd, info__info=_address(info),
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
        data = _with(104, (88, u64(_address(out))), (96, u32(32)))
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
    for address in (0, BAD):
        for field in ("in", "out"):
            given = {f"test__ctx_size_{field}": size, f"test__ctx_{field}": address}
            case(f"run closed, ctx {field} {size} at {address}", lambda k, g=given: k.call(
                u.BPF_PROG_TEST_RUN, test__prog_fd=CLOSED, **g))
case("run a map", lambda k: k.call(u.BPF_PROG_TEST_RUN, test__prog_fd=k.map()))

# -- objects in slots


def _slot(put: Callable[[Calls], int], flags: int = 0, index: int = 0, kind: int = 3) -> Case:
    def run(k: Calls) -> Any:
        fd = k.map(kind, 4, 4)
        out = k.buffer(4)
        return [k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(index), value=u32(put(k)),
                       flags=flags),
                k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(index), value=_address(out)),
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
