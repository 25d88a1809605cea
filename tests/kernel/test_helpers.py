"""Helpers on a Machine and on the running kernel: the same results, bytes and errors."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import pytest

from anybpf import uapi
from anybpf.linux import Linux
from anybpf.machine import Machine
from kernel.runs import Case, MapSpec, run
from kernel.test_test_run import ACT, CLS, FRAMES, LWT_XMIT, SOCKET, SYSCALL, XDP, skb_ctx, xdp_ctx

pytestmark = pytest.mark.kernel

ARRAY, HASH = uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_HASH
FRAGS = uapi.BPF_F_XDP_HAS_FRAGS
ZERO_KEY = bytes(4)
F = {name.removeprefix("BPF_FUNC_"): number for name, number in vars(uapi).items()
     if name.startswith("BPF_FUNC_")}


def scratch(size: int = 256) -> MapSpec:
    return MapSpec(ARRAY, 4, size, 1)


def constant(data: bytes) -> MapSpec:
    """A frozen map of one value, whose strings the verifier takes for constant."""
    return MapSpec(ARRAY, 4, len(data), 1, {ZERO_KEY: data}, uapi.BPF_F_RDONLY_PROG)


def calls(helper: str, *args: int | str, after: str = "exit") -> str:
    """A program that calls a helper with the context in r1 and numbers in r2 and so on."""
    lines = ["r6 = r1"]
    lines += [f"r{i} = {arg}" + ("" if isinstance(arg, int) and -2**31 <= arg < 2**31 else " ll")
              for i, arg in enumerate(args, 2)]
    return "\n".join([*lines, f"call {F[helper]}", after])


# --- XDP ---

def xdp_cases() -> Iterator[tuple[str, Case]]:
    frame = bytes(range(60))
    base = Case(XDP, "", data=frame, ctx=xdp_ctx(), ctx_size_out=24)
    for delta in (-300, -217, -216, -215, -10, -1, 0, 1, 10, 46, 47, 100, 1 << 31):
        yield f"xdp_adjust_head {delta}", dataclasses.replace(
            base, text=calls("xdp_adjust_head", delta))
        yield f"xdp_adjust_head {delta} with metadata", dataclasses.replace(
            base, text=calls("xdp_adjust_head", delta), ctx=xdp_ctx(8))
    for delta in (-300, -220, -217, -216, -212, -10, -8, -4, -1, 0, 1, 4, 8):
        yield f"xdp_adjust_meta {delta}", dataclasses.replace(
            base, text=calls("xdp_adjust_meta", delta))
        yield f"xdp_adjust_meta {delta} with metadata", dataclasses.replace(
            base, text=calls("xdp_adjust_meta", delta), ctx=xdp_ctx(8))
    for delta in (-100, -47, -46, -45, -1, 0, 1, 100, 3459, 3460, 3461, 4000):
        yield f"xdp_adjust_tail {delta}", dataclasses.replace(
            base, text=calls("xdp_adjust_tail", delta))
        yield f"xdp_adjust_tail {delta} with metadata", dataclasses.replace(
            base, text=calls("xdp_adjust_tail", delta), ctx=xdp_ctx(8))
    big = dataclasses.replace(base, data=bytes(range(250)) * 36, ctx=None, ctx_size_out=0,
                              data_size_out=20000, prog_flags=FRAGS)
    for delta in (-8987, -8986, -8985, -5480, -5479, -5481, -1384, -1385, -1, 1, 2712, 2713):
        yield f"xdp_adjust_tail {delta} of fragments", dataclasses.replace(
            big, text=calls("xdp_adjust_tail", delta))
    for offset in (0, 1, 3510, 3519, 3520, 3600, 8990, 8992, 8993, 9000, 65535, 65536):
        yield f"xdp_load_bytes at {offset}", dataclasses.replace(
            big, text=xdp_bytes("xdp_load_bytes", offset))
        yield f"xdp_store_bytes at {offset}", dataclasses.replace(
            big, text=xdp_bytes("xdp_store_bytes", offset))
        yield f"xdp_load_bytes at {offset} of 60", dataclasses.replace(
            base, text=xdp_bytes("xdp_load_bytes", offset))
    yield "xdp_get_buff_len", dataclasses.replace(base, text=calls("xdp_get_buff_len"))
    yield "xdp_get_buff_len of fragments", dataclasses.replace(
        big, text=calls("xdp_get_buff_len"))
    for flags in (0, 1):
        yield f"redirect {flags}", dataclasses.replace(
            base, text=f"r1 = 1; r2 = {flags}; call {F['redirect']}; exit")
    yield "fib_lookup", dataclasses.replace(base, text=FIB.format(ifindex=1, family=2, size=64))
    yield "fib_lookup family", dataclasses.replace(
        base, text=FIB.format(ifindex=1, family=3, size=64))
    yield "fib_lookup short", dataclasses.replace(
        base, text=FIB.format(ifindex=1, family=2, size=63))
    yield "fib_lookup no device", dataclasses.replace(
        base, text=FIB.format(ifindex=999, family=2, size=64))


def xdp_bytes(helper: str, offset: int) -> str:
    return f"""
