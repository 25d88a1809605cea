"""One point of one path: registers, stack, frames (struct bpf_verifier_state, bpf_verifier.h).

Flat classes; a copy is a loop over fields. Packet ranges are signed: `AT_END` and `BEYOND_END` say
that the pointer itself was compared with the packet's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.verifier import consts, ranges
from anybpf.verifier.ranges import Range

if TYPE_CHECKING:
    from anybpf.btf.parse import Btf
    from anybpf.verifier.facts import MapFacts

REGS: Final = consts.REGS
FP: Final = consts.FP
SLOT_BYTES: Final = consts.SLOT_BYTES
MAX_STACK: Final = consts.MAX_STACK
MAX_FRAMES: Final = consts.MAX_FRAMES

AT_END: Final = consts.AT_END
BEYOND_END: Final = consts.BEYOND_END

# bits of `Reg.id`: the register is another one of that id plus `off`, in 64 or 32 bits
ADD_CONST64: Final = consts.ADD_CONST64
ADD_CONST32: Final = consts.ADD_CONST32
ADD_CONST: Final = consts.ADD_CONST

# what a byte of the stack holds
INVALID: Final = consts.INVALID
SPILL: Final = consts.SPILL
MISC: Final = consts.MISC
ZERO: Final = consts.ZERO
DYNPTR: Final = consts.DYNPTR
ITER: Final = consts.ITER
IRQ_FLAG: Final = consts.IRQ_FLAG
# an iterator's `Reg.slot_state`
ACTIVE: Final = 1
DRAINED: Final = 2
SLOT_LETTERS: Final = "?rm0dif"

#: `Frame.callsite` of the outermost frame
MAIN: Final = -1


class Reg(Range):
    """A register, or what was spilled of one."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = kinds.NOT_INIT
        self.off = 0
        self.id = 0
        self.ref = 0
        self.packet_range = 0
        self.map: MapFacts | None = None
        self.map_uid = 0
        self.mem_size = 0
        self.frameno = 0
        self.subprog = 0
        #: the types that `btf_id` is a number of (the kernel's, or the program's own)
        self.btf: Btf | None = None
        self.btf_id = 0
        #: the dynptr whose memory this is
        self.dynptr_id = 0
        #: of slots: an iterator's state, a dynptr's type, the family of an interrupt flag
        self.slot_state = 0
        #: of slots: how often an iterator went on; 1 in the first slot of a dynptr
        self.slot_depth = 0
        self.precise = False


def copy_reg(dst: Reg, src: Reg) -> None:
    """`dst` becomes what `src` is."""
    ranges.copy(dst, src)
    dst.kind, dst.off, dst.id, dst.ref = src.kind, src.off, src.id, src.ref
    dst.packet_range, dst.map, dst.map_uid = src.packet_range, src.map, src.map_uid
    dst.mem_size, dst.frameno, dst.subprog = src.mem_size, src.frameno, src.subprog
    dst.btf, dst.btf_id, dst.dynptr_id = src.btf, src.btf_id, src.dynptr_id
    dst.slot_state, dst.slot_depth = src.slot_state, src.slot_depth
    dst.precise = src.precise


def clone_reg(src: Reg) -> Reg:
    """A new register like `src`."""
    made = Reg.__new__(Reg)
    copy_reg(made, src)
    return made


def mark_not_init(reg: Reg) -> None:
    """Nothing may read it."""
    mark_unknown(reg)
    reg.kind = kinds.NOT_INIT


def _forget_pointer(reg: Reg) -> None:
    """All that only pointers have, but `frameno`, which known numbers keep (see `alu`)."""
    reg.off = reg.id = reg.ref = reg.packet_range = reg.map_uid = 0
    reg.mem_size = reg.subprog = 0
    reg.btf_id = reg.dynptr_id = reg.slot_state = reg.slot_depth = 0
    reg.map = None
    reg.btf = None


def mark_unknown(reg: Reg, precise: bool = False) -> None:
    """A number that may be anything."""
    _forget_pointer(reg)
    reg.frameno = 0
    ranges.unknown(reg)
    reg.kind = kinds.SCALAR_VALUE
    reg.precise = precise


def mark_known(reg: Reg, value: int) -> None:
    """The number or offset `value` (unsigned); the kind stays, ids go."""
    ranges.known(reg, value)
    reg.id = reg.ref = 0


def mark_known_scalar(reg: Reg, value: int) -> None:
    """The number `value` (unsigned)."""
    _forget_pointer(reg)
    ranges.known(reg, value)
    reg.kind = kinds.SCALAR_VALUE
    reg.precise = False


