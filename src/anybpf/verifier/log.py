"""The verifier's log: text, and how a state prints (kernel/bpf/log.c).

With log level 0 nothing is kept but what `reject` brings. Positions count bytes, so that the log of
a finished path can be cut off again.
"""

from __future__ import annotations

from typing import Protocol

from anybpf import bits, uapi
from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK
from anybpf.verifier import regtype
from anybpf.verifier.numbers import S32_MAX, S32_MIN, S64_MAX, S64_MIN
from anybpf.verifier.state import (
    ACTIVE,
    ADD_CONST,
    DRAINED,
    DYNPTR,
    ITER,
    SLOT_LETTERS,
    Frame,
    Reg,
    Slot,
    State,
)

LEVEL = uapi.BPF_LOG_LEVEL1 | uapi.BPF_LOG_LEVEL2
# numbers up to these are printed in decimal
SIGNED_DECIMAL = 0x7FFF
UNSIGNED_DECIMAL = 0xFFFF
#: where the state begins behind an instruction: at this column, or a multiple of the other
COLUMN, COLUMN_STEP = 40, 8
ALL_SCRATCHED = uapi.U64
ITER_STATES = {ACTIVE: "active", DRAINED: "drained"}
#: names of the types of dynptrs
DYNPTR_TYPES = ("invalid", "local", "ringbuf", "skb", "xdp", "skb_meta")
#: the kernel writes by the piece, and cuts what is longer
MAX_PIECE = 1023


class Sink(Protocol):
    """Whoever wants the log as it grows, such as a caller's buffer."""

    def write(self, text: bytes) -> None: ...

    def cut(self, position: int) -> None: ...


def encoded(text: str) -> bytes:
    """The bytes of a text; names that are no UTF-8 come out as they were."""
    return text.encode(errors="surrogateescape")


class Log:
    """Text that grows and may be cut; `level` is the caller's."""

    def __init__(self, level: int, sink: Sink | None = None) -> None:
        self.level = level
        self.sink = sink
        #: how many bytes there ever were
        self.longest = 0
        self.on = bool(level & LEVEL)
        self.detailed = bool(level & uapi.BPF_LOG_LEVEL2)
        self._parts: list[str] = []
        self._ends: list[int] = []
        #: how many bytes there are
        self.end = 0
        #: where the last instruction's text ended, and how long it was
        self.insn_end = 0
        self.insn_width = 0
        # what changed since the state was last printed
        self.scratched_regs = 0
        self.scratched_stack = 0

    def write(self, text: str) -> None:
        """Add text, at any level of the caller but 0."""
        if not self.level or not text:
            return
        self.end += len(text) if text.isascii() else len(encoded(text))
        self._ends.append(self.end)
        self._parts.append(text)
        self.longest = max(self.longest, self.end)
        if self.sink is not None:
            self.sink.write(encoded(text))

    def say(self, line: str) -> None:
        """Add a line, if it says anything."""
        if line:
            self.write(line + "\n")

    def cut(self, position: int) -> None:
        """Forget all after `position`."""
        while self._ends and self._ends[-1] > position:
            text, end = encoded(self._parts.pop()), self._ends.pop()
            start = end - len(text)
            if start < position:
                self._parts.append(text[:position - start].decode(errors="surrogateescape"))
                self._ends.append(position)
        self.end = self._ends[-1] if self._ends else 0
        if self.sink is not None:
            self.sink.cut(position)

    @property
    def text(self) -> str:
        return "".join(self._parts)

    # -- what changed

    def scratch_all(self) -> None:
        self.scratched_regs = self.scratched_stack = ALL_SCRATCHED

    def print_insn_state(self, state: State, frameno: int, insn_idx: int) -> None:
        """What the last instruction changed: behind its text, or on a line of its own."""
        if self.insn_end and self.insn_end == self.end:
            self.cut(self.end - 1)
            self.write(" " * _alignment(self.insn_width) + ";")
        else:
            self.write(f"{insn_idx}:")
        self.print_state(state, frameno)

    def print_state(self, state: State, frameno: int, everything: bool = False) -> None:
        """One frame of a state, as far as it changed, or all of it."""
        if not self.level:
            return
        shown = (ALL_SCRATCHED, ALL_SCRATCHED) if everything else (
            self.scratched_regs, self.scratched_stack)
        self.write(state_text(state, state.frames[frameno], *shown) + "\n")
        if not everything:
            self.scratched_regs = self.scratched_stack = 0