r2 = 0x44332211; *(u64 *)(r10 - 8) = r2
r2 = {offset}; r3 = r10; r3 += -8; r4 = 8
call {F[helper]}
r1 = *(u64 *)(r10 - 8); r2 = r1; r2 >>= 32; r1 ^= r2; r1 <<= 8; r0 += r1
exit
"""


FIB = """
r2 = 0
*(u64 *)(r10 - 64) = r2; *(u64 *)(r10 - 56) = r2; *(u64 *)(r10 - 48) = r2; *(u64 *)(r10 - 40) = r2
*(u64 *)(r10 - 32) = r2; *(u64 *)(r10 - 24) = r2; *(u64 *)(r10 - 16) = r2; *(u64 *)(r10 - 8) = r2
r2 = {family}; *(u8 *)(r10 - 64) = r2
r2 = {ifindex}; *(u32 *)(r10 - 56) = r2
r2 = r10; r2 += -64; r3 = {size}; r4 = 0
call 69
exit
"""


# --- socket buffers ---

def skb_cases() -> Iterator[tuple[str, Case]]:
    ipv4, ipv6 = FRAMES["ipv4"], FRAMES["ipv6"]
    base = Case(CLS, "", data=ipv4, ctx_size_out=192)
    for name in ("ipv4", "ipv6", "arp", "vlan"):
        data = FRAMES[name]
        for length in (0, 13, 14, 15, 40, len(data), len(data) + 1, 3000, 16064, 16065, 70000):
            yield f"skb_change_tail {length} {name}", dataclasses.replace(
                base, data=data, text=calls("skb_change_tail", length, 0), data_size_out=20000)
        for room in (0, 1, 14, 64, 65, 1000, 16010, 16064, -1, 1 << 31):
            yield f"skb_change_head {room} {name}", dataclasses.replace(
                base, data=data, text=calls("skb_change_head", room, 0), data_size_out=20000)
        for proto in (0x0008, 0xdd86, 0x0608):
            yield f"skb_change_proto {proto:#x} {name}", dataclasses.replace(
                base, data=data, text=then_field("skb_change_proto", proto, 0))
        yield from room_cases(dataclasses.replace(base, data=data), name)
        yield f"skb_vlan_push {name}", dataclasses.replace(
            base, data=data, text=vlan("push"))
        yield f"skb_vlan_push twice {name}", dataclasses.replace(
            base, data=data, text=vlan("push", "push"))
        yield f"skb_vlan_push three {name}", dataclasses.replace(
            base, data=data, text=vlan("push", "push", "push"), flags=4)
        yield f"skb_vlan_pop {name}", dataclasses.replace(base, data=data, text=vlan("pop"))
        yield f"skb_vlan_push push pop {name}", dataclasses.replace(
            base, data=data, text=vlan("push", "push", "pop"), flags=4)
        yield f"skb_vlan_push pop pop {name}", dataclasses.replace(
            base, data=data, text=vlan("push", "pop", "pop"))
        for offset in (0, 14, len(data) - 8, len(data) - 7, 1 << 31, -1):
            for flags in (0, 1, 2, 3, 4):
                yield f"skb_store_bytes {offset} {flags} {name}", dataclasses.replace(
                    base, data=data, text=skb_bytes("skb_store_bytes", offset, flags), flags=4)
            yield f"skb_load_bytes {offset} {name}", dataclasses.replace(
                base, data=data, text=skb_bytes("skb_load_bytes", offset))
            for start in (0, 1, 2):
                yield f"skb_load_bytes_relative {offset} {start} {name}", dataclasses.replace(
                    base, data=data, text=skb_bytes("skb_load_bytes_relative", offset, start))
                yield f"socket load relative {offset} {start} {name}", dataclasses.replace(
                    base, data=data, prog_type=SOCKET,
                    text=skb_bytes("skb_load_bytes_relative", offset, start))
    for flags in (1, 1 << 40):
        yield f"skb_change_tail flags {flags}", dataclasses.replace(
            base, text=calls("skb_change_tail", 40, flags))
    for length in (0, 20, 54, 55):
        yield f"skb_pull_data {length}", dataclasses.replace(
            base, text=calls("skb_pull_data", length))
    for kind in (0, 3, 4, 7, -1):
        yield f"skb_change_type {kind}", dataclasses.replace(
            base, text=calls("skb_change_type", kind, after="r0 <<= 8; r1 = *(u32 *)(r6 + 4); "
                                                            "r0 += r1; exit"))
    yield "set_hash", dataclasses.replace(
        base, text=calls("set_hash", 0x1234, after=f"r1 = r6; call {F['get_hash_recalc']}; exit"))
    yield "set_hash_invalid", dataclasses.replace(
        base, text=calls("set_hash", 7, after=f"r1 = r6; call {F['set_hash_invalid']}; "
                                              "r0 = *(u32 *)(r6 + 68); exit"))
    for tstamp in (0, 1, 1 << 40):
        for clock in (0, 1, 2, 3):
            for name in ("ipv4", "arp"):
                yield f"skb_set_tstamp {tstamp} {clock} {name}", dataclasses.replace(
                    base, data=FRAMES[name], text=calls("skb_set_tstamp", tstamp, clock))
    for tos in range(4):
        for name, data in (("ipv4", ipv4), ("ipv6", ipv6)):
            marked = bytearray(data)
            marked[15] |= tos << (4 if name == "ipv6" else 0)
            yield f"skb_ecn_set_ce {tos} {name}", dataclasses.replace(
                base, data=bytes(marked), text=calls("skb_ecn_set_ce"))
    yield "skb_ecn_set_ce arp", dataclasses.replace(
        base, data=FRAMES["arp"], text=calls("skb_ecn_set_ce"))
    for name in ("get_socket_uid", "get_cgroup_classid", "get_route_realm"):
        yield name, dataclasses.replace(base, text=calls(name))
    for flags in (0, 1, 2, 4):
        yield f"tc redirect {flags}", dataclasses.replace(
            base, text=f"r1 = 1; r2 = {flags}; call {F['redirect']}; exit")
        yield f"redirect_peer {flags}", dataclasses.replace(
            base, text=f"r1 = 1; r2 = {flags}; call {F['redirect_peer']}; exit")
        yield f"redirect_neigh {flags}", dataclasses.replace(
            base, text=f"r1 = 1; r2 = 0; r3 = 0; r4 = {flags}; call {F['redirect_neigh']}; exit")
    for ifindex, flags in ((999, 0), (1, 8), (1, 4)):
        yield f"clone_redirect {ifindex} {flags}", dataclasses.replace(
            base, text=calls("clone_redirect", ifindex, flags))
    for name in ("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp"):
        for size in (12, 36):
            yield f"{name} {size}", dataclasses.replace(base, text=SK_LOOKUP.format(
                size=size, id=F[name], release=F["sk_release"]))
    yield "sk_fullsock", dataclasses.replace(base, text=FULLSOCK)
    yield "clone_redirect gso", dataclasses.replace(
        base, text=calls("clone_redirect", 1, 0), ctx=skb_ctx(gso_size=10))
    yield "lwt_xmit change_head", dataclasses.replace(
        base, prog_type=LWT_XMIT, text=calls("skb_change_head", 20, 0))
    yield "act change_tail", dataclasses.replace(
        base, prog_type=ACT, text=calls("skb_change_tail", 20, 0))
    for gso in (0, 100):
        yield f"change_tail gso {gso}", dataclasses.replace(
            base, ctx=skb_ctx(gso_size=gso, gso_segs=3), text=calls("skb_change_tail", 20, 0))
    for offset in (0, 10, 50, 51, 53, -1048576, -1048570, -2097152, -2097140, 1000):
        for size in ("u8", "u16", "u32"):
            yield f"legacy load {size} {offset}", dataclasses.replace(
                base, prog_type=SOCKET, text=f"r6 = r1; r0 = *({size} *)skb[{offset}]; exit")
            yield f"legacy load {size} {offset} of tc", dataclasses.replace(
                base, text=f"r6 = r1; r7 = {offset}; r0 = *({size} *)skb[r7]; exit")
    for offset in (5, 5000):
        yield f"legacy load {offset} in a function", dataclasses.replace(
            base, prog_type=SOCKET, text=LEGACY_LOAD.format(offset=offset), callbacks=("f", "g"))


#: a load outside of the packet leaves only its own function
LEGACY_LOAD = """
r6 = r1
call f
r0 += 100
exit
f: r6 = r1
call g
r0 += 30
exit
g: r6 = r1
r0 = *(u8 *)skb[{offset}]
r0 = 9
exit
"""
SK_LOOKUP = """
r2 = 0x0123456789abcdef ll
*(u64 *)(r10 - 40) = r2; *(u64 *)(r10 - 32) = r2; *(u64 *)(r10 - 24) = r2
*(u64 *)(r10 - 16) = r2; *(u64 *)(r10 - 8) = r2
r2 = r10; r2 += -40; r3 = {size}; r4 = -1; r5 = 0
call {id}
if r0 == 0 goto none
r1 = r0; call {release}
r0 = 1; exit
none: r0 = 2; exit
"""
FULLSOCK = """
r1 = *(u64 *)(r1 + 168)
if r1 == 0 goto none
call 95
if r0 == 0 goto none
r1 = *(u32 *)(r0 + 4); r2 = *(u32 *)(r0 + 24); r1 <<= 8; r0 = r1; r0 ^= r2
exit
none: r0 = 1; exit
"""


def then_field(helper: str, *args: int, field: int = 16) -> str:
    """Call, then leave a field of __sk_buff in the upper bits of the answer."""
    return calls(helper, *args, after=f"r1 = *(u32 *)(r6 + {field}); r1 <<= 16; r0 ^= r1; exit")


def room_cases(base: Case, name: str) -> Iterator[tuple[str, Case]]:
    for delta in (-60, -41, -21, -20, -4, 0, 4, 20, 40, 500, 4095, 4096, -4095, -4096):
        for mode in (0, 1, 2):
            yield f"skb_adjust_room {delta} {mode} {name}", dataclasses.replace(
                base, text=then_field("skb_adjust_room", delta, mode, 0), data_size_out=8000)
    for flags in (2, 4, 6, 8, 10, 16, 18, 24, 26, 32, 64, 66, 66 | 14 << 56, 66 | 13 << 56,
                  2 | 30 << 56, 12 | 14 << 56, 128, 256, 384, 512, 1 << 30):
        for delta in (28, -20):
            yield f"skb_adjust_room {delta} flags {flags:#x} {name}", dataclasses.replace(
                base, text=then_field("skb_adjust_room", delta, 1, flags))
    twice = calls("skb_adjust_room", 20, 1, 2, after="\n".join((
        "r7 = r0", "r1 = r6", "r2 = 20", "r3 = 1", "r4 = 2", f"call {F['skb_adjust_room']}",
        "exit")))
    yield f"skb_adjust_room encap twice {name}", dataclasses.replace(base, text=twice)


def vlan(*steps: str) -> str:
    """Push or pop tags; the answers and the tag beside the packet go to cb."""
    lines = ["r6 = r1", "r7 = 0"]
    for i, step in enumerate(steps):
        lines += ["r1 = r6", f"r2 = {0xa888 if i else 0}", f"r3 = {0x1064 + i}",
                  f"call {F['skb_vlan_' + step]}", "r7 <<= 8", "r7 += r0"]
    for i, field in enumerate((20, 24, 28, 16)):
        lines += [f"r1 = *(u32 *)(r6 + {field})", f"*(u32 *)(r6 + {48 + 4 * i}) = r1"]
    return "\n".join([*lines, "r0 = r7", "exit"])


def skb_bytes(helper: str, offset: int, last: int | None = None) -> str:
    tail = "" if last is None else f"r5 = {last}"
    return f"""
