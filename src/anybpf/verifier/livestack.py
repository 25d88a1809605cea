"""Which stack slots an instruction's past still matters to (kernel/bpf/liveness.c).

The walk records for each instruction, in each chain of calls, the slots that it may read and those
that it surely writes. Then, as for registers:

before(i)  = read(i) | after(i) & ~written(i)
after(i)   = the union of before(s) over the successors s of i
written(i) = what i writes | what all its successors have written

A function called from two places is two instances; what it does to its callers' stacks is carried
to the call when the function is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from anybpf import uapi
from anybpf.verifier.cfg import successors
from anybpf.verifier.env import Env
from anybpf.verifier.state import State


class Chain(NamedTuple):
    """How a function was reached: the slots of the calls, then the function's first slot."""

    calls: tuple[int, ...]
    start: int

    def __str__(self) -> str:
        return f"({','.join(map(str, (*self.calls, self.start)))})"


class Marks:
    """One instruction's masks of slots of one frame."""

    __slots__ = ("before", "reads", "writes", "written")

    def __init__(self) -> None:
        self.reads = 0
        self.writes = 0
        self.written = 0
        self.before = 0


class Instance:
    """One function in one chain of calls."""

    def __init__(self, chain: Chain, subprog: int) -> None:
        self.chain = chain
        self.subprog = subprog
        self.frames: list[dict[int, Marks] | None] = [None] * (len(chain.calls) + 1)
        self.seen: set[int] = set()
        self.updated = False
        self.dropped = False

    def marks(self, frame: int, idx: int) -> Marks:
        """The marks of instruction `idx`, made if there are none."""
        table = self.frames[frame]
        if table is None:
            table = self.frames[frame] = {}
        found = table.get(idx)
        if found is None:
            found = table[idx] = Marks()
        return found

    def known(self, frame: int, idx: int) -> Marks | None:
        table = self.frames[frame]
        return table.get(idx) if table is not None else None


