"""A classic filter run as it was meant before eBPF: the oracle of its conversion."""

from __future__ import annotations

import random

from anybpf import uapi
from anybpf.isa import cbpf
from anybpf.isa.cbpf import SockFilter

_SIZES = {uapi.BPF_B: 1, uapi.BPF_H: 2, uapi.BPF_W: 4}


class _Return(Exception):
    pass


class Machine:
    """A, X, M[] and a packet; `fields` answers ancillary loads by name."""

    def __init__(self, packet: bytes, fields: dict[str, int]) -> None:
        self.packet, self.fields = packet, fields
        self.a = self.x = 0
        self.m = [0] * 16

    def run(self, insns: list[SockFilter]) -> int:
        pc = 0
        try:
            while True:
                pc += 1 + self.step(insns[pc])
        except _Return as result:
            return int(result.args[0])

    def step(self, insn: SockFilter) -> int:
        """Does one instruction; gives how many to skip."""
        names = ("ld", "ldx", "st", "stx", "alu", "jmp", "ret", "misc")
        return getattr(self, names[insn.cls])(insn) or 0

    def bytes_at(self, at: int, size: int) -> int:
        if at < 0 or at + size > len(self.packet):
            raise _Return(0)
        return int.from_bytes(self.packet[at : at + size], "big")

    def ld(self, insn: SockFilter) -> None:
        name, mode = cbpf.ancillary(insn), insn.code & 0xE0
        if name == "xor_x":
            self.a ^= self.x
        elif name == "ifidx" and not self.fields["ifidx"]:
            raise _Return(self.a)
        elif name:
            self.a = self.fields[name]
        elif mode == uapi.BPF_ABS:
            self.a = self.bytes_at(signed(insn.k), _SIZES[insn.code & 0x18])
        elif mode == uapi.BPF_IND:
            self.a = self.bytes_at(signed(self.x + insn.k), _SIZES[insn.code & 0x18])
        else:
            self.a = self.plain(insn)

    def plain(self, insn: SockFilter) -> int:
        mode = insn.code & 0xE0
        if mode == uapi.BPF_MEM:
            return self.m[insn.k]
        return len(self.packet) if mode == uapi.BPF_LEN else insn.k

    def ldx(self, insn: SockFilter) -> None:
        if insn.code & 0xE0 == uapi.BPF_MSH:
            self.x = (self.bytes_at(signed(insn.k), 1) & 15) * 4
        else:
            self.x = self.plain(insn)

    def st(self, insn: SockFilter) -> None:
        self.m[insn.k] = self.a

    def stx(self, insn: SockFilter) -> None:
        self.m[insn.k] = self.x

    def alu(self, insn: SockFilter) -> None:
        a, b = self.a, self.x if insn.code & uapi.BPF_X else insn.k
        if insn.op in (uapi.BPF_DIV, uapi.BPF_MOD) and b == 0:
            raise _Return(0)
        result = {
            uapi.BPF_ADD: lambda: a + b, uapi.BPF_SUB: lambda: a - b, uapi.BPF_MUL: lambda: a * b,
            uapi.BPF_DIV: lambda: a // b, uapi.BPF_MOD: lambda: a % b, uapi.BPF_AND: lambda: a & b,
            uapi.BPF_OR: lambda: a | b, uapi.BPF_XOR: lambda: a ^ b, uapi.BPF_NEG: lambda: -a,
            uapi.BPF_LSH: lambda: a << (b & 31), uapi.BPF_RSH: lambda: a >> (b & 31),
        }[insn.op]()  # fmt: skip
        self.a = result & uapi.U32

    def jmp(self, insn: SockFilter) -> int:
        if insn.op == uapi.BPF_JA:
            return insn.k
        a, b = self.a, self.x if insn.code & uapi.BPF_X else insn.k
        yes = {
            uapi.BPF_JEQ: a == b, uapi.BPF_JGT: a > b, uapi.BPF_JGE: a >= b, uapi.BPF_JSET: a & b,
        }[insn.op]  # fmt: skip
        return insn.jt if yes else insn.jf

    def ret(self, insn: SockFilter) -> None:
        raise _Return(self.a if insn.code & uapi.BPF_A else insn.k)

    def misc(self, insn: SockFilter) -> None:
        if insn.code & uapi.BPF_TXA:
            self.a = self.x
        else:
            self.x = self.a


def signed(x: int) -> int:
    return (x & uapi.U32 ^ 1 << 31) - (1 << 31)


#: what a packet of the tests is said to be
FIELDS = {
    "proto": 0x0800, "type": 0, "ifidx": 1, "mark": 0, "queue": 0, "rxhash": 0, "vlan_tci": 0,
    "vlan_avail": 0, "vlan_tpid": 0,
}  # fmt: skip
_EDGES = (0, 1, 2, 3, 8, 14, 15, 31, 32, 40, 63, 64, 255, 1 << 31, (1 << 31) - 1, uapi.U32)


def random_filter(rng: random.Random, length: int) -> list[SockFilter]:
    """A filter that passes the check; every word of M[] is written first."""
    body = [SockFilter(uapi.BPF_ST, k=i) for i in range(16)]
    codes = sorted(cbpf.OPCODES)
    while len(body) < 16 + length:
        made = _random_insn(rng, rng.choice(codes), 16 + length - len(body))
        if made.cls != uapi.BPF_RET or rng.random() < 0.1:
            body.append(made)
    return [*body, SockFilter(uapi.BPF_RET | uapi.BPF_A)]


def _random_insn(rng: random.Random, code: int, left: int) -> SockFilter:
    cls, k = code & 7, rng.choice(_EDGES) if rng.random() < 0.8 else rng.getrandbits(32)
    if cls == uapi.BPF_JMP:
        if code & 0xF0 == uapi.BPF_JA:
            return SockFilter(code, k=rng.randrange(min(left, 4)))
        return SockFilter(code, rng.randrange(min(left, 4)), rng.randrange(min(left, 4)), k)
    if cls in (uapi.BPF_ST, uapi.BPF_STX) or (cls < 2 and code & 0xE0 == uapi.BPF_MEM):
        return SockFilter(code, k=rng.randrange(16))
    if cls == uapi.BPF_ALU:
        return SockFilter(code, k=rng.randrange(1, 32) if code & 0xF0 in (0x60, 0x70) else k or 1)
    if cls == uapi.BPF_LD and code & 0xE0 == uapi.BPF_ABS:
        offsets = [uapi.SKF_AD_OFF + at for at, name in cbpf.ANCILLARY.items()
                   if name in FIELDS or name == "xor_x"]  # fmt: skip
        return SockFilter(code, k=rng.choice([*offsets, *range(12), 60, 61, 70]) & uapi.U32)
    return SockFilter(code, k=k if code & 0xE0 in (0, 0x80) else rng.randrange(66))
