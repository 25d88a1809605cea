"""Probe arguments as usdt.bpf.h reads them, from the descriptions that the loader writes."""

from __future__ import annotations

import struct

import pytest

from anybpf.errors import Fault
from anybpf.isa import reference
from anybpf.isa.insn import Insn
from anybpf.libbpf import Object
from anybpf.libbpf.spec import Linked, RefKind
from anybpf.libbpf.usdt_args import EM_X86_64, parse, spec_bytes
from conftest import Build

MAP_LOOKUP, PROBE_READ_USER, PROBE_READ_KERNEL, ATTACH_COOKIE = 1, 112, 113, 174
#: pt_regs of x86: bytes to a few registers
RAX, RBX, RCX, RIP, REGS_SIZE = 80, 40, 88, 128, 168
U64 = (1 << 64) - 1


def patched(linked: Linked, addresses: dict[str, int]) -> list[Insn]:
    """The instructions with addresses in place of maps and of places in them."""
    insns = list(linked.instructions)
    for ref in linked.references:
        assert ref.kind in (RefKind.MAP, RefKind.MAP_VALUE)
        value = addresses[ref.target] + ref.offset
        insns[ref.insn] = insns[ref.insn]._replace(src=0, imm=value)
    return insns


class Probe:
    """A traced process stopped at a probe, and what the loader put into the maps."""

    def __init__(self, arguments: str, *, has_cookie: bool = True, spec_id: int = 3) -> None:
        self.memory = reference.Memory()
        self.bss = bytearray(64)
        self.regs = bytearray(REGS_SIZE)
        spec = spec_bytes(parse(arguments, EM_X86_64), cookie=77)
        self.spec = self.memory.add("spec", bytearray(spec), writable=False)
        self.index = self.memory.add("index", bytearray(struct.pack("<I", spec_id)))
        self.process = self.memory.add("process", bytearray(range(256)))
        self.maps = {
            "usdt.bss": self.memory.add("bss", self.bss),
            "usdt.kconfig": self.memory.add("kconfig", bytearray([has_cookie])),
            "__bpf_usdt_specs": 1, "__bpf_usdt_ip_to_spec_id": 2,
        }
        self.spec_id = spec_id

    def lookup(self, where: int, key: int, *_: int) -> int:
        if where == 1:
            [number] = struct.unpack("<I", self.memory.read(key, 4))
            return self.spec if number == self.spec_id else 0
        [place] = struct.unpack("<Q", self.memory.read(key, 8))
        return self.index if place == 0x401000 else 0

    def read(self, to: int, size: int, at: int, *_: int) -> int:
        try:
            self.memory.write(to, self.memory.read(at, size))
        except Fault:
            return -14 & U64
        return 0

    def run(self, linked: Linked) -> tuple[int, ...]:
        """What the program stored: two arguments, count and size, cookie."""
        context = self.memory.add("ctx", self.regs)
        reference.run(patched(linked, self.maps), memory=self.memory, args=[context], helpers={
            MAP_LOOKUP: self.lookup, PROBE_READ_USER: self.read, PROBE_READ_KERNEL: self.read,
            ATTACH_COOKIE: lambda *_: self.spec_id})
        return struct.unpack_from("<4q", self.bss)


@pytest.fixture(scope="module")
def linked(build: Build) -> Linked:
    return Object.open(build("usdt.bpf.c")).programs["probe"].spec.linked


@pytest.mark.parametrize(("arguments", "first", "second", "counted"), [
    ("-4@$-5 8@$7", -5, 7, 2 + 8),
    ("4@%eax -2@%bx", 0x01020304, -2, 2 + 2),
    ("-4@%eax 1@%bl", 0x01020304, 0xFE, 2 + 1),
    ("4@4(%rcx) 8@(%rcx)", 0x07060504, 0x0706050403020100, 2 + 8),
    ("-1@255(%rcx) 2@8(%rcx,%rdx,2)", 0, 0x0D0C, 2 + 2),    # the first word is not all there
    ("1@-8(%rcx,%rdx,8) 1@%cl", 8, 0, 2 + 1),
    ("8@$1", 1, 0, 1 - 2),                                  # there is no second one
    ("", 0, 0, 0 - 2),
])
def test_arguments(linked: Linked, arguments: str, first: int, second: int,
                   counted: int) -> None:
    probe = Probe(arguments)
    struct.pack_into("<Q", probe.regs, RAX, 0xFFFF_FFFF_0102_0304)
    struct.pack_into("<Q", probe.regs, RBX, 0xFFFE)
    struct.pack_into("<QQ", probe.regs, RCX, probe.process, 2)      # rcx, rdx
    assert probe.run(linked) == (first, second, counted, 77)


@pytest.mark.parametrize(("place", "expected"), [(0x401000, (5, 6, 2 + 8, 77)),
                                                 (0x402000, (0, 0, -3 - 3, 0))])
def test_kernels_without_cookies(linked: Linked, place: int, expected: tuple[int, ...]) -> None:
    probe = Probe("4@$5 8@$6", has_cookie=False)
    struct.pack_into("<Q", probe.regs, RIP, place)
    assert probe.run(linked) == expected