def mark_pointer(reg: Reg, kind: int) -> None:
    """A pointer of `kind` at offset 0."""
    mark_known_scalar(reg, 0)
    reg.kind = kind


def same_value(a: Reg, b: Reg) -> bool:
    """Kind, offsets and ranges are the same, ids aside."""
    return same_pointer(a, b) and ranges.same(a, b)


def same_pointer(a: Reg, b: Reg) -> bool:
    """Kind and fixed parts are the same."""
    return (a.kind == b.kind and a.off == b.off and a.map is b.map and a.map_uid == b.map_uid
            and a.mem_size == b.mem_size and a.packet_range == b.packet_range
            and a.subprog == b.subprog and a.btf is b.btf and a.btf_id == b.btf_id
            and a.dynptr_id == b.dynptr_id and a.slot_state == b.slot_state
            and a.slot_depth == b.slot_depth)


class Slot:
    """Eight bytes of the stack: what each byte holds, and the register spilled to the last of them.

    `types` has a byte for each byte of the stack, the one with the highest address lowest:
    `kind(0)` is the byte with the highest address.
    """

    def __init__(self) -> None:
        self.types = 0
        self.reg = Reg()

    def kind(self, index: int) -> int:
        """What byte `index` (0 .. 7) holds."""
        return self.types >> (8 * index) & 0xFF

    def put(self, index: int, kind: int) -> None:
        """Byte `index` holds `kind`."""
        self.put_many(index, 1, kind)

    def put_many(self, index: int, count: int, kind: int) -> None:
        """`count` (1 .. 8) bytes from `index` up hold `kind`."""
        mask = uapi.U64 >> (64 - 8 * count) << (8 * index)
        self.types = self.types & ~mask | consts.EACH_BYTE * kind & mask

    def all_are(self, index: int, count: int, kind: int) -> bool:
        """Whether `count` bytes from `index` up all hold `kind`."""
        mask = uapi.U64 >> (64 - 8 * count) << (8 * index)
        return (self.types ^ consts.EACH_BYTE * kind) & mask == 0

    def each(self) -> list[int]:
        """What all eight bytes hold."""
        return [self.kind(i) for i in range(consts.SLOT_BYTES)]

    def spilled(self) -> bool:
        """A register was spilled here (perhaps less than all of it)."""
        return self.types >> 56 == consts.SPILL

    def special(self) -> bool:
        """A spill, or an object of the kernel (is_stack_slot_special)."""
        kind = self.types >> 56
        return kind == consts.SPILL or kind >= consts.DYNPTR

    def scalar_spilled(self) -> bool:
        """A number was spilled here."""
        return self.types >> 56 == consts.SPILL and self.reg.kind == kinds.SCALAR_VALUE

    def whole_scalar(self) -> bool:
        """All 64 bits of a number were spilled here."""
        return self.types & 0xFF == consts.SPILL and self.reg.kind == kinds.SCALAR_VALUE

    def fill(self, kind: int) -> None:
        """All eight bytes hold `kind`."""
        self.types = consts.EACH_BYTE * kind

    def scrub(self, index: int) -> None:
        """Byte `index` no longer belongs to a spilled register (scrub_spilled_slot)."""
        if self.kind(index) != consts.INVALID:
            self.put(index, consts.MISC)

    def scrub_all(self) -> None:
        """No byte belongs to a spilled register any more."""
        for i in range(consts.SLOT_BYTES):
            self.scrub(i)

    def copy(self) -> Slot:
        made = Slot.__new__(Slot)
        made.types = self.types
        made.reg = clone_reg(self.reg)
        return made


class Frame:
    """One call of a function: registers, stack, and where it was called from."""

    def __init__(self, callsite: int, frameno: int, subprog: int) -> None:
        self.regs = [Reg() for _ in range(consts.REGS)]
        self.stack: list[Slot] = []
        self.callsite = callsite
        self.frameno = frameno
        self.subprog = subprog
        self.in_callback = False
        self.in_async_callback = False
        self.async_entries = 0
        self.callback_depth = 0
        self.callback_returns = (0, 0)

    def copy(self) -> Frame:
        made = Frame.__new__(Frame)
        made.regs = [clone_reg(reg) for reg in self.regs]
        made.stack = [copy_slot(slot) for slot in self.stack]
        made.callsite, made.frameno, made.subprog = self.callsite, self.frameno, self.subprog
        made.in_callback, made.in_async_callback = self.in_callback, self.in_async_callback
        made.async_entries, made.callback_depth = self.async_entries, self.callback_depth
        made.callback_returns = self.callback_returns
        return made

    @property
    def allocated(self) -> int:
        """Bytes of stack that were touched, counted from the top."""
        return len(self.stack) * consts.SLOT_BYTES

    def grow(self, size: int) -> None:
        """Make room for `size` bytes of stack."""
        while len(self.stack) * consts.SLOT_BYTES < size:
            self.stack.append(Slot())


