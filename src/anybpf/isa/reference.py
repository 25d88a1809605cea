"""A slow interpreter that says what a program means (kernel/bpf/core.c).

It runs instructions by the functions of `isa.semantics`, on memory made of named regions, and
trusts nothing: a wrong access, call or opcode ends the run with `Fault`. Engines are compared
with it; programs that need maps or the kernel's objects run in `core`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from anybpf import uapi
from anybpf.bits import s32
from anybpf.errors import Fault, NotSupported
from anybpf.isa import opcodes as tab
from anybpf.isa import semantics
from anybpf.isa.insn import ByteOrder, Insn, imm64, is_ld_imm64, jump_offset

Helper = Callable[[int, int, int, int, int], int]

MAX_CALL_FRAMES = 8
#: how often one frame may pass a `may_goto`; some JITs stop by time instead, which no oracle can
MAY_GOTO_LIMIT = 8 * 1024 * 1024


class Region(NamedTuple):
    """A stretch of memory that the program may touch."""

    name: str
    base: int
    data: bytearray
    writable: bool = True


class Memory:
    """Regions, far apart, so that no offset of one reaches another by mistake."""

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self._next = 0x1000_0000

    def add(self, name: str, data: bytearray, *, writable: bool = True) -> int:
        """Make `data` reachable (not a copy of it) and give its address."""
        base = self._next
        self._next += (len(data) + 0x1_0000) & ~0xFFF
        self.regions.append(Region(name, base, data, writable))
        return base

    def remove(self, base: int) -> None:
        """Forget the region at `base`."""
        self.regions = [r for r in self.regions if r.base != base]

    def find(self, address: int, size: int) -> Region | None:
        """The region that holds all of these bytes."""
        for region in self.regions:
            if region.base <= address and address + size <= region.base + len(region.data):
                return region
        return None

    def read(self, address: int, size: int, insn: int = -1) -> bytes:
        """Bytes at `address`; raises `Fault`, of instruction `insn`, where there are none."""
        region = self.find(address, size)
        if region is None:
            raise self._fault("read", address, size, insn)
        start = address - region.base
        return bytes(region.data[start : start + size])

    def write(self, address: int, data: bytes, insn: int = -1) -> None:
        """Change bytes at `address`; raises `Fault` where none may be written."""
        region = self.find(address, len(data))
        if region is None or not region.writable:
            raise self._fault("write", address, len(data), insn, region)
        start = address - region.base
        region.data[start : start + len(data)] = data

    @staticmethod
    def _fault(
        what: str, address: int, size: int, insn: int, region: Region | None = None
    ) -> Fault:
        name = region.name if region else ""
        text = f"insn {insn}: invalid {what} of {size} bytes at {address:#x}"
        return Fault(text + (f" (read-only {name})" if name else ""), insn, address, size, name)


class _Frame(NamedTuple):
    """What a call puts aside."""

    return_to: int
    saved: list[int]
    stack: int
    may_goto: int


class Execution:
    """A program in the middle of its run: `pc`, `regs`, and `step` to go on."""

    def __init__(
        self,
        insns: Sequence[Insn],
        *,
        memory: Memory | None = None,
        args: Sequence[int] = (),
        helpers: Mapping[int, Helper] | None = None,
        packet: bytes | None = None,
        network_offset: int = 14,
        byteorder: ByteOrder = "little",
    ) -> None:
        self.insns = insns
        self.memory = memory if memory is not None else Memory()
        self.helpers = helpers or {}
        self.packet = packet
        self.network_offset = network_offset
        self.byteorder: ByteOrder = byteorder
        self.pc = 0
        self.done = False
        self.frames: list[_Frame] = []
        self.regs = [0, *args, *([0] * (10 - len(args)))]
        self._enter_frame()

    def step(self) -> None:
        """Do one instruction."""
        if not 0 <= self.pc < len(self.insns):
            raise Fault(f"insn {self.pc}: outside the program", self.pc)
        insn = self.insns[self.pc]
        if insn.dst >= uapi.MAX_BPF_REG or insn.src >= uapi.MAX_BPF_REG:
            raise self._illegal(insn)
        here, self.pc = self.pc, self.pc + 1
        _CLASSES[insn.cls](self, here, insn)

    def run(self, budget: int = 1_000_000) -> int:
        """Go on to the end and give r0; raises `Fault` when `budget` instructions do not do."""
        while not self.done:
            if budget <= 0:
                raise Fault(f"insn {self.pc}: the program does not end", self.pc)
            budget -= 1
            self.step()
        return self.regs[0]

    # -- frames

    def _enter_frame(self) -> None:
        self.stack = self.memory.add("stack", bytearray(uapi.MAX_BPF_STACK))
        self.regs[10] = self.stack + uapi.MAX_BPF_STACK
        self.may_goto = MAY_GOTO_LIMIT

    def _call_local(self, here: int, insn: Insn) -> None:
        if len(self.frames) + 1 >= MAX_CALL_FRAMES:
            raise Fault(f"insn {here}: too many frames", here)
        saved = self.regs[6:11]
        self.frames.append(_Frame(here + 1, saved, self.stack, self.may_goto))
        self._enter_frame()
        self.pc = here + 1 + insn.imm

    def _exit(self, here: int, insn: Insn) -> None:
        self._leave_frame()

    def _leave_frame(self) -> None:
        self.memory.remove(self.stack)
        if not self.frames:
            self.done = True
            return
        self.pc, self.regs[6:11], self.stack, self.may_goto = self.frames.pop()

    # -- classes

    def _illegal(self, insn: Insn, here: int | None = None) -> Fault:
        where = self.pc if here is None else here
        return Fault(f"insn {where}: illegal instruction {insn.code:02x}", where)

    def _alu(self, here: int, insn: Insn) -> None:
        if insn.code not in tab.OPCODES or not _known_variant(insn):
            raise self._illegal(insn, here)
        dst, src = self.regs[insn.dst], self.regs[insn.src]
        self.regs[insn.dst] = semantics.alu(insn, dst, src, self.byteorder)

    def _ldx(self, here: int, insn: Insn) -> None:
        if insn.code not in tab.OPCODES:
            raise self._illegal(insn, here)
        address = self.regs[insn.src] + insn.off & uapi.U64
        data = self.memory.read(address, insn.size_bytes, here)
        self.regs[insn.dst] = semantics.loaded(insn, data, self.byteorder)

    def _store(self, here: int, insn: Insn) -> None:
        if insn.mode == uapi.BPF_ATOMIC and insn.cls == uapi.BPF_STX:
            self._atomic(here, insn)
            return
        if insn.code == tab.NOSPEC:
            return
        if insn.mode != uapi.BPF_MEM:
            raise self._illegal(insn, here)
        data = semantics.stored(insn, self.regs[insn.src], self.byteorder)
        self.memory.write(self.regs[insn.dst] + insn.off & uapi.U64, data, here)

    def _atomic(self, here: int, insn: Insn) -> None:
        if insn.imm not in tab.ATOMICS:
            raise self._illegal(insn, here)
        base = insn.src if insn.imm == uapi.BPF_LOAD_ACQ else insn.dst
        address = self.regs[base] + insn.off & uapi.U64
        old = int.from_bytes(self.memory.read(address, insn.size_bytes, here), self.byteorder)
        outcome = semantics.atomic(insn, old, self.regs[insn.src], self.regs[0])
        if outcome.memory is not None:
            data = outcome.memory.to_bytes(insn.size_bytes, self.byteorder)
            self.memory.write(address, data, here)
        if outcome.register is not None:
            self.regs[outcome.register] = outcome.value

    def _ld(self, here: int, insn: Insn) -> None:
        if is_ld_imm64(insn):
            self._ld_imm64(here, insn)
        elif insn.code in tab.OPCODES:
            self._ld_packet(here, insn)
        else:
            raise self._illegal(insn, here)

    def _ld_imm64(self, here: int, insn: Insn) -> None:
        if self.pc >= len(self.insns):
            raise self._illegal(insn, here)
        if insn.src:
            raise NotSupported(f"64-bit immediates of kind {insn.src} in the reference interpreter")
        self.regs[insn.dst] = imm64(insn, self.insns[self.pc])
        self.pc += 1

    def _ld_packet(self, here: int, insn: Insn) -> None:
        """Legacy packet loads: outside of the packet the function returns zero."""
        index = self.regs[insn.src] if insn.mode == uapi.BPF_IND else 0
        at = self._packet_offset(s32(index + insn.imm))
        packet = self.packet or b""
        if 0 <= at <= len(packet) - insn.size_bytes:
            self.regs[0] = semantics.packet_value(packet[at : at + insn.size_bytes])
        else:
            self.regs[0] = 0
            self._leave_frame()

    def _packet_offset(self, at: int) -> int:
        """Negative offsets count from the network or the link header; others stay negative."""
        if at >= 0:
            return at
        if at >= uapi.SKF_NET_OFF:
            return at - uapi.SKF_NET_OFF + self.network_offset
        return at - uapi.SKF_LL_OFF if at >= uapi.SKF_LL_OFF else -1

    def _jmp(self, here: int, insn: Insn) -> None:
        special = _JUMPS.get(insn.code)
        if special:
            special(self, here, insn)
        elif insn.op not in semantics.COMPARE:
            raise self._illegal(insn, here)
        elif semantics.taken(insn, self.regs[insn.dst], self.regs[insn.src]):
            self.pc = here + 1 + insn.off

    def _goto(self, here: int, insn: Insn) -> None:
        self.pc = here + 1 + jump_offset(insn)

    def _may_goto(self, here: int, insn: Insn) -> None:
        if self.may_goto == 0:
            self.pc = here + 1 + insn.off
        else:
            self.may_goto -= 1

    def _call(self, here: int, insn: Insn) -> None:
        if insn.src == uapi.BPF_PSEUDO_CALL:
            self._call_local(here, insn)
        elif insn.src:
            raise NotSupported("kernel functions in the reference interpreter")
        else:
            self._call_helper(here, insn)

    def _call_helper(self, here: int, insn: Insn) -> None:
        helper = self.helpers.get(insn.imm)
        if helper is None:
            raise Fault(f"insn {here}: no helper {insn.imm}", here)
        r1, r2, r3, r4, r5 = self.regs[1:6]
        self.regs[0] = helper(r1, r2, r3, r4, r5) & uapi.U64


def _known_variant(insn: Insn) -> bool:
    """The fields that choose between meanings of one opcode have a value with a meaning."""
    if insn.op == uapi.BPF_END:
        return insn.imm in tab.END_BITS
    if insn.op == uapi.BPF_MOV and insn.uses_reg and insn.off not in tab.MOVSX_NAMES:
        return insn.off in (0, tab.ADDR_SPACE_CAST, tab.ADDR_PERCPU)
    return True


_Act = Callable[[Execution, int, Insn], None]
_JUMPS: dict[int, _Act] = {
    uapi.BPF_JMP | uapi.BPF_JA: Execution._goto,
    uapi.BPF_JMP32 | uapi.BPF_JA: Execution._goto,
    uapi.BPF_JMP | uapi.BPF_CALL: Execution._call,
    uapi.BPF_JMP | uapi.BPF_EXIT: Execution._exit,
    tab.MAY_GOTO: Execution._may_goto,
}
_CLASSES: dict[int, _Act] = {
    uapi.BPF_LD: Execution._ld,
    uapi.BPF_LDX: Execution._ldx,
    uapi.BPF_ST: Execution._store,
    uapi.BPF_STX: Execution._store,
    uapi.BPF_ALU: Execution._alu,
    uapi.BPF_JMP: Execution._jmp,
    uapi.BPF_JMP32: Execution._jmp,
    uapi.BPF_ALU64: Execution._alu,
}


def run(
    insns: Sequence[Insn],
    *,
    memory: Memory | None = None,
    args: Sequence[int] = (),
    helpers: Mapping[int, Helper] | None = None,
    packet: bytes | None = None,
    byteorder: ByteOrder = "little",
    budget: int = 1_000_000,
) -> int:
    """Run a program with `args` in r1.. and give r0, an unsigned 64-bit number.

    `packet` is what legacy packet loads read, and `helpers` what calls reach, by number. Raises
    `Fault` when the program does what it may not, or needs more than `budget` instructions.
    """
    execution = Execution(
        insns, memory=memory, args=args, helpers=helpers, packet=packet, byteorder=byteorder
    )
    return execution.run(budget)
