"""Classic BPF: numbers, the check, and what conversion makes of it."""

from __future__ import annotations

import errno
import random
import struct

import pytest

from anybpf import uapi
from anybpf.errors import LoadError, NotSupported
from anybpf.isa import cbpf, check, reference
from anybpf.isa.cbpf import SockFilter
from anybpf.isa.cbpf_asm import assemble
from unit.isa import classic, host

IP_ONLY = assemble("ldh [12] \n jne #0x800, drop \n ret #-1 \n drop: ret #0")


def test_bytes_in_both_orders():
    insn = SockFilter(0x15, 1, 2, 0x800)
    assert cbpf.encode([insn]) == bytes.fromhex("1500 01 02 00080000")
    assert cbpf.encode([insn], "big") == bytes.fromhex("0015 01 02 00000800")
    for order in ("little", "big"):
        assert cbpf.decode(cbpf.encode([insn], order), order) == [insn]


def test_bytes_that_are_no_filter():
    with pytest.raises(LoadError) as caught:
        cbpf.decode(bytes(12))
    assert caught.value.offset == 8
    with pytest.raises(LoadError):
        cbpf.encode([SockFilter(6, 256)])


@pytest.mark.parametrize(
    "text",
    [
        "4\n40 0 0 12\n21 0 1 2048\n6 0 0 4294967295\n6 0 0 0\n",
        "40 0 0 12\n21 0 1 2048\n6 0 0 4294967295\n6 0 0 0\n",
        "4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0",
        "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n"
        "{ 0x6, 0, 0, 0xffffffff },\n{ 0x6, 0, 0, 0x00000000 },\n",
    ],
)
def test_filters_as_numbers(text):
    assert cbpf.parse_numbers(text) == IP_ONLY


@pytest.mark.parametrize(
    "text", ["2\n6 0 0 0\n", "6 0 0\n6 0 0 0", "6 0 0 4294967296", "6 256 0 0"]
)
def test_numbers_that_are_no_filter(text):
    with pytest.raises(LoadError):
        cbpf.parse_numbers(text)


REFUSED = [
    ([], 0),
    ([SockFilter(6)] * 4097, 0),
    ([SockFilter(0x0E), SockFilter(6)], 0),
    ([SockFilter(0x28, k=12)], 0),
    ([SockFilter(0x34), SockFilter(6)], 0),
    ([SockFilter(0x94), SockFilter(6)], 0),
    ([SockFilter(0x64, k=32), SockFilter(6)], 0),
    ([SockFilter(0x02, k=16), SockFilter(6)], 0),
    ([SockFilter(0x60, k=3), SockFilter(6)], 0),
    ([SockFilter(0x05, k=1), SockFilter(6)], 0),
    ([SockFilter(0x05, k=uapi.U32), SockFilter(6)], 0),
    ([SockFilter(0x15, 1, 0), SockFilter(6)], 0),
    ([SockFilter(0x15, 0, 1), SockFilter(6)], 0),
    ([SockFilter(0x20, k=uapi.SKF_AD_OFF + 64 & uapi.U32), SockFilter(6)], 0),
    ([SockFilter(0x20, k=uapi.SKF_AD_OFF + 1 & uapi.U32), SockFilter(6)], 0),
    # M[3] is written on one of two ways only
    ([SockFilter(0x15, 0, 1), SockFilter(0x02, k=3), SockFilter(0x60, k=3), SockFilter(6)], 2),
]


@pytest.mark.parametrize(("insns", "index"), REFUSED)
def test_what_the_kernel_refuses(insns, index):
    with pytest.raises(cbpf.BadFilter) as caught:
        cbpf.check(insns)
    assert (caught.value.index, caught.value.errno) == (index, errno.EINVAL)


def test_what_passes():
    cbpf.check(IP_ONLY)
    # M[3] is written on both ways
    cbpf.check(assemble("jeq #1, a, b\na: st M[3]\njmp c\nb: stx M[3]\nc: ld M[3]\nret a"))
    # what is behind an unconditional jump is judged by the jumps to it only
    cbpf.check(assemble("jmp a \n ld M[1] \n a: ret #0"))


def test_ancillary_loads_have_names():
    assert cbpf.ancillary(assemble("ld mark")[0]) == "mark"
    assert cbpf.ancillary(SockFilter(0x20, k=12)) is None
    assert cbpf.ancillary(SockFilter(0x40, k=uapi.SKF_AD_OFF & uapi.U32)) is None