def copy_slot(slot: Slot) -> Slot:
    """The same as `slot.copy()`."""
    return slot.copy()


# what a `Ref` is
REF_PTR: Final = 0
REF_IRQ: Final = 1
REF_LOCK: Final = 2
REF_RES_LOCK: Final = 3
REF_RES_LOCK_IRQ: Final = 4


class Ref(NamedTuple):
    """A resource that must be given back: its id, where it was acquired, and what it is."""

    id: int
    insn: int
    type: int = REF_PTR
    #: of locks: the map or the types that the locked object belongs to
    owner: object = None


class Hop:
    """One entry of the history of jumps: how `idx` was reached, and what it did to the stack.

    Entries are linked, the last first, so that states share what they have in common.
    """

    def __init__(self) -> None:
        self.idx = 0
        self.prev = 0
        #: the entry before this one, and how many there are with this one
        self.before: Hop | None = None
        self.count = 1
        #: frame and slot that was read or written; frame -1: none
        self.frame = -1
        self.slot = 0
        #: (frame, register or slot, is it a register) of registers that learnt together
        self.linked: tuple[tuple[int, int, bool], ...] = ()
        #: the comparison's operands that are stack pointers
        self.dst_on_stack = False
        self.src_on_stack = False


def new_hop(idx: int, prev: int, before: Hop | None) -> Hop:
    """An entry behind `before`."""
    made = Hop()
    made.idx, made.prev, made.before = idx, prev, before
    if before is not None:
        made.count = before.count + 1
    return made


class State:
    """A point of a path: all frames, what is held, and how it came here."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.refs: list[Ref] = []
        self.locks = 0
        self.lock_id = 0
        self.lock_owner: object = None
        self.rcu_locks = 0
        self.preempt_locks = 0
        #: id of the innermost saved interrupt state
        self.irq_id = 0
        self.sleepable = False
        self.speculative = False
        self.parent: State | None = None
        self.branches = 0
        self.insn_idx = 0
        self.first_insn_idx = 0
        self.last_insn_idx = -1
        #: the last entry of the history of jumps
        self.history: Hop | None = None
        self.equal_state: State | None = None
        self.dfs_depth = 0
        self.callback_unroll_depth = 0
        self.may_goto_depth = 0
        self.cleaned = False

    def copy(self) -> State:
        """A state with frames of its own."""
        made = State.__new__(State)
        copy_state(made, self)
        return made

    def innermost(self) -> Frame:
        """The innermost frame."""
        return self.frames[len(self.frames) - 1]

    @property
    def frame(self) -> Frame:
        """The innermost frame."""
        return self.frames[len(self.frames) - 1]

    @property
    def regs(self) -> list[Reg]:
        """The innermost frame's registers."""
        return self.frames[len(self.frames) - 1].regs

    def insn_of(self, frameno: int) -> int:
        """Where frame `frameno` is: at the state's instruction, or at its call."""
        if frameno == len(self.frames) - 1:
            return self.insn_idx
        inner = self.frames[frameno + 1]
        return inner.callsite


def copy_state(dst: State, src: State) -> None:
    """`dst` (a new one) becomes what `src` is, with frames of its own."""
    dst.frames = [copy_frame(frame) for frame in src.frames]
    dst.refs = list(src.refs)
    dst.locks, dst.lock_id, dst.lock_owner = src.locks, src.lock_id, src.lock_owner
    dst.rcu_locks, dst.preempt_locks, dst.irq_id = src.rcu_locks, src.preempt_locks, src.irq_id
    dst.sleepable, dst.speculative = src.sleepable, src.speculative
    dst.parent, dst.branches, dst.insn_idx = src.parent, src.branches, src.insn_idx
    dst.first_insn_idx, dst.last_insn_idx = src.first_insn_idx, src.last_insn_idx
    dst.history, dst.equal_state, dst.dfs_depth = src.history, src.equal_state, src.dfs_depth
    dst.callback_unroll_depth, dst.cleaned = src.callback_unroll_depth, src.cleaned
    dst.may_goto_depth = src.may_goto_depth


def copy_frame(frame: Frame) -> Frame:
    """The same as `frame.copy()`."""
    return frame.copy()


def imm_u64(imm: int) -> int:
    """A 32-bit immediate as instructions extend it: signed, to 64 bits."""
    return imm & uapi.U64
