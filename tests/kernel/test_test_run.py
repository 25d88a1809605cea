"""BPF_PROG_TEST_RUN on a Machine and on the running kernel: the same bytes, numbers, errors."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.linux import Linux
from anybpf.machine import Machine
from kernel.runs import Case, run

pytestmark = pytest.mark.kernel

XDP, CLS, ACT = uapi.BPF_PROG_TYPE_XDP, uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT
SOCKET, CGROUP = uapi.BPF_PROG_TYPE_SOCKET_FILTER, uapi.BPF_PROG_TYPE_CGROUP_SKB
LWT_IN, LWT_XMIT = uapi.BPF_PROG_TYPE_LWT_IN, uapi.BPF_PROG_TYPE_LWT_XMIT
RAW_TP, SYSCALL = uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, uapi.BPF_PROG_TYPE_SYSCALL
FLOW, KPROBE = uapi.BPF_PROG_TYPE_FLOW_DISSECTOR, uapi.BPF_PROG_TYPE_KPROBE

PASS = "r0 = 2; exit"
ZERO = "r0 = 0; exit"
ONE = "r0 = 1; exit"

MACS = bytes(6) + bytes([2, 1, 2, 3, 4, 5])
IP4 = bytes.fromhex("45000028000040004011") + b"\0\0" + bytes([10, 1, 2, 3, 10, 4, 5, 6])
IP4 += bytes.fromhex("1234003500140000") + bytes(12)
IP6 = bytes.fromhex("6000000000143b40") + bytes(range(16)) + bytes(range(16, 32)) + bytes(20)
FRAMES = {
    "ipv4": MACS + b"\x08\0" + IP4,
    "ipv4 broadcast": b"\xff" * 6 + bytes(6) + b"\x08\0" + IP4,
    "ipv4 multicast": b"\1" * 6 + bytes(6) + b"\x08\0" + IP4,
    "ipv4 other host": b"\2" * 6 + bytes(6) + b"\x08\0" + IP4,
    "ipv6": MACS + b"\x86\xdd" + IP6,
    "ipv4 cut": MACS + b"\x08\0" + IP4[:19],
    "ipv4 header": MACS + b"\x08\0" + IP4[:20],
    "ipv6 cut": MACS + b"\x86\xdd" + IP6[:39],
    "ipv6 header": MACS + b"\x86\xdd" + IP6[:40],
    "vlan": MACS + bytes.fromhex("8100006408004500") + bytes(30),
    "802.3": MACS + b"\x00\x30\x42\x42" + bytes(40),
    "802.3 raw": MACS + b"\x00\x30\xff\xff" + bytes(40),
    "802.3 alone": MACS + b"\x00\x30",
    "length 0x600": MACS + b"\x06\0" + bytes(8),
    "length 0x5ff": MACS + b"\x05\xff" + bytes(8),
    "arp": MACS + b"\x08\x06" + bytes(28),
}
SKB_FIELDS = {
    "len": (0, 4), "pkt_type": (4, 4), "mark": (8, 4), "queue_mapping": (12, 4),
    "protocol": (16, 4), "vlan_present": (20, 4), "vlan_tci": (24, 4), "vlan_proto": (28, 4),
    "priority": (32, 4), "ingress_ifindex": (36, 4), "ifindex": (40, 4), "tc_index": (44, 4),
    "cb0": (48, 4), "cb4": (64, 4), "hash": (68, 4), "tc_classid": (72, 4), "napi_id": (84, 4),
    "tstamp": (152, 8), "wire_len": (160, 4), "gso_segs": (164, 4), "gso_size": (176, 4),
    "tstamp_type": (180, 1), "hwtstamp": (184, 8),
}
SOCKET_FIELDS = {
    "family": (88, 4), "remote_ip4": (92, 4), "local_ip4": (96, 4), "remote_ip6": (100, 4),
    "remote_ip6[3]": (112, 4), "local_ip6": (116, 4), "local_ip6[3]": (128, 4),
    "remote_port": (132, 4), "local_port": (136, 4),
}
WIDTHS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


def skb_ctx(**members: int) -> bytes:
    """A struct __sk_buff with some members set."""
    raw = bytearray(192)
    for name, value in members.items():
        offset, size = SKB_FIELDS[name]
        raw[offset:offset + size] = value.to_bytes(size, "little")
    return bytes(raw)


def xdp_ctx(data: int = 0, data_end: int = 60, data_meta: int = 0, ingress: int = 0,
            queue: int = 0, egress: int = 0) -> bytes:
    return struct.pack("<6I", data, data_end, data_meta, ingress, queue, egress)


def xdp_cases() -> Iterator[tuple[str, Case]]:
    base = Case(XDP, PASS)
    for size in (0, 1, 13, 14, 60, 3519, 3520, 3521, 4000, 4096, 4097):
        yield f"xdp {size} bytes", dataclasses.replace(base, data=bytes(range(256)) * 17,
                                                       data_size_in=size)
    for size in (3521, 9000, 20000, 60000):
        yield f"xdp {size} bytes in fragments", dataclasses.replace(
            base, data=bytes(range(251)) * (size // 251 + 1), data_size_in=size,
            data_size_out=69000, prog_flags=uapi.BPF_F_XDP_HAS_FRAGS)
    for room in (0, 1, 13, 14, 59, 60, 61):
        yield f"xdp room {room}", dataclasses.replace(base, data_size_out=room)
    for room in (100, 479, 480, 481, 1000, 3999, 4000):
        yield f"xdp fragments, room {room}", dataclasses.replace(
            base, data=bytes(range(250)) * 16, data_size_out=room,
            prog_flags=uapi.BPF_F_XDP_HAS_FRAGS)
    for room in (5480, 5481, 6000, 8999):
        yield f"xdp many fragments, room {room}", dataclasses.replace(
            base, data=bytes(range(250)) * 36, data_size_out=room)
    for size in (3520 + 17 * 4096, 3520 + 17 * 4096 + 1, 1 << 20):
        yield f"xdp {size} bytes", dataclasses.replace(base, data=bytes(size), data_size_out=64)
    yield "xdp no output", dataclasses.replace(base, data_out=False, data_size_out=0)
    yield "xdp no output but room", dataclasses.replace(base, data_out=False, data_size_out=20)
    yield "xdp bad address", dataclasses.replace(base, bad_data=16)
    yield "xdp bad address, too short", dataclasses.replace(base, bad_data=16, data_size_in=5)
    yield "xdp no data", dataclasses.replace(base, data=None)
    yield "xdp size without data", dataclasses.replace(base, data=None, data_size_in=60)
    for flags in (1, 4, 8, 1 << 31):
        yield f"xdp flags {flags}", dataclasses.replace(base, flags=flags)
    yield "xdp cpu", dataclasses.replace(base, cpu=1)
    yield "xdp batch", dataclasses.replace(base, batch_size=1)
    yield "xdp live batch too big", dataclasses.replace(base, flags=2, batch_size=257)
    yield "xdp repeat", dataclasses.replace(base, repeat=3, text=GROW)
    for attach in (uapi.BPF_XDP_DEVMAP, uapi.BPF_XDP_CPUMAP, uapi.BPF_XDP):
        yield f"xdp attach type {attach}", dataclasses.replace(base, attach_type=attach)
    for data in (0, 4, 5, 8, 32, 44, 46, 48, 56, 60, 61, 216, 220, 252, 256):
        yield f"xdp ctx data {data}", dataclasses.replace(
            base, ctx=xdp_ctx(data), ctx_size_out=24)
        yield f"xdp ctx data {data} of 600", dataclasses.replace(
            base, ctx=xdp_ctx(data, 600), data=bytes(range(200)) * 3, ctx_size_out=24)
    for end in (0, 3, 13, 14, 50, 61):
        yield f"xdp ctx data_end {end}", dataclasses.replace(
            base, ctx=xdp_ctx(0, end), ctx_size_out=24)
    yield "xdp ctx big", dataclasses.replace(
        base, ctx=xdp_ctx(8, 4000), data=bytes(4000), ctx_size_out=24)
    for name, ctx in {"meta": xdp_ctx(data_meta=1), "ingress": xdp_ctx(ingress=1),
                      "no device": xdp_ctx(ingress=999), "egress": xdp_ctx(egress=1),
                      "queue": xdp_ctx(queue=1), "queue of lo": xdp_ctx(ingress=1, queue=1),
                      "short": xdp_ctx()[:8], "none": b"\0",
                      "long": xdp_ctx() + bytes(8), "long, not zero": xdp_ctx() + b"\1" * 8,
                      }.items():
        yield f"xdp ctx {name}", dataclasses.replace(base, ctx=ctx, ctx_size_out=24)
    for room in (0, 1, 8, 24, 30):
        yield f"xdp ctx room {room}", dataclasses.replace(base, ctx=xdp_ctx(), ctx_size_out=room)
        yield f"xdp ctx only out, room {room}", dataclasses.replace(base, ctx_size_out=room)
    yield "xdp both rooms short", dataclasses.replace(
        base, ctx=xdp_ctx(), ctx_size_out=8, data_size_out=8)
    for name, offset in {"ingress": 12, "queue": 16}.items():
        yield f"xdp reads {name}", dataclasses.replace(
            base, text=f"r0 = *(u32 *)(r1 + {offset}); exit", ctx=xdp_ctx(ingress=1))
        yield f"xdp reads {name} of nobody", dataclasses.replace(
            base, text=f"r0 = *(u32 *)(r1 + {offset}); exit")
    yield "xdp length", dataclasses.replace(base, text=LENGTH)
    yield "xdp length with metadata", dataclasses.replace(base, text=LENGTH, ctx=xdp_ctx(8))
    yield "xdp metadata", dataclasses.replace(base, text=META, ctx=xdp_ctx(8))
    yield "xdp wide return", dataclasses.replace(base, text="r0 = -1; exit")


GROW = "r2 = -4; call 44; r0 = 2; exit"
LENGTH = "r0 = *(u32 *)(r1 + 4); r1 = *(u32 *)(r1 + 0); r0 -= r1; exit"
META = "r0 = *(u32 *)(r1 + 0); r1 = *(u32 *)(r1 + 8); r0 -= r1; exit"


def skb_cases() -> Iterator[tuple[str, Case]]:
    ipv4 = FRAMES["ipv4"]
    base = Case(CLS, ZERO, data=ipv4, ctx_size_out=192)
    for size in (0, 13, 14, 3712, 3713, 3968, 4096, 70000):
        yield f"cls {size} bytes", dataclasses.replace(
            base, data=bytes(range(250)) * 300, data_size_in=size)
    for room in (0, 13, 53, 54):
        yield f"cls room {room}", dataclasses.replace(base, data_size_out=room)
    for room in (1, 100, 191, 200):
        yield f"cls ctx room {room}", dataclasses.replace(base, ctx_size_out=room)
    for flags in (1, 2, 8, 6):
        yield f"cls flags {flags}", dataclasses.replace(base, flags=flags)
    yield "cls checksum complete", dataclasses.replace(base, flags=4)
    yield "cls checksum broken", dataclasses.replace(base, flags=4, text=BREAK)
    yield "socket checksum complete", dataclasses.replace(base, flags=4, prog_type=SOCKET)
    yield "cls cpu", dataclasses.replace(base, cpu=1)
    yield "cls batch", dataclasses.replace(base, batch_size=1)
    yield "cls bad address", dataclasses.replace(base, bad_data=16)
    yield "cls no data", dataclasses.replace(base, data=None)
    for offset in range(0, 192, 4):
        ctx = bytearray(192)
        ctx[offset] = 1
        yield f"cls ctx one at {offset}", dataclasses.replace(base, ctx=bytes(ctx))
    for members in ({"wire_len": 53}, {"wire_len": 54}, {"wire_len": 65536},
                    {"wire_len": 65537}, {"gso_segs": 65535}, {"gso_segs": 65536},
                    {"gso_size": 70000}, {"ifindex": 1}, {"ifindex": 999}, {"hwtstamp": 1 << 40},
                    {"ingress_ifindex": 77}, {"tstamp": 1 << 60}, {"cb0": 5, "cb4": 7}):
        yield f"cls ctx {members}", dataclasses.replace(base, ctx=skb_ctx(**members))
    full = skb_ctx(mark=5)
    for name, ctx in {"short": full[:12], "long": full + bytes(8), "not zero": full + b"\1"
                      }.items():
        yield f"cls ctx {name}", dataclasses.replace(base, ctx=ctx)
    for frame, data in FRAMES.items():
        for kind, name in ((CLS, "cls"), (SOCKET, "socket"), (LWT_IN, "lwt_in"),
                           (LWT_XMIT, "lwt_xmit"), (ACT, "act")):
            yield f"{name} {frame}", dataclasses.replace(base, data=data, prog_type=kind)
    yield "cls write", dataclasses.replace(base, text=WRITE)
    yield "cls write, repeat", dataclasses.replace(base, text=WRITE, repeat=3)
    for kind, name in ((CLS, "cls"), (ACT, "act")):
        for offset in (12, 44, 72):
            # a queue that does not fit 16 bits is ignored by the kernel; the Machine cuts it
            for value in (1, 0x1234, 0xfffe, *((0x12345,) if offset != 12 else ())):
                yield f"{name} stores {value:#x} at {offset}", dataclasses.replace(
                    base, prog_type=kind, text=f"r2 = {value}; *(u32 *)(r1 + {offset}) = r2; "
                                               f"r0 = *(u32 *)(r1 + {offset}); exit")
        yield f"{name} stores", dataclasses.replace(base, text=STORES, prog_type=kind)


BREAK = """
r2 = *(u32 *)(r1 + 76); r3 = *(u32 *)(r1 + 80); r4 = r2; r4 += 40
if r4 > r3 goto out
*(u8 *)(r2 + 30) = 77
out: r0 = 0; exit
"""
WRITE = """
r2 = *(u32 *)(r1 + 76); r3 = *(u32 *)(r1 + 80); r4 = r2; r4 += 14
if r4 > r3 goto out
r5 = *(u8 *)(r2 + 1); r5 += 1; *(u8 *)(r2 + 1) = r5
out: r0 = 0; exit
"""
STORES = """
r2 = 0x12345
*(u32 *)(r1 + 8) = r2
*(u32 *)(r1 + 32) = r2
*(u32 *)(r1 + 48) = r2
*(u16 *)(r1 + 54) = r2
*(u8 *)(r1 + 67) = r2
*(u64 *)(r1 + 152) = r2
r0 = *(u64 *)(r1 + 48); r3 = *(u32 *)(r1 + 64); r0 += r3
exit
"""


def skb_field_cases() -> Iterator[tuple[str, Case]]:
    """Every field that a program may read, for packets of several protocols and types."""
    ctx = skb_ctx(mark=3, priority=4, ingress_ifindex=5, cb0=6, cb4=7, tstamp=8 << 33, wire_len=99,
                  gso_segs=9, gso_size=70001, hwtstamp=10 << 33)
    hidden = {"tc_classid", "wire_len", "tstamp", "tstamp_type", "hwtstamp"}
    for name, (offset, size) in SKB_FIELDS.items():
        text = f"r0 = *({WIDTHS[size]} *)(r1 + {offset}); r1 = r0; r1 >>= 32; r0 += r1; exit"
        for kind in (CLS, SOCKET, LWT_IN):
            if kind == CLS or name not in hidden:
                for frame in ("ipv4", "ipv4 multicast", "802.3", "vlan"):
                    yield f"{kind} {frame} reads {name}", Case(kind, text, data=FRAMES[frame])
                yield f"{kind} reads {name} of ctx", Case(kind, text, data=FRAMES["ipv4"], ctx=ctx)
    for name, (offset, size) in SOCKET_FIELDS.items():
        text = f"r0 = *({WIDTHS[size]} *)(r1 + {offset}); *(u32 *)(r1 + 48) = r0; r0 = 1; exit"
        for frame in ("ipv4", "ipv6", "arp", "ipv4 header", "ipv6 header"):
            yield f"cgroup {frame} reads {name}", Case(
                CGROUP, text, data=FRAMES[frame], ctx_size_out=192)
    yield "cgroup length", Case(CGROUP, CGROUP_LENGTH, data=FRAMES["ipv4"], ctx_size_out=192)


CGROUP_LENGTH = """
r2 = *(u32 *)(r1 + 80); r3 = *(u32 *)(r1 + 76); r2 -= r3
*(u32 *)(r1 + 48) = r2
r0 = 1; exit
"""


def plain_cases() -> Iterator[tuple[str, Case]]:
    """raw_tracepoint and syscall programs, and types that have no test run."""
    for kind, name, flags in ((RAW_TP, "raw_tp", 0), (SYSCALL, "syscall", uapi.BPF_F_SLEEPABLE)):
        base = Case(kind, "r0 = 7; exit", data=None, data_out=False, data_size_out=0,
                    prog_flags=flags)
        reads = dataclasses.replace(base, text="r0 = *(u64 *)(r1 + 16); exit")
        yield f"{name}", base
        yield f"{name} reads", dataclasses.replace(reads, ctx=struct.pack("<3Q", 1, 2, 3))
        for size in (8, 23, 24):
            yield f"{name} ctx of {size}, reads 24", dataclasses.replace(reads, ctx=bytes(size))
        for size in (1, 8, 23, 96, 97, 4000, 65535, 65536):
            yield f"{name} ctx of {size}", dataclasses.replace(base, ctx=bytes(size))
        for option in ({"flags": 1}, {"flags": 2}, {"flags": 4}, {"cpu": 1}, {"repeat": 1},
                       {"cpu": 1, "flags": 1}, {"cpu": 1000, "flags": 1}, {"cpu": 0, "flags": 1},
                       {"duration": 1}, {"batch_size": 1}, {"ctx_size_out": 8},
                       {"data": bytes(20)}, {"data_size_in": 4}, {"data_size_out": 4},
                       {"data_out": True}):
            yield f"{name} {option}", dataclasses.replace(base, **option)
    yield "syscall writes ctx", Case(
        SYSCALL, "r2 = 0x11223344; *(u32 *)(r1 + 4) = r2; r0 = 0; exit", data=None, data_out=False,
        data_size_out=0, ctx=bytes(8), prog_flags=uapi.BPF_F_SLEEPABLE)
    for kind in (KPROBE, uapi.BPF_PROG_TYPE_CGROUP_SOCK, uapi.BPF_PROG_TYPE_SOCK_OPS,
                 uapi.BPF_PROG_TYPE_SK_MSG, uapi.BPF_PROG_TYPE_CGROUP_DEVICE):
        yield f"type {kind} has none", Case(kind, ZERO)


def flow_cases() -> Iterator[tuple[str, Case]]:
    base = Case(FLOW, ZERO, data=FRAMES["ipv4"])
    for name, data in FRAMES.items():
        yield f"flow {name}", dataclasses.replace(base, data=data)
    for size in (13, 14, 4000, 4096, 4097):
        yield f"flow {size}", dataclasses.replace(base, data=bytes(5000), data_size_in=size)
    for thoff in (0, 20, 54, 55, 65535):
        yield f"flow thoff {thoff}", dataclasses.replace(
            base, text=f"r1 = *(u64 *)(r1 + 144); *(u16 *)(r1 + 2) = {thoff}; "
                       f"*(u16 *)(r1 + 0) = {thoff}; *(u32 *)(r1 + 16) = 7; r0 = 0; exit")
    for offset in range(0, 56, 4):
        ctx = bytearray(56)
        ctx[offset] = 1
        yield f"flow ctx one at {offset}", dataclasses.replace(
            base, ctx=bytes(ctx), ctx_size_out=56)
    for flags in (1, 2, 4):
        yield f"flow flags {flags}", dataclasses.replace(base, flags=flags)
    yield "flow room", dataclasses.replace(base, data_size_out=10)


CASES = dict([*xdp_cases(), *skb_cases(), *skb_field_cases(), *plain_cases(), *flow_cases()])


@pytest.mark.parametrize("name", CASES)
def test_machine_does_what_the_kernel_does(name: str, machine: Machine, kernel: Linux) -> None:
    assert run(machine, CASES[name]) == run(kernel, CASES[name])
