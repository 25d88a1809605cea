"""CO-RE beside the kernel's own: BPF_PROG_LOAD takes records too, and tells what it makes of them.

Objects are made from the kernel's types by chance: members left out and moved, integers and arrays
of other sizes, flavours. The verifier's log then says the same as ours does.
"""

from __future__ import annotations

import logging
import random
import re
import struct

import pytest

from anybpf import uapi
from anybpf.btf import relo_spec as rs
from anybpf.btf import relo_value
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.btf.kernel import load_vmlinux
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_patch import patch
from anybpf.errors import BpfError, LoadError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import bpf
from anybpf.linux import Linux

pytestmark = pytest.mark.kernel

ROUNDS = 150
WHERE = "prog '': relo #0"
EXIT = Insn(uapi.BPF_JMP | uapi.BPF_EXIT)
BPF_SIZES = {1: uapi.BPF_B, 2: uapi.BPF_H, 4: uapi.BPF_W, 8: uapi.BPF_DW}
#: in the kernel a type may nest two levels only; what it refuses it says in other words
KERNEL_ONLY = re.compile(r"error matching candidate|can't be|parsing .* failed")


class Object:
    """One record about a distorted copy of a kernel type, and an instruction that it fits."""

    def __init__(self, chance: random.Random, kernel: Btf) -> None:
        self.chance, self.kernel = chance, kernel
        self.made = BtfBuilder()
        self.number = self.made.add(t.Int("int", 4, 32, 0, uapi.BTF_INT_SIGNED))
        self.kind = chance.choice([rs.FIELD_BYTE_OFFSET] * 5 + list(range(rs.TYPE_MATCHES)))
        self.type_id = self.copy(self.root())
        access = self.made.string(self.access())
        proto = self.made.add(t.FuncProto(self.number, (t.Param("ctx", self.made.add(t.Ptr(0))),)))
        self.function = self.made.add(t.Func("f", proto, uapi.BTF_FUNC_GLOBAL))
        self.btf = self.made.build()
        self.btf.pointer_size = 8
        self.relo = CoreRelo(0, self.type_id, access, self.kind)
        self.insns = self.fitting()

    def root(self) -> int:
        """A named enum or struct of the kernel."""
        wanted = t.AnyEnum if self.kind in rs.ENUM_KINDS else t.Composite
        while True:
            type_id = self.chance.randrange(1, len(self.kernel))
            found = self.kernel.type(type_id)
            if isinstance(found, wanted) and found.name and (
                    found.values if isinstance(found, t.AnyEnum) else found.members):
                return type_id

    def copy(self, type_id: int, depth: int = 0) -> int:
        found = self.kernel.type(self.kernel.resolve(type_id))
        if isinstance(found, t.Composite) and found.members and depth < 3:
            return self.composite(found, depth)
        if isinstance(found, t.Array):
            count = self.chance.choice((found.nelems, 4))
            return self.made.add(t.Array(self.copy(found.type, depth + 1), self.number, count))
        if isinstance(found, t.AnyEnum):
            values = tuple(v for v in found.values if self.chance.random() < 0.8)[:20]
            return self.made.add(type(found)(found.name, found.size, values or found.values[:1],
                                             found.signed))
        if isinstance(found, t.Ptr | t.Composite):
            return self.made.add(t.Ptr(0))
        size = self.chance.choice((1, 2, 4, 8))
        return self.made.add(t.Int("number", size, 8 * size, 0, self.chance.choice((0, 0, 1))))

    def composite(self, found: t.Composite, depth: int) -> int:
        kept = [m for m in found.members if self.chance.random() < 0.8] or [found.members[0]]
        self.chance.shuffle(kept)
        step = 0 if isinstance(found, t.Union) else 128
        rows = [t.Member(m.name, self.copy(m.type, depth + 1), step * at, min(m.bitfield_size, 7))
                for at, m in enumerate(kept[:9])]
        flavour = self.chance.choice(("", "", "___old")) if found.name else ""
        size = 1 << 20 - 4 * depth
        return self.made.add(type(found)(found.name + flavour, size, tuple(rows), True))

    def access(self) -> str:
        if self.kind in rs.TYPE_KINDS:
            return "0"
        made = self.made.build()
        found = made.type(self.type_id)
        if isinstance(found, t.AnyEnum):
            return str(self.chance.randrange(len(found.values)))
        path, type_id = ["0"], self.type_id
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            found = made.type(type_id)
            if isinstance(found, t.Composite):
                index = self.chance.randrange(len(found.members))
                type_id = found.members[index].type
            elif isinstance(found, t.Array):
                index, type_id = self.chance.randrange(min(4, found.nelems or 1)), found.type
            else:
                break
            path.append(str(index))
        return ":".join(path)

    def fitting(self) -> list[Insn]:
        """A load from memory, a move or a 64-bit load that holds what it should."""
        try:
            here = relo_value.value(rs.parse(self.btf, self.relo), "")
        except (BpfError, LoadError):
            here = relo_value.Value(0)
        if self.kind == rs.FIELD_BYTE_OFFSET and self.chance.random() < 0.5:
            size = BPF_SIZES.get(here.size, uapi.BPF_DW)
            return [Insn(uapi.BPF_LDX | uapi.BPF_MEM | size, 0, 1, here.number), EXIT]
        low, high = isa.split_imm64(here.number)
        if self.chance.random() < 0.5:
            return [Insn(uapi.BPF_ALU64 | uapi.BPF_MOV, 0, 0, 0, low), EXIT]
        return [Insn(isa.LD_IMM64, 0, 0, 0, low), Insn(0, 0, 0, 0, high), EXIT]

    def told_by(self, linux: Linux) -> list[str]:
        """What the kernel's log says about the record; nothing if it refuses the BTF."""
        try:
            fd = bpf.btf_load(linux, self.btf.to_bytes())
        except BpfError:
            return []
        prog = bpf.ProgAttr(
            uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, isa.encode(self.insns, "little"), "GPL", "",
            btf_fd=fd, func_info=struct.pack("=2I", 0, self.function), func_info_rec_size=8,
            core_relos=struct.pack("=4I", *self.relo))
        try:
            loaded = bpf.prog_load(linux, prog, log_level=2, log_size=1 << 18)
            linux.close(loaded.fd)
            log = loaded.log
        except BpfError as e:
            log = getattr(e, "log", "")
        finally:
            linux.close(fd)
        return [re.sub(r"(\[\d+\]) (\w+) ", lambda m: f"{m[1]} {m[2].lower()} ", line)
                for line in log.splitlines() if line.startswith(WHERE)]


def test_the_kernel_says_the_same(caplog: pytest.LogCaptureFixture) -> None:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    linux, kernel, chance = Linux(), load_vmlinux(), random.Random(7)
    told = answers = 0
    for _ in range(ROUNDS):
        made = Object(chance, kernel)
        theirs = made.told_by(linux)
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="anybpf.libbpf"):
            try:
                answer = Relocator(made.btf, Target(kernel)).resolve(made.relo, WHERE)
                patch(list(made.insns), 0, answer, WHERE)
            except (BpfError, LoadError):
                pass
        told += bool(theirs)
        if theirs and not any(map(KERNEL_ONLY.search, [*theirs, *caplog.messages])):
            ours = [m for m in caplog.messages if m.startswith(WHERE)]
            assert sorted(ours) == sorted(theirs)
            answers += 1
    assert answers > ROUNDS // 2, f"{told} of {ROUNDS} were taken by the kernel"