r6 = r1
r2 = 0x44332211; *(u64 *)(r10 - 8) = r2
r2 = {offset}; r3 = r10; r3 += -8; r4 = 8
{tail}
call {F[helper]}
r1 = *(u64 *)(r10 - 8); *(u32 *)(r6 + 48) = r1
r1 >>= 32; *(u32 *)(r6 + 52) = r1
exit
"""


# --- checksums ---

def checksum_cases() -> Iterator[tuple[str, Case]]:
    base = Case(CLS, "", data=FRAMES["ipv4"], ctx_size_out=192)
    words = (0, 1, 0x1234, 0xffff, 0xfffe0001, 0xffffffff, 0x12345678)
    for offset in (0, 24, 25, 52, 53, 54, 65535, 65536, -1):
        for flags in (0, 1, 2, 3, 4, 8, 0x12, 0x10, 0x22, 0x82, 0x100):
            yield f"l3_csum_replace {offset} {flags:#x}", dataclasses.replace(
                base, text=calls("l3_csum_replace", offset, 0x1234, 0x4321, flags))
            yield f"l4_csum_replace {offset} {flags:#x}", dataclasses.replace(
                base, text=calls("l4_csum_replace", offset, 0x1234, 0x4321, flags), flags=4)
    for i, old in enumerate(words):
        new = words[(i * 3 + 2) % len(words)]
        for flags in (0, 2, 4):
            first = old if flags else 0
            for at in (24, 40):
                yield f"l3_csum_replace {old:#x} {new:#x} {flags} {at}", dataclasses.replace(
                    base, text=calls("l3_csum_replace", at, first, new, flags))
                for more in (0x10, 0x20, 0x60, 0x30, 0x90):
                    yield f"l4_csum_replace {old:#x} {new:#x} {flags | more:#x} {at}", (
                        dataclasses.replace(base, text=calls(
                            "l4_csum_replace", at, first, new, flags | more)))
        for seed in (0, 5, -1):
            for n_old, n_new in ((0, 8), (8, 0), (8, 8), (4, 8), (0, 0), (3, 4), (4, 5)):
                yield f"csum_diff {old:#x} {n_old} {n_new} {seed}", dataclasses.replace(
                    base, text=diff(old, new, n_old, n_new, seed))
    for level in (0, 1, 2, 3, 4):
        yield f"csum_level {level}", dataclasses.replace(base, text=calls("csum_level", level))
        yield f"csum_level inc inc {level}", dataclasses.replace(
            base, text=level_after(level))
    yield "csum_update", dataclasses.replace(base, text=calls("csum_update", 5))
    yield "csum_update complete", dataclasses.replace(
        base, text=calls("csum_update", 5), flags=4)


def diff(old: int, new: int, n_old: int, n_new: int, seed: int) -> str:
    return f"""
