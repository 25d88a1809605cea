"""Rows about maps: create, elements, maps of maps, freeze, batches."""

from __future__ import annotations

from typing import Any

from anybpf import uapi as u
from kernel.calls import BAD, CLOSED, Calls, u32, u64
from kernel.errno_base import BTF, IDS, Case, address, calls, case

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
    "nested spin lock": ("int", "outer", {"value_size": 16}),
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
MAPS: dict[str, dict[str, Any]] = {
    "array": {}, "hash": {"map_type": 1}, "per-CPU array": {"map_type": 6},
    "per-CPU hash": {"map_type": 5}, "lru": {"map_type": 9}, "per-CPU lru": {"map_type": 10},
    "prog array": {"map_type": 3, "value_size": 4},
    "perf event array": {"map_type": 4, "value_size": 4},
    "ring buffer": {"map_type": 27, "key_size": 0, "value_size": 0, "max_entries": 4096},
    "queue": {"map_type": 22, "key_size": 0}, "stack": {"map_type": 23, "key_size": 0},
    "bloom filter": {"map_type": 30, "key_size": 0},
    "trie": {"map_type": 11, "key_size": 8, "map_flags": u.BPF_F_NO_PREALLOC},
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
    for map_name, make in MAPS.items():
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
    at = address(out)
    return [
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=key, value=u32(7, 8), flags=4),
        k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=key, value=at, flags=4), out.raw,
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=key, value=u32(9, 10), flags=5),
        k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(1), value=u32(9, 10), flags=6),
        k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=key, value=at), out.raw,
        k.call(u.BPF_MAP_FREEZE, map_fd=fd),
    ]


case("values with a spin lock", _locked)


def _filled_queue(kind: int, cmd: str, **fields: Any) -> Case:
    """One command on a queue or stack of two, then all that is left."""
    def run(k: Calls) -> Any:
        fd, out = k.map(kind, 0, 8, 2), k.buffer(8)
        filled = [k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, value=u64(n), flags=flags)
                  for n, flags in ((1, 0), (2, 0), (3, 0), (4, u.BPF_EXIST), (5, u.BPF_NOEXIST))]
        value = {} if cmd == "delete" else {"value": address(out)}
        answer = k.call(ELEMENT[cmd], map_fd=fd, **{**value, **fields})
        left = []
        while k.call(u.BPF_MAP_LOOKUP_AND_DELETE_ELEM, map_fd=fd, value=address(out)) == 0:
            left.append(out.raw)
        return filled, answer, left
    return run


for kind, what in ((22, "queue"), (23, "stack")):
    for cmd in ELEMENT:
        for flags in () if cmd in ("delete", "next") else (0, 1, 2, 4, 8):
            case(f"{cmd} filled {what} with flags {flags}", _filled_queue(kind, cmd, flags=flags))
        case(f"{cmd} filled {what}", _filled_queue(kind, cmd))

# -- maps of maps


def _outer(kind: int, template: dict[str, Any], inner: dict[str, Any] | None,
           flags: int = 0, **fields: Any) -> Case:
    """Create a map of maps and put an inner map (None: a program) in."""
    def run(k: Calls) -> Any:
        made = {"map_type": kind, "key_size": 4, "value_size": 4, "max_entries": 2,
                "inner_map_fd": k.map(**template), **fields}
        if (answer := k.open(u.BPF_MAP_CREATE, **made)) != "fd":
            return answer
        fd, out = k.fds[-1], k.buffer(4)
        put = k.prog() if inner is None else k.map(**inner)
        return [k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=u32(put), flags=flags),
                k.call(u.BPF_MAP_LOOKUP_ELEM, map_fd=fd, key=u32(0), value=address(out)),
                out.raw != bytes(4), k.call(u.BPF_MAP_FREEZE, map_fd=fd),
                k.call(u.BPF_MAP_DELETE_ELEM, map_fd=fd, key=u32(0))]
    return run


for kind, what in ((12, "array"), (13, "hash")):
    for name, (template, inner, fields) in {
        "same": ({}, {}, {}), "other size": ({}, {"value_size": 4}, {}),
        "more entries": ({}, {"max_entries": 9}, {}), "hash in": ({}, {"map_type": 1}, {}),
        "more entries of hash": ({"map_type": 1}, {"map_type": 1, "max_entries": 9}, {}),
        "inner map flag": ({"map_flags": u.BPF_F_INNER_MAP},
                           {"map_flags": u.BPF_F_INNER_MAP, "max_entries": 9}, {}),
        "flags differ": ({}, {"map_flags": u.BPF_F_MMAPABLE}, {}), "program": ({}, None, {}),
        "value size 8": ({}, {}, {"value_size": 8}), "key size 8": ({}, {}, {"key_size": 8}),
        "prog array": ({"map_type": 3, "value_size": 4}, {}, {}),
        "ring buffer": (MAPS["ring buffer"], MAPS["ring buffer"], {}),
        "no template": ({}, {}, {"inner_map_fd": CLOSED}), "fd 0": ({}, {}, {"inner_map_fd": 0}),
    }.items():
        case(f"{what} of maps: {name}", _outer(kind, template, inner, **fields))
        for flags in (1, 2, 4, 8):
            case(f"{what} of maps: {name}, flags {flags}",
                 _outer(kind, template, inner, flags, **fields))
    case(f"{what} of maps of maps", lambda k, kind=kind: k.open(
        u.BPF_MAP_CREATE, map_type=kind, key_size=4, value_size=4, max_entries=1,
        inner_map_fd=k.map(12, 4, 4, inner_map_fd=k.map())))
    case(f"{what} of maps: template is a program", lambda k, kind=kind: k.open(
        u.BPF_MAP_CREATE, map_type=kind, key_size=4, value_size=4, max_entries=1,
        inner_map_fd=k.prog()))

# -- freeze

for name, make in MAPS.items():
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
            k.call(u.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(key, 0), value=bytes(_ROOM))
        # room for five keys of eight bytes: what lies behind a buffer differs from run to run
        given = {"batch__keys": u32(0, 1, 2, 3, *bytes(6)), "batch__values": bytes(_ROOM * 5),
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
    for map_name, make in MAPS.items():
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
