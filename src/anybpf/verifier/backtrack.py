"""Which earlier values must be known exactly (mark_chain_precision, kernel/bpf/backtrack.c).

A number that decided something (a bound, an offset) makes the numbers it came from precise, back
through the history of jumps and the states before. Sets of registers and slots are masks, one of
each per frame.
"""

from __future__ import annotations

from errno import EFAULT

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.verifier.consts import ARGUMENTS, FP, MAX_FRAMES, MAX_SLOTS, REGS
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.livestack import slots_text
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import Frame, Hop, Reg, Slot, State, new_hop

Linked = tuple[tuple[int, int, bool], ...]


class _Unknown(Exception):
    """The instruction cannot be looked through: everything becomes precise."""


class Wanted:
    """Registers and slots whose precision is asked for, per frame; `frame` is where we are."""

    def __init__(self, frame: int) -> None:
        self.begin(frame)

    def begin(self, frame: int) -> None:
        """All of `__init__`, for compiled code, which would call that slowly."""
        self.frame = frame
        self.regs = [0, 0, 0, 0, 0, 0, 0, 0]
        self.slots = [0, 0, 0, 0, 0, 0, 0, 0]

    def empty(self) -> bool:
        """Nothing is asked for any more."""
        asked = 0
        for i in range(MAX_FRAMES):
            asked |= self.regs[i] | self.slots[i]
        return asked == 0

    def has(self, reg: int) -> bool:
        """Whether a register of the current frame is asked for."""
        return self.regs[self.frame] >> reg & 1 != 0

    def set(self, reg: int) -> None:
        """Ask for a register of the current frame."""
        self.add_reg(self.frame, reg)

    def clear(self, reg: int) -> None:
        """No more ask for a register of the current frame."""
        self.drop_reg(self.frame, reg)

    def add_reg(self, frame: int, reg: int) -> None:
        one = 1
        self.regs[frame] |= one << reg

    def drop_reg(self, frame: int, reg: int) -> None:
        one = 1
        self.regs[frame] &= ~(one << reg)

    def has_slot(self, frame: int, slot: int) -> bool:
        return self.slots[frame] >> slot & 1 != 0

    def add_slot(self, frame: int, slot: int) -> None:
        one = 1
        self.slots[frame] |= one << slot

    def drop_slot(self, frame: int, slot: int) -> None:
        one = 1
        self.slots[frame] &= ~(one << slot)

    def any_linked(self, linked: Linked) -> bool:
        """Whether one of these registers and slots is asked for."""
        for frame, number, is_reg in linked:
            mask = self.regs[frame] if is_reg else self.slots[frame]
            if mask >> number & 1:
                return True
        return False

    def add_linked(self, linked: Linked) -> None:
        """Ask for all of them."""
        for frame, number, is_reg in linked:
            if is_reg:
                self.add_reg(frame, number)
            else:
                self.add_slot(frame, number)


def _bug(env: Env, text: str) -> Reject:
    """The kernel's walk back, too, loses its way where a load from the packet ends a function: it
    takes the function's instructions for its caller's."""
    return env.reject(EFAULT, f"verifier bug: {text}")


def new_wanted(frame: int) -> Wanted:
    """The same as `Wanted(frame)`, quicker when compiled."""
    made = Wanted.__new__(Wanted)
    made.begin(frame)
    return made


def mark(env: Env, regno: int) -> None:
    """Register `regno` of the current frame must be known exactly (mark_chain_precision)."""
    if env.regs[regno].kind != kinds.SCALAR_VALUE:
        raise _bug(env, "backtracking misuse")
    wanted = new_wanted(len(env.state.frames) - 1)
    wanted.set(regno)
    chain(env, env.state, wanted)


def chain(env: Env, state: State, wanted: Wanted) -> bool:
    """Follow `wanted` back from the instruction that `state` is at; True if a mark was new."""
    if wanted.empty():
        return False
    walk = _Walk.__new__(_Walk)
    walk.begin(env, state, wanted)
    return walk.run()