r1 = {old} ll; *(u64 *)(r10 - 16) = r1
r1 = {new * 3 + 1} ll; *(u64 *)(r10 - 8) = r1
r1 = {"0" if not n_old else "r10"}; {"r1 += -16" if n_old else ""}; r2 = {n_old}
r3 = {"0" if not n_new else "r10"}; {"r3 += -8" if n_new else ""}; r4 = {n_new}
r5 = {seed}
call {F['csum_diff']}
exit
"""


def level_after(level: int) -> str:
    step = f"r1 = r6; r2 = 1; call {F['csum_level']}"
    return "\n".join(["r6 = r1", step, step, f"r1 = r6; r2 = {level}", f"call {F['csum_level']}",
                      "r7 = r0", f"r1 = r6; r2 = 0; call {F['csum_level']}", "r7 <<= 8",
                      "r0 += r7", "exit"])


# --- strings and formats ---

#: format, arguments (numbers, or strings by address)
FORMATS: tuple[tuple[bytes, tuple[int | bytes, ...]], ...] = (
    (b"hi", ()), (b"", ()), (b"%d", (5,)), (b"%5d|", (5,)), (b"%-5d|", (5,)), (b"%05d|", (5,)),
    (b"%+d|% d", (5, 5)), (b"%x %X %lx %llx", (255, 255, -1, -1)), (b"%u %lu", (-1, -1)),
    (b"%i", (-7,)), (b"%d", (1 << 40,)), (b"%d", (1 << 31,)), (b"%ld", (1 << 63,)),
    (b"%c%c", (65, 66)), (b"%5c|", (65,)), (b"%-5c|", (65,)), (b"%c", (0,)), (b"%s", (b"hello",)),
    (b"%8s|", (b"hello",)), (b"%-8s|", (b"hello",)), (b"%08s|", (b"hello",)), (b"%s", (0,)),
    (b"%s", (0xdead,)), (b"%p", (0,)), (b"%px", (0x1234,)), (b"%px", (-1,)),
    (b"%20px|", (0x1234,)), (b"%-20px|", (0x1234,)), (b"%pK", (0,)), (b"%ps", (0x10,)),
    (b"%pS", (0x10,)), (b"%pB", (0x10,)), (b"%pI4", (b"\x0a\1\xc8\3",)),
    (b"%pi4", (b"\x0a\1\xc8\3",)), (b"%pI6", (b"ABCDEFGHIJKLMNOP",)),
    (b"%pi6", (b"ABCDEFGHIJKLMNOP",)), (b"%pI4h|", (b"\x0a\1\xc8\3",)),
    (b"%20pI4|", (b"\x0a\1\xc8\3",)), (b"%pI4", (0,)), (b"%pI6", (0,)), (b"%pks|", (b"kern",)),
    (b"%10pks|", (b"kern",)), (b"%pus|", (b"kern",)), (b"%%|%d", (4,)), (b"%lld", (-5,)),
    (b"%s,%s", (b"a", b"b")), (b"%s.", (b"a",)), (b"\xc3\xa9", ()), (b"\n\t", ()), (b"%dd", (3,)),
    (b"%-+5d|", (3,)), (b"%090d", (3,)), (b"%99999d", (3,)), (b"%5s|", (b"",)),
    (b"% 05d|", (-3,)), (b"%+u", (3,)), (b"%+x", (3,)), (b"%pSR", (3,)), (b"%08x|", (-1,)),
    (b"%-08x|", (1,)), (b"%llx %s %c", (-1, b"zz", 90)), (b"%d" * 12, tuple(range(12))),
    (b"%s%s", (b"x" * 60, b"y" * 60)), (b"%lu", (0,)), (b"%x", (0,)), (b"%+d", (0,)),
    (b"%s%s%s%s", (b"x" * 130, b"y" * 130, b"z" * 130, b"w" * 130)),
    (b"%c%d%c%ld", (65, 1, 66, 2)), (b"%x:%px", (1, 2)),
)


def snprintf(fmt: bytes, args: tuple[int | bytes, ...], size: int) -> Case:
    maps = {"fmt": constant(fmt + b"\0"), "out": scratch()}
    lines = []
    for i, arg in enumerate(args):
        value = f"{arg} ll"
        if isinstance(arg, bytes):
            maps[f"arg{i}"] = constant(arg + b"\0")
            value = f"arg{i}_value ll"
        lines += [f"r1 = {value}", f"*(u64 *)(r10 - {8 * (len(args) - i)}) = r1"]
    lines += ["r1 = out_value ll", f"r2 = {size}", "r3 = fmt_value ll", "r4 = r10",
              f"r4 += -{8 * len(args)}" if args else "r4 = 0", f"r5 = {8 * len(args)}",
              f"call {F['snprintf']}", "exit"]
    return Case(SYSCALL, "\n".join(lines), data=None, data_out=False, data_size_out=0,
                prog_flags=uapi.BPF_F_SLEEPABLE, maps=maps, read=(("out", ZERO_KEY),))


def number_text(helper: str, text: bytes, flags: int) -> Case:
    return Case(SYSCALL, f"""