def skb(packet: bytes, fields: dict[str, int]) -> bytearray:
    """A struct __sk_buff of the fields that the conversion reads."""
    raw = bytearray(192)
    swapped = {n: int.from_bytes(fields[n].to_bytes(2, "big"), "little")
               for n in ("proto", "vlan_tpid")}
    for name, value in ({"len": len(packet)} | fields | swapped).items():
        struct.pack_into("<I", raw, cbpf._SKB[name], value)
    return raw


def run_converted(insns, packet: bytes, fields: dict[str, int], **more) -> int:
    memory = reference.Memory()
    context = memory.add("context", skb(packet, fields))
    helpers = {7: lambda *_: 0xABCDEF01, 8: lambda *_: 3} | more.pop("helpers", {})
    program = cbpf.convert(insns, **more)
    check.check_insns(program)
    return reference.run(
        program, memory=memory, args=(context,), helpers=helpers, packet=packet
    ) & uapi.U32


FIELDS = classic.FIELDS | {"mark": 77, "queue": 5, "rxhash": 0xDEADBEEF, "vlan_tci": 0x123,
                           "vlan_avail": 1, "vlan_tpid": 0x8100, "ifidx": 9, "type": 3}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_ancillary_fields(name):
    insns = assemble(f"ld #{name}\nret a")
    assert run_converted(insns, b"x" * 60, FIELDS) == FIELDS[name]


def test_other_ancillary_loads():
    assert run_converted(assemble("ld cpu\nret a"), b"", FIELDS) == 3
    assert run_converted(assemble("ld rand\nret a"), b"", FIELDS) == 0xABCDEF01
    assert run_converted(assemble("ld len\nret a"), b"x" * 61, FIELDS) == 61
    assert run_converted(assemble("ld #5\nldx #3\nld xor_x\nret a"), b"", FIELDS) == 6


def test_without_a_device_the_filter_ends_with_what_it_has():
    insns = assemble("ld #5\nld ifidx\nret #9")
    assert run_converted(insns, b"", FIELDS | {"ifidx": 0}) == 5


@pytest.mark.parametrize("name", cbpf.INTERNAL)
def test_what_only_the_kernel_knows_comes_from_the_caller(name):
    insns = assemble(f"ld #5\nldx #6\nld {name}\nret a")
    with pytest.raises(NotSupported, match=name):
        cbpf.convert(insns)
    helpers = {200: lambda context, a, x, *_: a * 16 + x}
    given = {"internal": {name: 200}, "helpers": helpers}
    assert run_converted(insns, b"", FIELDS, **given) == 0x56


def test_division_by_zero_ends_with_zero():
    for op in ("div", "mod"):
        assert run_converted(assemble(f"ld #5\n{op} x\nret #7"), b"", FIELDS) == 0


def test_a_number_with_its_top_bit_set_is_unsigned():
    insns = assemble("ld #0x80000000\njeq #0x80000000, yes, no\nyes: ret #1\nno: ret #0")
    assert run_converted(insns, b"", FIELDS) == 1


def test_long_jumps_reach():
    far = assemble("jmp end\n" + "ldx 4*([14]&0xf)\n" * 4090 + "end: ret #7")
    assert run_converted(far, b"", FIELDS) == 7


@pytest.mark.parametrize("seed", range(60))
def test_conversion_means_the_same(seed):
    rng = random.Random(seed)
    packet = rng.randbytes(64)
    insns = classic.random_filter(rng, 40)
    wanted = classic.Machine(packet, FIELDS).run(insns)
    assert run_converted(insns, packet, FIELDS) == wanted


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_takes_and_runs_the_conversion(linux, seed):
    """Loaded as a socket filter: the verifier accepts it, and it gives what the filter gives."""
    rng = random.Random(seed)
    for _ in range(15):
        packet = b"\xff" * 12 + b"\x08\x00" + b"\x45" + rng.randbytes(49)
        insns = classic.random_filter(rng, 15)
        # the program sees the packet behind its link header, whose type is the protocol
        machine = classic.Machine(packet[14:], classic.FIELDS)
        assert host.result(linux, cbpf.convert(insns), packet) == machine.run(insns), insns