class _Walk:
    """One walk back."""

    def begin(self, env: Env, start: State, wanted: Wanted) -> None:
        """In place of `__init__`, which compiled code would call slowly."""
        self.env = env
        self.start = start
        self.wanted = wanted
        self.changed = False

    def run(self) -> bool:
        state: State | None = self.start
        last, subsequent, skip = self.start.insn_idx, -1, True
        while state is not None:
            if self.env.log.detailed:
                self.env.log.write(
                    f"mark_precise: frame{self.wanted.frame}: last_idx {last} first_idx "
                    f"{state.first_insn_idx} subseq_idx {subsequent} \n")
            if last < 0:
                return self._at_entry(state)
            try:
                subsequent = self._through(state, last, subsequent, skip)
            except _Unknown:
                mark_everything(self.env, self.start)
                return True
            if self.wanted.empty():
                return self.changed
            first, state, skip = state.first_insn_idx, state.parent, False
            if state is None:
                break
            self._mark(state)
            if self.wanted.empty():
                return self.changed
            subsequent, last = first, state.last_insn_idx
        mark_everything(self.env, self.start)
        return True

    def _at_entry(self, state: State) -> bool:
        """A global function's arguments are all that may still be asked for."""
        asked = self.wanted.regs[0]
        frame = state.frames[0]
        if not frame.subprog or self.wanted.frame or asked & ~ARGUMENTS \
                or self.wanted.slots[0]:
            raise _bug(self.env, f"backtracking func entry subprog {state.frames[0].subprog} "
                                 f"reg_mask {asked:x} stack_mask {self.wanted.slots[0]:x}")
        for i in range(REGS):
            if asked >> i & 1:
                self._precise(frame.regs[i])
        return self.changed

    def _through(self, state: State, idx: int, subsequent: int, skip: bool) -> int:
        """All instructions of one state, last to first; returns the index of the first."""
        hop = state.history
        while True:
            if not skip:
                self._insn(idx, subsequent, hop if hop is not None and hop.idx == idx else None)
            skip = False
            if self.wanted.empty():
                return idx
            subsequent = idx
            if idx == state.first_insn_idx and (
                    hop is None or (hop.before is None and hop.idx == idx)):
                return idx
            if hop is not None and hop.idx == idx:
                idx, hop = hop.prev, hop.before
            else:
                idx -= 1
                if idx < 0:
                    raise _bug(self.env, f"backtracking idx {idx}")

    def _mark(self, state: State) -> None:
        """Set the marks that are asked for in a state, as far as they are new and numbers."""
        for number in range(self.wanted.frame, -1, -1):
            self._mark_frame(state.frames[number], number)
            if self.env.log.detailed:
                self._tell_frame(state, number)

    def _mark_frame(self, frame: Frame, number: int) -> None:
        wanted = self.wanted
        for i in range(REGS):
            if wanted.regs[number] >> i & 1 and not self._precise(frame.regs[i]):
                wanted.drop_reg(number, i)
        if not wanted.slots[number]:
            return
        for i in range(MAX_SLOTS):
            if wanted.has_slot(number, i) and not (
                    i < len(frame.stack) and self._precise_slot(frame.stack[i])):
                wanted.drop_slot(number, i)

    def _precise_slot(self, slot: Slot) -> bool:
        return slot.scalar_spilled() and self._precise(slot.reg)

    def _tell_frame(self, state: State, number: int) -> None:
        regs, slots = self.wanted.regs[number], self.wanted.slots[number]
        self.env.log.write(f"mark_precise: frame{number}: parent state regs={regs_text(regs)} "
                           f"stack={slots_text(slots)}: ")
        self.env.log.print_state(state, number, everything=True)

    def _precise(self, reg: Reg) -> bool:
        """Mark; False if that was nothing new."""
        if reg.kind != kinds.SCALAR_VALUE or reg.precise:
            return False
        reg.precise = True
        self.changed = True
        return True

    # -- one instruction

    def _insn(self, idx: int, subsequent: int, hop: Hop | None) -> None:
        insn, wanted = self.env.decoded[idx], self.wanted
        if insn.code == 0:
            return
        if self.env.log.detailed:
            self.env.log.write(
                f"mark_precise: frame{wanted.frame}: regs={regs_text(wanted.regs[wanted.frame])} "
                f"stack={slots_text(wanted.slots[wanted.frame])} before {idx}: "
                f"{self.env.text_of(idx)}\n")
        self._sync_linked(hop)
        self._rule(insn, idx, subsequent, hop)
        self._sync_linked(hop)

    def _rule(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        # not a table: compiled, this is one jump
        cls = insn.cls
        if cls == uapi.BPF_ALU or cls == uapi.BPF_ALU64:
            self._alu(insn)
        elif cls == uapi.BPF_JMP or cls == uapi.BPF_JMP32:
            self._jump(insn, idx, subsequent, hop)
        elif cls == uapi.BPF_LDX:
            self._load(insn, hop)
        elif cls == uapi.BPF_LD:
            self._ld(insn)
        else:
            self._store(insn, hop)

    def _sync_linked(self, hop: Hop | None) -> None:
        """Registers that learnt together are precise together."""
        if hop is not None and hop.linked and self.wanted.any_linked(hop.linked):
            self.wanted.add_linked(hop.linked)

    def _alu(self, insn: Decoded) -> None:
        wanted = self.wanted
        if not wanted.has(insn.dst) or insn.op in (uapi.BPF_END, uapi.BPF_NEG):
            return
        if insn.op == uapi.BPF_MOV:
            wanted.clear(insn.dst)
        if insn.uses_reg and insn.src != FP:
            wanted.set(insn.src)

    def _load(self, insn: Decoded, hop: Hop | None) -> None:
        if not self.wanted.has(insn.dst):
            return
        self.wanted.clear(insn.dst)
        if hop is not None and hop.frame >= 0:
            self.wanted.add_slot(hop.frame, hop.slot)

    def _store(self, insn: Decoded, hop: Hop | None) -> None:
        wanted = self.wanted
        if insn.mode == uapi.BPF_ATOMIC and insn.imm == uapi.BPF_LOAD_ACQ:
            self._load(insn, hop)
            return
        if wanted.has(insn.dst):
            raise _Unknown
        if hop is None or hop.frame < 0:
            return
        if not wanted.has_slot(hop.frame, hop.slot):
            return
        wanted.drop_slot(hop.frame, hop.slot)
        if insn.cls == uapi.BPF_STX:
            wanted.set(insn.src)

    def _jump(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        wanted = self.wanted
        if insn.is_pseudo_call and self.env.subprogs[
                self.env.subprog_at(idx + insn.imm + 1)].is_global:
            self._no_arguments("global subprog")
            wanted.clear(0)
        elif insn.is_pseudo_call:
            self._into_caller(pass_arguments=True)
        elif insn.op == uapi.BPF_CALL:
            aux = self.env.aux[idx]
            if aux.calls_callback and idx != subsequent - 1:
                self._into_caller(pass_arguments=False)
                return
            if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL and not insn.imm:
                raise _Unknown                      # the loader has found no such function
            wanted.clear(0)
            self._no_arguments("backtracking call")
            if not insn.src and insn.imm == uapi.BPF_FUNC_tail_call and subsequent != idx + 1:
                self._enter()
        elif insn.op == uapi.BPF_EXIT:
            self._into_callee(subsequent)
        elif insn.uses_reg and insn.op not in (uapi.BPF_JA, uapi.BPF_JCOND):
            if not wanted.has(insn.dst) and not wanted.has(insn.src):
                return
            if hop is None or not hop.src_on_stack:
                wanted.set(insn.src)
            if hop is None or not hop.dst_on_stack:
                wanted.set(insn.dst)

    def _no_arguments(self, where: str) -> None:
        """What a call leaves undefined was found already."""
        asked = self.wanted.regs[self.wanted.frame]
        if asked & ARGUMENTS:
            raise _bug(self.env, f"{where} unexpected regs {asked:x}")

    def _into_caller(self, pass_arguments: bool) -> None:
        wanted = self.wanted
        asked, slots = wanted.regs[wanted.frame], wanted.slots[wanted.frame]
        what = "static subprog" if pass_arguments else "callback"
        if asked & ~ARGUMENTS:
            raise _bug(self.env, f"{what} unexpected regs {asked:x}")
        if slots:
            raise _bug(self.env, f"{what} leftover stack slots {slots:x}")
        if not wanted.frame:
            raise _bug(self.env, "subprog exit from frame 0")
        wanted.regs[wanted.frame] = 0
        wanted.frame -= 1
        if pass_arguments:
            wanted.regs[wanted.frame] |= asked

    def _into_callee(self, subsequent: int) -> None:
        wanted, env = self.wanted, self.env
        if subsequent >= 0 and env.aux[subsequent].calls_callback:
            wanted.regs[wanted.frame] &= ~ARGUMENTS
        self._no_arguments("backtracking exit")
        returned = (subsequent > 0 and env.decoded[subsequent - 1].is_pseudo_call
                    and wanted.has(0))
        wanted.clear(0)
        self._enter()
        if returned:
            wanted.set(0)

    def _enter(self) -> None:
        """What comes before is in the function that returned here, or ended in another way."""
        wanted = self.wanted
        if wanted.frame == MAX_FRAMES - 1:
            raise _bug(self.env, f"subprog enter from frame {wanted.frame}")
        wanted.frame += 1

    def _ld(self, insn: Decoded) -> None:
        if not self.wanted.has(insn.dst):
            return
        self.wanted.clear(insn.dst)
        if not insn.is_ld_imm64:
            raise _Unknown


def _bits(mask: int) -> list[int]:
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def regs_text(mask: int) -> str:
    """`r1,r6`"""
    return ",".join(f"r{i}" for i in _bits(mask))


def mark_everything(env: Env, start: State) -> None:
    """Every number of `start`'s past becomes precise (mark_all_scalars_precise)."""
    if env.log.detailed:
        env.log.write(f"mark_precise: frame{len(start.frames) - 1}: falling back to forcing all "
                      "scalars precise\n")
    state = start.parent
    while state is not None:
        for number, frame in enumerate(state.frames):
            for i, reg in enumerate(frame.regs[:FP]):
                _force(env, reg, f"frame{number}: forcing r{i}")
            for i, slot in enumerate(frame.stack):
                if slot.spilled():
                    _force(env, slot.reg, f"frame{number}: forcing fp{-8 * (i + 1)}")
        state = state.parent


def _force(env: Env, reg: Reg, what: str) -> None:
    if reg.kind != kinds.SCALAR_VALUE or reg.precise:
        return
    reg.precise = True
    if env.log.detailed:
        env.log.write(f"force_precise: {what} to be precise\n")


def push(env: Env) -> Hop:
    """The current instruction's entry in the history, made if there is none (push_jmp_history)."""
    hop = env.hop
    if hop is None:
        state = env.state
        hop = new_hop(env.idx, env.prev_idx, state.history)
        env.hop = state.history = hop
    return hop


def push_stack(env: Env, frame: int, slot: int) -> None:
    """Remember that the instruction read or wrote a spilled register."""
    hop = push(env)
    hop.frame, hop.slot = frame, slot
