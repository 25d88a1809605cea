"""The programs of the sweeps: contexts, helpers, results, maps, by program type."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from anybpf.proto import access, contexts, helpers, kinds
from anybpf.proto.helpers import Arg, Helper
from kernel.sweeps import LOCK_AT, TIMER_AT, Maps, Program
from kernel.verdicts import EXIT, LDX, STX, Case, call, copy, map_fd, mov, slot, stack

#: contexts that go on and on: so many bytes of them are looked at
LIMITS = {"tracepoint": 64, "syscall": 64, "pt_regs": 80}
#: so many bytes of contexts that BTF tells are looked at, and so many arguments are used
TARGETED_END, ARGUMENTS = 56, 4
ST = {1: 0x72, 2: 0x6A, 4: 0x62, 8: 0x7A}


def context_sweep(case: Case, maps: Maps) -> Iterator[Program]:
    """Every load and store at every offset, in every size."""
    view = contexts.VIEWS.get(case.prog.type)
    end = TARGETED_END
    if view is not None:
        end = LIMITS.get(view.context, contexts.CONTEXTS[view.context].size + 9)
    for off in (-8, -1, *range(end)):
        for size in (1, 2, 4, 8):
            where = f"{off} {size}"
            yield Program(case, slot(LDX[size], 0, 1, off) + EXIT, f"load {where}")
            yield Program(case, mov(2, 0) + slot(STX[size], 1, 2, off) + EXIT, f"store {where}")
            yield Program(case, slot(ST[size], 1, 0, off) + EXIT, f"constant {where}")
    yield Program(case, mov(2, 0) + slot(0xDB, 1, 2) + EXIT, "atomic")
    yield Program(case, slot(0x07, 1, imm=8) + slot(LDX[4], 0, 1) + EXIT, "moved")
    yield Program(case, slot(0x07, 1, imm=-8) + slot(LDX[4], 0, 1, 8) + EXIT, "moved back")
    yield Program(case, slot(LDX[4], 2, 1) + slot(0x0F, 1, 2) + slot(LDX[4], 0, 1) + EXIT,
                  "variable")


RESULTS = (*range(-2, 5), 32767, 1 << 30)


def result_sweep(case: Case, maps: Maps) -> Iterator[Program]:
    """Every kind of result."""
    end = slot(0x95)
    for value in RESULTS:
        yield Program(case, mov(0, value) + end, f"returns {value}")
    for low, high in ((0, 1), (1, 1), (0xFFFFFFFF, 0)):
        code = slot(0x18, 0, imm=low) + slot(0, imm=high) + end
        yield Program(case, code, f"returns {high << 32 | low:#x}")
    yield Program(case, copy(0, 1) + end, "returns the context")
    yield Program(case, copy(0, 10) + end, "returns the stack")
    yield Program(case, end, "returns nothing")
    yield Program(case, call(7) + end, "returns a random number")
    yield Program(case, call(7) + slot(0x57, 0, imm=1) + end, "returns 0 or 1")
    yield Program(case, call(7) + slot(0x57, 0, imm=3) + end, "returns 0 to 3")
    yield Program(case, call(7) + slot(0x77, 0, imm=63) + slot(0x87, 0) + end, "returns 0 or -1")
    yield Program(case, call(7) + slot(0x54, 0, imm=1) + slot(0x84, 0) + end, "returns 32 bits")


# -- helpers

#: 64 bytes of stack are zero, r6 is the context
PROLOGUE = copy(6, 1) + b"".join(slot(0x7A, 10, off=-8 * i) for i in range(1, 9))
#: program types whose context has a packet: offsets of its start and end, and size of the loads
PACKETS = {
    "sched_cls": (76, 80, 4), "sched_act": (76, 80, 4), "xdp": (0, 4, 4), "sk_skb": (76, 80, 4),
    "cgroup_skb": (76, 80, 4), "lwt_in": (76, 80, 4), "lwt_out": (76, 80, 4),
    "lwt_xmit": (76, 80, 4), "lwt_seg6local": (76, 80, 4), "flow_dissector": (76, 80, 4),
    "sk_msg": (0, 8, 8), "sk_reuseport": (0, 8, 8), "cgroup_sockopt": (8, 16, 8),
    "sock_ops": (192, 200, 8),
}
#: program types with a socket in the context: where
SOCKETS = {
    "sched_cls": 168, "sched_act": 168, "cgroup_skb": 168, "socket_filter": 168, "sk_skb": 168,
    "lwt_in": 168, "cgroup_sock_addr": 64, "sock_ops": 184, "sk_msg": 72, "sk_lookup": 0,
    "sk_reuseport": 40, "cgroup_sockopt": 0,
}
OTHER = 5  # BPF_JNE


def arena(maps: Maps, reg: int) -> bytes:
    """reg = an address in an arena."""
    return map_fd(reg, maps.fds["arena"]) + mov(reg, 8) + slot(0xBF, reg, reg, 1, 1)


def packet(case: Case, reg: int) -> bytes | None:
    """reg = 64 bytes of packet."""
    found = PACKETS.get(case.prog.name)
    if found is None:
        return None
    start, end, size = found
    return (slot(LDX[size], reg, 6, start) + slot(LDX[size], 0, 6, end) + copy(7, reg)
            + slot(0x07, 7, imm=64) + slot(0xBD, 7, 0, 2) + EXIT)


def socket(case: Case, reg: int) -> bytes | None:
    """reg = a socket that is not NULL."""
    at = SOCKETS.get(case.prog.name)
    return None if at is None else slot(LDX[8], reg, 6, at) + slot(0x55, reg, off=2) + EXIT


@cache
def offered(case: Case, maps: Maps, reg: int) -> dict[str, bytes | None]:
    """Code that puts all kinds of things into a register."""
    return {
        "0": mov(reg, 0), "1": mov(reg, 1), "-1": mov(reg, -1), "8": mov(reg, 8),
        "65": mov(reg, 65), "2^30": mov(reg, 1 << 30),
        "some number": slot(LDX[8], reg, 10, -8), "the context": copy(reg, 6),
        "moved context": copy(reg, 6) + slot(0x07, reg, imm=8),
        "stack": stack(reg), "unwritten stack": stack(reg, -128), "end of stack": stack(reg, -4),
        "odd stack": stack(reg, -61), "nothing": b"",
        "a map": map_fd(reg, maps.fds["array"]), "a ring": map_fd(reg, maps.fds["ring"]),
        "a value": map_fd(reg, maps.fds["array"], value=True),
        "end of a value": map_fd(reg, maps.fds["array"], value=True) + slot(0x07, reg, imm=60),
        "a constant": map_fd(reg, maps.fds["string"], value=True),
        "what is not constant": map_fd(reg, maps.fds["readonly"], value=True),
        "what cannot be read": map_fd(reg, maps.fds["writeonly"], value=True),
        "a locked value": map_fd(reg, maps.fds["locked"], value=True),
        "a lock": map_fd(reg, maps.fds["locked"], value=True) + slot(0x07, reg, imm=LOCK_AT),
        "a timer": map_fd(reg, maps.fds["timed"], value=True) + slot(0x07, reg, imm=TIMER_AT),
        "packet": packet(case, reg), "a socket": socket(case, reg), "an arena": arena(maps, reg),
    }


#: a map that each helper takes, where it is not a plain array
MAP_FOR = {
    "tail_call": "progs", "perf_event_read": "events", "perf_event_read_value": "events",
    "perf_event_output": "events", "skb_output": "events", "xdp_output": "events",
    "ringbuf_output": "ring", "ringbuf_reserve": "ring", "ringbuf_query": "ring",
    "ringbuf_reserve_dynptr": "ring", "user_ringbuf_drain": "user_ring", "get_stackid": "stacks",
    "skb_under_cgroup": "cgroups", "current_task_under_cgroup": "cgroups",
    "redirect_map": "devices", "sk_redirect_map": "socks", "msg_redirect_map": "socks",
    "sock_map_update": "socks", "sk_redirect_hash": "socks_hash", "msg_redirect_hash": "socks_hash",
    "sock_hash_update": "socks_hash", "get_local_storage": "cgroup_storage",
    "sk_select_reuseport": "reuseports", "map_push_elem": "queue", "map_pop_elem": "queue",
    "map_peek_elem": "queue", "map_lookup_percpu_elem": "percpu", "sk_storage_get": "sk_storage",
    "sk_storage_delete": "sk_storage", "inode_storage_get": "inode_storage",
    "inode_storage_delete": "inode_storage", "task_storage_get": "task_storage",
    "task_storage_delete": "task_storage", "cgrp_storage_get": "cgrp_storage",
    "cgrp_storage_delete": "cgrp_storage", "timer_init": "timed",
}
#: what each kind of argument may be
RIGHT = {
    kinds.ARG_ANYTHING: "0", kinds.ARG_PTR_TO_CTX: "the context",
    kinds.ARG_PTR_TO_MAP_KEY: "stack", kinds.ARG_PTR_TO_MAP_VALUE: "stack",
    kinds.ARG_PTR_TO_MEM: "stack", kinds.ARG_CONST_SIZE: "8", kinds.ARG_CONST_SIZE_OR_ZERO: "8",
    kinds.ARG_PTR_TO_STACK: "stack", kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO: "8",
    kinds.ARG_PTR_TO_CONST_STR: "a constant", kinds.ARG_PTR_TO_SPIN_LOCK: "a lock",
    kinds.ARG_PTR_TO_TIMER: "a timer", kinds.ARG_PTR_TO_SOCK_COMMON: "a socket",
    kinds.ARG_PTR_TO_SOCKET: "a socket", kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON: "a socket",
}


def right(case: Case, maps: Maps, helper: Helper, arg: Arg, reg: int) -> bytes:
    """Code for an argument as it should be, as near as we can come."""
    base = kinds.base(arg.kind)
    if base == kinds.ARG_CONST_MAP_PTR:
        return map_fd(reg, maps.fds[MAP_FOR.get(helper.name, "array")])
    return offered(case, maps, reg).get(RIGHT.get(base, "0")) or mov(reg, 0)


def helper_programs(case: Case, maps: Maps, helper: Helper) -> Iterator[Program]:
    """Calls of one helper with one argument after the other as it should not be."""
    good = [right(case, maps, helper, arg, i) for i, arg in enumerate(helper.args, 1)]
    end = call(helper.id) + EXIT
    yield Program(case, PROLOGUE + b"".join(good) + end, helper.name)
    yield Program(case, PROLOGUE + b"".join(good) + end, f"{helper.name} not GPL", gpl=False)
    for i in range(len(good)):
        for name, code in offered(case, maps, i + 1).items():
            if code is not None:
                args = [*good[:i], code, *good[i + 1:]]
                # what takes several registers to make comes first
                args.sort(key=lambda part: part is not code)
                yield Program(case, PROLOGUE + b"".join(args) + end,
                              f"{helper.name} {i + 1} {name}")


def helper_sweep(case: Case, maps: Maps) -> Iterator[Program]:
    """Every helper of a program type."""
    for row in helpers.HELPERS:
        helper = helpers.proto_for(row.id, case.prog.type, case.attach)
        if access.grant(row.id, case.prog.type, case.attach, target=case.target) is not None:
            yield from helper_programs(case, maps, helper)
        else:
            yield Program(case, PROLOGUE + call(row.id) + EXIT, helper.name)


def map_sweep(case: Case, maps: Maps) -> Iterator[Program]:
    """Every helper that takes a map with every map."""
    for row in helpers.HELPERS:
        helper = helpers.proto_for(row.id, case.prog.type, case.attach)
        if access.grant(row.id, case.prog.type, case.attach, target=case.target) is None:
            continue
        for number, arg in enumerate(helper.args):
            if kinds.base(arg.kind) != kinds.ARG_CONST_MAP_PTR:
                continue
            for name, fd in maps.fds.items():
                args = [map_fd(i, fd) if i == number + 1 else right(case, maps, helper, a, i)
                        for i, a in enumerate(helper.args, 1)]
                yield Program(case, PROLOGUE + b"".join(args) + call(row.id) + EXIT,
                              f"{helper.name} {name}")


# -- pointers

ALU = {0x00: "+", 0x10: "-", 0x20: "*", 0x30: "/", 0x40: "|", 0x50: "&", 0x60: "<<", 0x70: ">>",
       0x90: "%", 0xA0: "^", 0xC0: "s>>"}
JUMPS = (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0)
LOOKUP = 1
NOT_NULL = slot(0x55, 0, off=2) + EXIT


def looked_up(maps: Maps, name: str) -> bytes:
    """r0 = the first element of a map, perhaps NULL."""
    return map_fd(1, maps.fds[name]) + stack(2) + call(LOOKUP)


def pointers(case: Case, maps: Maps) -> dict[str, bytes]:
    """Code that puts all kinds of pointers and numbers into r7; r6 is the context."""
    to_r7 = copy(7, 0)
    found = {
        "a number": mov(7, 4), "some number": call(7) + to_r7,
        "a small number": call(7) + slot(0x57, 0, imm=7) + to_r7, "context": copy(7, 6),
        "stack": stack(7), "map": map_fd(7, maps.fds["hash"]),
        "value": map_fd(7, maps.fds["array"], value=True),
        "value to read": map_fd(7, maps.fds["readonly"], value=True),
        "a constant": map_fd(7, maps.fds["string"], value=True),
        "value to write": map_fd(7, maps.fds["writeonly"], value=True),
        "locked value": looked_up(maps, "locked_hash") + NOT_NULL + to_r7,
        "value or null": looked_up(maps, "hash") + to_r7,
        "value at a place": looked_up(maps, "hash") + NOT_NULL + to_r7 + call(7)
        + slot(0x57, 0, imm=31) + slot(0x0F, 7, 0),
        "inner map": looked_up(maps, "hash_of_maps") + NOT_NULL + to_r7,
        "record": map_fd(1, maps.fds["ring"]) + mov(2, 16) + mov(3, 0) + call(131) + NOT_NULL
        + to_r7,
        "arena": arena(maps, 7), "moved arena": arena(maps, 7) + slot(0x07, 7, imm=-64),
        "arena's variable": map_fd(7, maps.fds["arena"], value=True),
        "record or null": map_fd(1, maps.fds["ring"]) + mov(2, 16) + mov(3, 0) + call(131) + to_r7,
    }
    if access.grant(LOOKUP, case.prog.type, case.attach, target=case.target) is not None:
        for name in ("devices", "xsks", "socks", "socks_hash"):
            found[name] = looked_up(maps, name) + NOT_NULL + to_r7
    at = packet(case, 7)
    if at is not None:
        start, end, size = PACKETS[case.prog.name]
        found["packet"] = (slot(LDX[size], 7, 6, start) + slot(LDX[size], 0, 6, end) + copy(2, 7)
                           + slot(0x07, 2, imm=64) + slot(0xBD, 2, 0, 2) + EXIT)
        found["unchecked packet"] = slot(LDX[size], 7, 6, start)
        found["end of packet"] = slot(LDX[size], 7, 6, end)
    return found | context_pointers(case)


def context_pointers(case: Case) -> dict[str, bytes]:
    """Code that puts what the context points to into r7."""
    view = contexts.VIEWS.get(case.prog.type)
    if view is None:
        return {f"argument {i}{how}": slot(LDX[8], 7, 6, 8 * i) + check for i in range(ARGUMENTS)
                for how, check in (("", b""), (" not null", slot(0x55, 7, off=2) + EXIT))}
    found = {}
    for field in contexts.CONTEXTS[view.context].fields:
        if field.kind & kinds.KIND_MASK in (kinds.PTR_TO_SOCKET, kinds.PTR_TO_SOCK_COMMON,
                                            kinds.PTR_TO_FLOW_KEYS, kinds.PTR_TO_TP_BUFFER,
                                            kinds.PTR_TO_BTF_ID):
            load_field = slot(LDX[8], 7, 6, field.offset)
            found[field.name] = load_field
            if field.kind & kinds.PTR_MAYBE_NULL:
                found[f"{field.name} not null"] = load_field + slot(0x55, 7, off=2) + EXIT
    if view.context == "__sk_buff" and "sk" in view.shows:
        sock = slot(LDX[8], 7, 6, 168) + slot(0x55, 7, off=2) + EXIT + copy(1, 7)
        for number in (95, 96):
            if access.grant(number, case.prog.type, case.attach, target=case.target) is not None:
                found[f"socket of {number}"] = sock + call(number) + copy(7, 0)
                found[f"socket of {number} not null"] = (sock + call(number) + NOT_NULL
                                                             + copy(7, 0))
    return found


def uses(maps: Maps) -> dict[str, bytes]:
    """Code that does all kinds of things with r7."""
    made = {}
    for op, name in ALU.items():
        for cls, width in ((7, 64), (4, 32)):
            made[f"{width} {name} 3"] = slot(op | cls, 7, imm=3)
            made[f"{width} {name} r8"] = mov(8, 3) + slot(op | cls | 8, 7, 8)
            made[f"{width} number {name} r7"] = mov(8, 3) + slot(op | cls | 8, 8, 7)
            made[f"{width} {name} itself"] = slot(op | cls | 8, 7, 7)
            made[f"{width} {name} stack"] = slot(op | cls | 8, 7, 10)
    for name, code in (("neg", slot(0x87, 7)), ("neg32", slot(0x84, 7)),
                       ("mov32", slot(0xBC, 8, 7)), ("movsx", slot(0xBF, 8, 7, 16)),
                       ("movsx32", slot(0xBC, 8, 7, 8)), ("swap", slot(0xD7, 7, imm=64)),
                       ("be16", slot(0xDC, 7, imm=16)), ("cast", slot(0xBF, 8, 7, 1, 1)),
                       ("cast back", slot(0xBF, 8, 7, 1, 1 << 16))):
        made[name] = code
    for op in JUMPS:
        for cls in (5, 6):
            made[f"jump {op:x} {cls} 0"] = slot(op | cls, 7) + slot(LDX[1], 0, 7)
            made[f"jump {op:x} {cls} 5"] = slot(op | cls, 7, imm=5) + slot(LDX[1], 0, 7)
            made[f"jump {op:x} {cls} itself"] = slot(op | cls | 8, 7, 7) + slot(LDX[1], 0, 7)
            made[f"jump {op:x} {cls} stack"] = slot(op | cls | 8, 7, 10)
            made[f"jump {op:x} {cls} context"] = slot(op | cls | 8, 6, 7)
    for off in (-1, 0, 1, 4, 8, 16, 60, 64):
        for size in (1, 4, 8):
            made[f"load {off} {size}"] = slot(LDX[size], 0, 7, off)
            made[f"store {off} {size}"] = slot(STX[size], 7, 10, off)
            made[f"store number {off} {size}"] = mov(8, 3) + slot(STX[size], 7, 8, off)
            made[f"store constant {off} {size}"] = slot(ST[size], 7, 0, off)
    value = map_fd(9, maps.fds["array"], value=True)
    for number, name in ((0, "add"), (1, "fetch"), (0xE1, "xchg"), (0xF1, "cmpxchg"),
                         (0x100, "load"), (0x110, "store")):
        made[f"atomic {name}"] = mov(8, 3) + mov(0, 0) + slot(0xDB, 7, 8, imm=number)
        made[f"atomic {name} 32"] = mov(8, 3) + mov(0, 0) + slot(0xC3, 7, 8, imm=number)
        made[f"atomic operand {name}"] = value + mov(0, 0) + slot(0xDB, 9, 7, imm=number)
    for size in (1, 4, 8):
        made[f"spill {size}"] = slot(STX[size], 10, 7, -8) + slot(LDX[size], 8, 10, -8)
        made[f"spill {size} and use"] = (slot(STX[size], 10, 7, -8) + slot(LDX[size], 8, 10, -8)
                                         + slot(LDX[1], 0, 8))
        made[f"leak {size}"] = value + slot(STX[size], 9, 7)
    made["return"] = copy(0, 7) + slot(0x95)
    made["to the context"] = slot(STX[4], 6, 7, 8)
    made["as a number"] = copy(1, 7) + mov(2, 0) + call(7)
    made["as memory"] = copy(1, 7) + mov(2, 8) + call(6)
    made["as key"] = map_fd(1, maps.fds["hash"]) + copy(2, 7) + call(LOOKUP)
    made["as size"] = stack(1) + copy(2, 7) + call(6)
    made["released"] = copy(1, 7) + mov(2, 0) + call(132)
    made["released twice"] = made["released"] + made["released"]
    made["released and used"] = made["released"] + slot(LDX[1], 0, 7)
    made["socket released"] = copy(1, 7) + call(86)
    made["as map"] = copy(1, 7) + stack(2) + call(LOOKUP)
    made["nothing"] = b""
    return made


def pointer_sweep(case: Case, maps: Maps) -> Iterator[Program]:
    """Every kind of pointer in every use."""
    for what, make in pointers(case, maps).items():
        for how, use in uses(maps).items():
            yield Program(case, PROLOGUE + make + use + EXIT, f"{what}: {how}")


# -- effects of helpers

AFTER = {
    "the packet": slot(LDX[1], 1, 7), "r1": copy(8, 1), "r5": copy(8, 5), "r0": copy(8, 0),
    "a load": slot(LDX[8], 8, 0), "a store": slot(ST[4], 0),
    "a checked load": NOT_NULL + slot(LDX[8], 8, 0, 8),
    "a checked store": NOT_NULL + slot(ST[1], 0, 0, 7),
    "the record given back": NOT_NULL + copy(1, 0) + mov(2, 0) + call(132),
    "the socket given back": NOT_NULL + copy(1, 0) + call(86),
    "a socket's field": NOT_NULL + slot(LDX[4], 8, 0, 4) + copy(1, 0) + call(86),
    "the full socket": NOT_NULL + copy(1, 0) + copy(8, 0) + call(95) + slot(0x55, 0, off=4)
    + copy(1, 8) + call(86) + EXIT + copy(1, 0) + call(86) + slot(LDX[4], 8, 8, 4),
    "the number added": slot(0x57, 0, imm=31) + copy(8, 10) + slot(0x0F, 8, 0),
    "sign": slot(0xC5, 0, off=1) + slot(0xB7, 0) + slot(0xB5, 0, off=1, imm=100) + copy(8, 0),
    "the stack": slot(LDX[8], 8, 10, -64) + slot(LDX[1], 8, 10, -57),
    "again": b"",
}


def effect_sweep(case: Case, maps: Maps) -> Iterator[Program]:
    """What is left behind every helper."""
    checked = packet(case, 7)
    before = PROLOGUE + (pointers(case, maps)["packet"] if checked else copy(7, 6))
    for row in helpers.HELPERS:
        if access.grant(row.id, case.prog.type, case.attach, target=case.target) is None:
            continue
        helper = helpers.proto_for(row.id, case.prog.type, case.attach)
        code = b"".join(right(case, maps, helper, arg, i) for i, arg in enumerate(helper.args, 1))
        code += call(row.id)
        for name, after in AFTER.items():
            again = code if name == "again" else b""
            yield Program(case, before + code + after + again + EXIT, f"{helper.name}: {name}")