r1 = in_value ll; r2 = {len(text)}; r3 = {flags} ll; r4 = out_value ll
call {F[helper]}
exit
""", data=None, data_out=False, data_size_out=0, prog_flags=uapi.BPF_F_SLEEPABLE,
                maps={"in": MapSpec(ARRAY, 4, len(text), 1, {ZERO_KEY: text}),
                      "out": scratch(8)}, read=(("out", ZERO_KEY),))


def text_cases() -> Iterator[tuple[str, Case]]:
    for fmt, args in FORMATS:
        for size in (100, 5, 1):
            yield f"snprintf {fmt!r} {args} {size}"[:90], snprintf(fmt, args, size)
    texts = (b"0", b"12", b"-12", b"  7x", b"0x1f", b"0X1F", b"0x", b"0xg", b"017", b"09", b"- 5",
             b"--5", b"+5", b"x", b" ", b"-", b"18446744073709551615", b"18446744073709551616",
             b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
             b"-9223372036854775809", b"\t\n 42 \0", b"0" * 80 + b"5", b" " * 80 + b"5", b"ff",
             b"7\xff", b"\xa05", b"-0", b"1777777777777777777777", b"0x-5", b"123456789abcdef")
    for text in texts:
        for flags in (0, 8, 10, 16, 9, 32, 1 << 40):
            for helper in ("strtol", "strtoul"):
                yield f"{helper} {text!r} {flags}"[:90], number_text(helper, text, flags)
    for a, b in ((b"abc\0", b"abc\0"), (b"abd\0", b"abc\0"), (b"ab\0x", b"ab\0"),
                 (b"abcd", b"abc\0"),
                 (b"\xff\0", b"a\0"), (b"a", b"a\0"), (b"a", b"b\0"), (b"abc", b"abcd\0")):
        yield f"strncmp {a!r} {b!r}", Case(SYSCALL, f"""
