"""Which earlier values must be known exactly (mark_chain_precision, kernel/bpf/backtrack.c).

A number that decided something (a bound, an offset) makes the numbers it came from precise, back
through the history of jumps and the states before. Sets of registers and slots are masks, one of
each per frame.
"""

from __future__ import annotations

from collections.abc import Callable

from anybpf import uapi
from anybpf.errors import Bug
from anybpf.proto import kinds
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.livestack import slots_text
from anybpf.verifier.state import Hop, Reg, State

_ARGUMENTS = 0b111110
_R0 = 1
FP = 10


class _Unknown(Exception):
    """The instruction cannot be looked through: everything becomes precise."""


class Wanted:
    """Registers and slots whose precision is asked for, per frame; `frame` is where we are."""

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self.regs = [0] * 8
        self.slots = [0] * 8

    @property
    def empty(self) -> bool:
        return not any(self.regs) and not any(self.slots)

    def has(self, reg: int) -> bool:
        return bool(self.regs[self.frame] >> reg & 1)

    def set(self, reg: int) -> None:
        self.regs[self.frame] |= 1 << reg

    def clear(self, reg: int) -> None:
        self.regs[self.frame] &= ~(1 << reg)


def mark(env: Env, regno: int) -> None:
    """Register `regno` of the current frame must be known exactly (mark_chain_precision)."""
    wanted = Wanted(len(env.state.frames) - 1)
    wanted.set(regno)
    chain(env, env.state, wanted)


def chain(env: Env, state: State, wanted: Wanted) -> bool:
    """Follow `wanted` back from the instruction that `state` is at; True if a mark was new."""
    if wanted.empty:
        return False
    return _Walk(env, state, wanted).run()