class LiveStack:
    """All instances of one verification."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.instances: dict[Chain, Instance] = {}
        self._current: Instance | None = None
        self._writes: list[int] = []
        self._write_idx = 0

    def forget_current(self) -> None:
        """The walk went to another function."""
        self._current = None

    def _lookup(self, state: State, frameno: int) -> Instance:
        calls = tuple(f.callsite for f in state.frames[1:frameno + 1])
        subprog = state.frames[frameno].subprog
        chain = Chain(calls, self.env.subprogs[subprog].start)
        found = self.instances.get(chain)
        if found is None:
            found = self.instances[chain] = Instance(chain, subprog)
        return found

    def _now(self) -> Instance:
        if self._current is None:
            self._current = self._lookup(self.env.state, len(self.env.state.frames) - 1)
        return self._current

    # -- recording

    def begin(self, idx: int) -> None:
        """Instruction `idx` starts: nothing is written yet."""
        self._write_idx = idx
        self._writes = [0] * len(self._now().frames)

    def read(self, frame: int, idx: int, mask: int) -> None:
        """Instruction `idx` may read these slots of `frame`."""
        self._read(self._now(), frame, idx, mask)

    @staticmethod
    def _read(instance: Instance, frame: int, idx: int, mask: int) -> None:
        marks = instance.marks(frame, idx)
        reads = marks.reads | mask
        # what is live here anyway changes nothing
        if reads != marks.reads and reads & ~marks.before:
            instance.updated = True
        marks.reads = reads

    def write(self, frame: int, mask: int) -> None:
        """The current instruction surely writes these slots of `frame`."""
        self._writes[frame] |= mask

    def commit(self) -> None:
        """The instruction is done."""
        if self._current is not None:
            self._commit(self._current)

    def _commit(self, instance: Instance) -> None:
        idx = self._write_idx
        for frame in range(min(len(instance.frames), len(self._writes))):
            mask = self._writes[frame]
            if not mask and instance.known(frame, idx) is None:
                continue
            marks = instance.marks(frame, idx)
            old = marks.writes
            if idx in instance.seen:
                mask &= old
            if mask != old:
                marks.writes = mask
                instance.updated = True
            if old & ~mask:
                instance.dropped = True
        instance.seen.add(idx)
        self._writes = []

    # -- propagation

    def update(self) -> None:
        """Carry marks backwards in every function of the current state, innermost first."""
        for frameno in reversed(range(len(self.env.state.frames))):
            instance = self._lookup(self.env.state, frameno)
            if instance.dropped:
                for table in instance.frames:
                    for marks in (table or {}).values():
                        marks.written = 0
            self._update(instance)
            instance.updated = instance.dropped = False

    def _update(self, instance: Instance) -> None:
        if not instance.updated:
            return
        order = self.env.subprogs[instance.subprog].postorder
        rounds, changed = 0, True
        while changed:
            rounds += 1
            changed = False
            for frame in range(len(instance.frames)):
                if instance.frames[frame] is not None:
                    for idx in order:
                        changed |= self._update_insn(instance, frame, idx)
        if self.env.log.detailed:
            self.env.log.write(f"{instance.chain} live stack update done in {rounds} iterations\n")
        if instance.chain.calls:
            self._to_caller(instance)

    def _update_insn(self, instance: Instance, frame: int, idx: int) -> bool:
        marks = instance.marks(frame, idx)
        after = successors(self.env.insns, idx)
        live, written = 0, uapi.U64 if after else 0
        for following in after:
            next_marks = instance.marks(frame, following)
            live |= next_marks.before
            written &= next_marks.written
        written |= marks.writes
        before = live & ~marks.writes | marks.reads
        changed = before != marks.before or written != marks.written
        if changed and self.env.log.detailed and (
                marks.reads or marks.writes or idx == instance.chain.start
                or self.env.aux[idx].prune_point):
            self._tell(instance, "live", frame, idx, marks.before, before)
            self._tell(instance, "written", frame, idx, marks.written, written)
        marks.before, marks.written = before, written
        return changed

    def _tell(self, instance: Instance, word: str, frame: int, idx: int, old: int,
              new: int) -> None:
        if old == new:
            return
        text = f"{instance.chain} frame {frame} insn {idx} "
        if new & ~old:
            text += f"+{word} {slots_text(new & ~old)} "
        if old & ~new:
            text += f"-{word} {slots_text(old & ~new)}"
        self.env.log.write(text + "\n")

    def _to_caller(self, instance: Instance) -> None:
        calls = instance.chain.calls
        outer_subprog = next(i for i, s in enumerate(self.env.subprogs)
                             if s.start <= calls[-1] < s.end)
        chain = Chain(calls[:-1], self.env.subprogs[outer_subprog].start)
        outer = self.instances.get(chain)
        if outer is None:
            outer = self.instances[chain] = Instance(chain, outer_subprog)
        self._write_idx, self._writes = calls[-1], [0] * len(outer.frames)
        for frame in range(len(calls)):
            first = instance.known(frame, instance.chain.start)
            if first is not None:
                self._writes[frame] |= first.written
                self._read(outer, frame, calls[-1], first.before)
        self._commit(outer)

    # -- questions

    def query(self, state: State) -> Callable[[int, int], bool]:
        """A function that tells whether slot (frame, number) of `state` may still be read."""
        instances = [self._lookup(state, i) for i in range(len(state.frames))]

        def before(instance: Instance, idx: int, frame: int, slot: int) -> bool:
            marks = instance.known(frame, idx)
            return marks is not None and bool(marks.before >> slot & 1)

        def alive(frame: int, slot: int) -> bool:
            if before(instances[-1], state.insn_idx, frame, slot):
                return True
            for outer in range(frame, len(instances) - 1):
                call = state.frames[outer + 1].callsite
                if not self.env.aux[call].calls_callback:
                    call += 1
                if before(instances[outer], call, frame, slot):
                    return True
            return False

        return alive


def slots_text(mask: int) -> str:
    """`-8,-24`"""
    return ",".join(str(-8 * (i + 1)) for i in range(64) if mask >> i & 1)