r1 = a_value ll; r2 = {len(a)}; r3 = b_value ll
call {F['strncmp']}
exit
""", data=None, data_out=False, data_size_out=0, prog_flags=uapi.BPF_F_SLEEPABLE,
                                           maps={"a": constant(a), "b": constant(b)})


# --- printk's answers, reading memory, loops, maps ---

def other_cases() -> Iterator[tuple[str, Case]]:
    base = Case(XDP, "", data=bytes(range(60)))
    for text, args in ((b"hello %d\n", (1,)), (b"%s", (0,)), (b"%d %d %d", (1, 2, 3)),
                       (b"%d %d %d %d", (1, 2, 3)), (b"\x01", ()), (b"%", ()), (b"%lx", (-1,)),
                       (b"%f", (1,)), (b"no end", None), (b"%-5d|%z", (1,)), (b"%ss", (0,)),
                       (b"%.3d", (1,)), (b"%pI5", (0,)), (b"%hd", (1,)), (b"%llld", (1,))):
        yield f"trace_printk {text!r}", dataclasses.replace(base, text=printk(text, args))
    for name in ("probe_read_kernel", "probe_read_kernel_str", "probe_read", "probe_read_str",
                 "probe_read_user", "probe_read_user_str"):
        for address in ("0", "4096 ll", "0x7fffffffefff ll", "0x8000000000000000 ll",
                        "0xffff800000000000 ll", "r10 + 0", "in_value ll"):
            yield f"{name} of {address}", Case(
                uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, probe(name, address), data=None,
                data_out=False, data_size_out=0,
                maps={"in": constant(b"abc\0defghijklmnop")})
    for count, flags in ((0, 0), (1, 0), (10, 0), (10, 1), (8388608, 0), (8388609, 0), (-1, 0)):
        yield f"loop {count} {flags}", dataclasses.replace(
            base, callbacks=("step",), text=LOOP.format(count=count, flags=flags))
    for size in (1, 8, 15, 16, 24):
        yield f"get_current_comm room {size}", dataclasses.replace(
            base, prog_type=SYSCALL, data=None, data_out=False, data_size_out=0,
            prog_flags=uapi.BPF_F_SLEEPABLE, text=COMM.format(size=size))
    yield "get_smp_processor_id", Case(
        uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, f"call {F['get_smp_processor_id']}; exit", data=None,
        data_out=False, data_size_out=0, cpu=1, flags=1)
    yield "get_numa_node_id", dataclasses.replace(
        base, text=f"call {F['get_numa_node_id']}; exit")
    for flags, data in ((0, 0), (uapi.BPF_F_CURRENT_CPU, 0), (5, 0), (1 << 53, 0), (60 << 32, 0),
                        (61 << 32, 0), (61 << 32 | uapi.BPF_F_CURRENT_CPU, 0)):
        yield f"perf_event_output {flags:#x} {data}", dataclasses.replace(
            base, text=PERF.format(flags=flags), maps={"events": MapSpec(
                uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2)})
    rings = {"ring": MapSpec(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096)}
    for size, flags in ((8, 0), (100, 0), (4088, 0), (4089, 0), (5000, 0), (8, 1), (8, 2), (8, 3),
                        (8, 4)):
        yield f"ringbuf_output {size} {flags}", dataclasses.replace(
            base, text=RING_OUTPUT.format(size=size, flags=flags),
            maps={**rings, "data": scratch(8000)})
        yield f"ringbuf_reserve {size} {flags}", dataclasses.replace(
            base, text=RING_RESERVE.format(size=size, flags=flags), maps=rings)
    for what in range(6):
        yield f"ringbuf_query {what}", dataclasses.replace(
            base, text=RING_QUERY.format(what=what), maps={**rings, "data": scratch(80)})
    for size, flags, offset, length in ((16, 0, 0, 8), (16, 0, 8, 8), (16, 0, 9, 8),
                                        (16, 1, 0, 8), (16, 0, 17, 0), (4, 0, 0, 8)):
        yield f"dynptr {size} {flags} {offset} {length}", dataclasses.replace(
            base, text=DYNPTR.format(size=size, flags=flags, offset=offset, length=length),
            maps={"mem": MapSpec(ARRAY, 4, 16, 1, {ZERO_KEY: b"0123456789abcdef"})},
            read=(("mem", ZERO_KEY),))
    for kind in (HASH, ARRAY, uapi.BPF_MAP_TYPE_LRU_HASH):
        counts = {"sum": scratch(8), "m": MapSpec(kind, 4, 8, 8, {
            struct.pack("<I", i): struct.pack("<Q", i * 3) for i in range(5)})}
        for flags, stop in ((0, 0), (1, 0), (0, 1)):
            yield f"for_each_map_elem {kind} {flags} {stop}", dataclasses.replace(
                base, callbacks=("visit",), maps=counts, read=() if stop else (("sum", ZERO_KEY),),
                text=FOR_EACH.format(flags=flags, stop=stop))


def printk(text: bytes, args: tuple[int, ...] | None) -> str:
    """`text` on the stack, NUL-terminated unless args is None; then trace_printk."""
    raw = text if args is None else text + b"\0"
    padded = raw.ljust((len(raw) + 7) // 8 * 8, b"\0")
    lines = []
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at:at + 8], "little")
        lines += [f"r1 = {word} ll", f"*(u64 *)(r10 - {len(padded) - at}) = r1"]
    lines += ["r1 = r10", f"r1 += -{len(padded)}", f"r2 = {len(raw)}"]
    lines += [f"r{3 + i} = {x} ll" for i, x in enumerate(args or ())]
    return "\n".join([*lines, f"call {F['trace_printk']}", "exit"])


def probe(helper: str, address: str) -> str:
    set_r3 = f"r3 = {address}" if "+" not in address else "r3 = r10; r3 += -8"
    return f"""