def _alignment(width: int) -> int:
    wanted = max(width + COLUMN_STEP // 2, COLUMN)
    return (wanted + COLUMN_STEP - 1) // COLUMN_STEP * COLUMN_STEP - width - 1


def state_text(state: State, frame: Frame, regs: int, stack: int) -> str:
    """Registers and stack slots whose bits are set in the two masks, each behind a blank."""
    parts = [f" frame{frame.frameno}:"] if frame.frameno else []
    parts += [f" R{i}={reg_text(frame, reg)}" for i, reg in enumerate(frame.regs)
              if regs >> i & 1 and reg.kind != kinds.NOT_INIT]
    parts += [text for i, slot in enumerate(frame.stack)
              if stack >> i & 1 and slot.types and (text := _stack_text(frame, i, slot))]
    if state.refs and state.refs[0].id:
        parts.append(" refs=" + ",".join(str(r.id) for r in state.refs if r.id))
    if frame.in_callback:
        parts.append(" cb")
    if frame.in_async_callback:
        parts.append(" async_cb")
    return "".join(parts)


def _stack_text(frame: Frame, number: int, slot: Slot) -> str:
    """A slot with its place; of objects of the kernel, their first slot alone."""
    if slot.kind(7) == DYNPTR:
        if not slot.reg.slot_depth:
            return ""
        return f" fp{-8 * (number + 1)}={_dynptr_text(slot.reg)}"
    if slot.kind(7) == ITER:
        return f" fp{-8 * (number + 1)}={_iter_text(slot.reg)}" if slot.reg.ref else ""
    return f" fp{-8 * (number + 1)}={slot_text(frame, slot)}"


def _iter_text(reg: Reg) -> str:
    name = reg.btf.type(reg.btf_id).name.removeprefix("bpf_iter_") if reg.btf else "<invalid>"
    return (f"iter_{name}(ref_id={reg.ref},state={ITER_STATES[reg.slot_state]},"
            f"depth={reg.slot_depth})")


def _dynptr_text(reg: Reg) -> str:
    # in the kernel, the mark of the first slot shares its place with the id of a slice's dynptr
    words = (("id", reg.id), ("ref_id", reg.ref), ("dynptr_id", reg.slot_depth))
    parts = [f"{word}={value}" for word, value in words if value]
    return f"dynptr_{DYNPTR_TYPES[reg.slot_state]}({','.join(parts)})"


def slot_text(frame: Frame, slot: Slot) -> str:
    """Eight letters, or a spilled register behind the letters of what lies above it."""
    letters = "".join(SLOT_LETTERS[t] for t in slot.each())
    if not slot.spilled():
        return letters
    return letters[:letters.index("r")] + reg_text(frame, slot.reg)


def signed(number: int) -> str:
    """Decimal where it is short, else hexadecimal of 64 bits."""
    return str(number) if _short(number) else hex(number & uapi.U64)


def _short(number: int) -> bool:
    return -SIGNED_DECIMAL - 1 <= number <= SIGNED_DECIMAL


def unsigned(number: int) -> str:
    """The same without a sign."""
    return str(number) if number <= UNSIGNED_DECIMAL else hex(number)


def reg_text(frame: Frame, reg: Reg) -> str:
    """A register's kind and what is known of it."""
    kind = reg.kind
    prefix = "P" if kind == kinds.SCALAR_VALUE and reg.precise else ""
    if kind == kinds.SCALAR_VALUE and not reg.vm:
        return prefix + signed(bits.s64(reg.vv))
    prefix += regtype.text(kind)
    if kind & KIND_MASK == kinds.PTR_TO_BTF_ID and reg.btf is not None:
        prefix += reg.btf.type(reg.btf_id).name
    if kind == kinds.PTR_TO_ARENA:
        return prefix
    if kind == kinds.PTR_TO_STACK:
        if frame.frameno != reg.frameno:
            prefix += f"[{reg.frameno}]"
        if not reg.vm:
            return prefix + signed(bits.s64(reg.vv + reg.off))
    return f"{prefix}({','.join(_details(reg))})"


def _details(reg: Reg) -> list[str]:
    parts = _identity(reg)
    if reg.vm:
        parts += _ranges(reg)
        if reg.vm != uapi.U64:
            parts.append(f"var_off={tnum_text(reg.vv, reg.vm)}")
    elif reg.vv:
        parts.append(f"imm={signed(bits.s64(reg.vv))}")
    return parts


def _identity(reg: Reg) -> list[str]:
    """Ids, map, offset, sizes."""
    parts = []
    base = reg.kind & KIND_MASK
    if reg.id:
        added = f"{reg.off:+d}" if reg.id & ADD_CONST else ""
        parts.append(f"id={reg.id & ~ADD_CONST}{added}")
    if reg.ref:
        parts.append(f"ref_obj_id={reg.ref}")
    if reg.kind & kinds.NON_OWN_REF:
        parts.append("non_own_ref")
    if base in regtype.MAP_POINTERS and reg.map is not None:
        if reg.map.name:
            parts.append(f"map={reg.map.name}")
        parts.append(f"ks={reg.map.key_size},vs={reg.map.value_size}")
    if reg.kind != kinds.SCALAR_VALUE and reg.off:
        parts.append(f"off={signed(reg.off)}")
    if reg.kind in regtype.PACKETS:
        parts.append(f"r={unsigned(reg.packet_range & uapi.U64)}")
    if base == kinds.CONST_PTR_TO_DYNPTR:
        parts.append(f"type={DYNPTR_TYPES[reg.slot_state]}")
    if base == kinds.PTR_TO_MEM:
        parts.append(f"sz={unsigned(reg.mem_size)}")
    return parts


def _ranges(reg: Reg) -> list[str]:
    """Bounds that say something; equal ones share a value."""
    rows = (("smin", reg.smin, S64_MIN), ("smax", reg.smax, S64_MAX), ("umin", reg.umin, 0),
            ("umax", reg.umax, uapi.U64), ("smin32", reg.s32min, S32_MIN),
            ("smax32", reg.s32max, S32_MAX), ("umin32", reg.u32min, 0),
            ("umax32", reg.u32max, uapi.U32))
    # in hexadecimal, 32 bits are not sign-extended: they would look like another number
    todo = [(i, name, value if i < 4 or _short(value) else value & uapi.U32)
            for i, (name, value, nothing) in enumerate(rows) if value != nothing]
    parts = []
    while todo:
        index, name, value = todo.pop(0)
        equal = [t for t in todo if t[0] % 2 == index % 2 and t[2] == value]
        todo = [t for t in todo if t not in equal]
        names = "=".join([name, *(t[1] for t in equal)])
        parts.append(f"{names}={signed(value) if name[0] == 's' else unsigned(value)}")
    return parts


def tnum_text(value: int, mask: int) -> str:
    """`(0x0; 0xff)`"""
    return f"({value:#x}; {mask:#x})"


def offset_text(value: int, mask: int) -> str:
    """The same in messages, where a constant is a number."""
    return tnum_text(value, mask) if mask else unsigned(value)