class _Walk:
    """One walk back."""

    def __init__(self, env: Env, start: State, wanted: Wanted) -> None:
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
            if self.wanted.empty:
                return self.changed
            first, state, skip = state.first_insn_idx, state.parent, False
            if state is None:
                break
            self._mark(state)
            if self.wanted.empty:
                return self.changed
            subsequent, last = first, state.last_insn_idx
        mark_everything(self.env, self.start)
        return True

    def _at_entry(self, state: State) -> bool:
        """A global function's arguments are all that may still be asked for."""
        asked = self.wanted.regs[0]
        if not state.frames[0].subprog or self.wanted.frame or asked & ~_ARGUMENTS \
                or self.wanted.slots[0]:
            raise Bug("backtracking went past the program's start")
        for i in _bits(asked):
            self._precise(state.frames[0].regs[i])
        return self.changed

    def _through(self, state: State, idx: int, subsequent: int, skip: bool) -> int:
        """All instructions of one state, last to first; returns the index of the first."""
        hop = state.history
        while True:
            if not skip:
                self._insn(idx, subsequent, hop if hop is not None and hop.idx == idx else None)
            skip = False
            if self.wanted.empty:
                return idx
            subsequent = idx
            if idx == state.first_insn_idx and (
                    hop is None or (hop.before is None and hop.idx == idx)):
                return idx
            if hop is not None and hop.idx == idx:
                idx, hop = hop.prev, hop.before
            else:
                idx -= 1

    def _mark(self, state: State) -> None:
        """Set the marks that are asked for in a state, as far as they are new and numbers."""
        wanted = self.wanted
        for number in range(wanted.frame, -1, -1):
            frame = state.frames[number]
            for i in _bits(wanted.regs[number]):
                if not self._precise(frame.regs[i]):
                    wanted.regs[number] &= ~(1 << i)
            for i in _bits(wanted.slots[number]):
                if i >= len(frame.stack) or not (
                        frame.stack[i].scalar_spilled() and self._precise(frame.stack[i].reg)):
                    wanted.slots[number] &= ~(1 << i)
            if self.env.log.detailed:
                self.env.log.write(
                    f"mark_precise: frame{number}: parent state regs="
                    f"{regs_text(wanted.regs[number])} stack={slots_text(wanted.slots[number])}: ")
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
        _RULES[insn.cls](self, insn, idx, subsequent, hop)
        self._sync_linked(hop)

    def _sync_linked(self, hop: Hop | None) -> None:
        """Registers that learnt together are precise together."""
        if hop is None or not hop.linked:
            return
        wanted = self.wanted
        if not any((wanted.regs if is_reg else wanted.slots)[frame] >> number & 1
                   for frame, number, is_reg in hop.linked):
            return
        for frame, number, is_reg in hop.linked:
            (wanted.regs if is_reg else wanted.slots)[frame] |= 1 << number

    def alu(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        wanted = self.wanted
        if not wanted.has(insn.dst) or insn.op in (uapi.BPF_END, uapi.BPF_NEG):
            return
        if insn.op == uapi.BPF_MOV:
            wanted.clear(insn.dst)
        if insn.uses_reg and insn.src != FP:
            wanted.set(insn.src)

    def load(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        if not self.wanted.has(insn.dst):
            return
        self.wanted.clear(insn.dst)
        if hop is not None and hop.frame >= 0:
            self.wanted.slots[hop.frame] |= 1 << hop.slot

    def store(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        wanted = self.wanted
        if insn.mode == uapi.BPF_ATOMIC and insn.imm == uapi.BPF_LOAD_ACQ:
            self.load(insn, idx, subsequent, hop)
            return
        if wanted.has(insn.dst):
            raise _Unknown
        if hop is None or hop.frame < 0:
            return
        if not wanted.slots[hop.frame] >> hop.slot & 1:
            return
        wanted.slots[hop.frame] &= ~(1 << hop.slot)
        if insn.cls == uapi.BPF_STX:
            wanted.set(insn.src)

    def jump(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        wanted = self.wanted
        if insn.is_pseudo_call and self.env.subprogs[
                self.env.subprog_at(idx + insn.imm + 1)].is_global:
            wanted.clear(0)
        elif insn.is_pseudo_call:
            self._into_caller(pass_arguments=True)
        elif insn.op == uapi.BPF_CALL:
            if self.env.aux[idx].calls_callback and idx != subsequent - 1:
                self._into_caller(pass_arguments=False)
                return
            wanted.clear(0)
            if wanted.regs[wanted.frame] & _ARGUMENTS:
                raise Bug(f"precision of arguments wanted before the call at {idx}")
        elif insn.op == uapi.BPF_EXIT:
            self._into_callee(subsequent)
        elif insn.uses_reg and insn.op not in (uapi.BPF_JA, uapi.BPF_JCOND):
            if not wanted.has(insn.dst) and not wanted.has(insn.src):
                return
            if hop is None or not hop.src_on_stack:
                wanted.set(insn.src)
            if hop is None or not hop.dst_on_stack:
                wanted.set(insn.dst)

    def _into_caller(self, pass_arguments: bool) -> None:
        wanted = self.wanted
        asked = wanted.regs[wanted.frame]
        if asked & ~_ARGUMENTS or wanted.slots[wanted.frame]:
            raise Bug("precision wanted of what a function did not get")
        wanted.regs[wanted.frame] = 0
        wanted.frame -= 1
        if pass_arguments:
            wanted.regs[wanted.frame] |= asked

    def _into_callee(self, subsequent: int) -> None:
        wanted, env = self.wanted, self.env
        if subsequent >= 0 and env.aux[subsequent].calls_callback:
            wanted.regs[wanted.frame] &= ~_ARGUMENTS
        if wanted.regs[wanted.frame] & _ARGUMENTS:
            raise Bug("precision of arguments wanted after a call")
        returned = (subsequent > 0 and env.decoded[subsequent - 1].is_pseudo_call
                    and wanted.has(0))
        wanted.clear(0)
        wanted.frame += 1
        if returned:
            wanted.set(0)

    def ld(self, insn: Decoded, idx: int, subsequent: int, hop: Hop | None) -> None:
        if not self.wanted.has(insn.dst):
            return
        self.wanted.clear(insn.dst)
        if not insn.is_ld_imm64:
            raise _Unknown


_Rule = Callable[[_Walk, Decoded, int, int, "Hop | None"], None]
_RULES: dict[int, _Rule] = {
    uapi.BPF_ALU: _Walk.alu, uapi.BPF_ALU64: _Walk.alu, uapi.BPF_LDX: _Walk.load,
    uapi.BPF_ST: _Walk.store, uapi.BPF_STX: _Walk.store, uapi.BPF_JMP: _Walk.jump,
    uapi.BPF_JMP32: _Walk.jump, uapi.BPF_LD: _Walk.ld,
}


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
        hop = env.hop = state.history = Hop(env.idx, env.prev_idx, state.history)
    return hop


def push_stack(env: Env, frame: int, slot: int) -> None:
    """Remember that the instruction read or wrote a spilled register."""
    hop = push(env)
    hop.frame, hop.slot = frame, slot