r1 = 0x64636261; *(u64 *)(r10 - 8) = r1
r1 = -1; *(u64 *)(r10 - 16) = r1
r1 = r10; r1 += -16; r2 = 7
{set_r3}
call {F[helper]}
r1 = *(u32 *)(r10 - 16); r2 = *(u32 *)(r10 - 12); r1 ^= r2; r1 <<= 8; r0 += r1
exit
"""


LOOP = """
r1 = 0; *(u64 *)(r10 - 8) = r1
r1 = {count}; r2 = step ll; r3 = r10; r3 += -8; r4 = {flags}
call 181
r1 = *(u64 *)(r10 - 8); r1 <<= 12; r0 += r1
exit
step: r3 = *(u64 *)(r2 + 0); r3 += r1; *(u64 *)(r2 + 0) = r3
r0 = 0
if r1 < 6 goto more
r0 = 1
more: exit
"""
COMM = """
r1 = -1; *(u64 *)(r10 - 24) = r1; *(u64 *)(r10 - 16) = r1; *(u64 *)(r10 - 8) = r1
r1 = r10; r1 += -24; r2 = {size}
call 16
exit
"""
PERF = """
r6 = r1; r2 = 7; *(u64 *)(r10 - 8) = r2
r2 = events ll; r3 = {flags} ll; r4 = r10; r4 += -8; r5 = 8
call 25
exit
"""
RING_OUTPUT = """
r1 = ring ll; r2 = data_value ll; r3 = {size}; r4 = {flags}
call 130
r6 = r0
r1 = ring ll; r2 = 0; call 134
r0 <<= 16; r0 += r6
exit
"""
RING_RESERVE = """
r1 = ring ll; r2 = {size}; r3 = 0
call 131
if r0 == 0 goto none
r1 = 7; *(u64 *)(r0 + 0) = r1
r1 = r0; r2 = {flags}
call 132
r1 = ring ll; r2 = 0; call 134
exit
none: r0 = 99; exit
"""
RING_QUERY = """
r1 = ring ll; r2 = data_value ll; r3 = 13; r4 = 0
call 130
r1 = ring ll; r2 = {what}; call 134
exit
"""
DYNPTR = """
r1 = mem_value ll; r2 = {size}; r3 = {flags}; r4 = r10; r4 += -16
call 197
r6 = r0; r6 <<= 8
r1 = r10; r1 += -24; r2 = {length}; r3 = r10; r3 += -16; r4 = {offset}; r5 = 0
r7 = 0; *(u64 *)(r10 - 24) = r7
call 201
r6 += r0; r6 <<= 8
r1 = *(u64 *)(r10 - 24); r6 += r1
r1 = r10; r1 += -16; r2 = {offset}; r3 = r10; r3 += -24; r4 = {length}; r5 = 0
r7 = 0x41424344; *(u64 *)(r10 - 24) = r7
call 202
r6 ^= r0; r6 <<= 1
r1 = r10; r1 += -16; r2 = {offset}; r3 = 4
call 203
if r0 == 0 goto none
r6 += 1
none: r0 = r6; exit
"""
FOR_EACH = """
r1 = m ll; r2 = visit ll; r3 = 0; r4 = {flags}
call 164
exit
visit: r1 = *(u64 *)(r3 + 0); r2 = sum_value ll
lock *(u64 *)(r2 + 0) += r1
r0 = {stop}
exit
"""

CASES = dict([*xdp_cases(), *skb_cases(), *checksum_cases(), *text_cases(), *other_cases()])


@pytest.mark.parametrize("name", CASES)
def test_helper_does_what_the_kernel_does(name: str, machine: Machine, kernel: Linux) -> None:
    assert run(machine, CASES[name]) == run(kernel, CASES[name])
