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

from typing import NamedTuple

from anybpf.verifier.decoded import Decoded
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

    def __init__(self) -> None:
        self.reads = 0
        self.writes = 0
        self.written = 0
        self.before = 0


class Instance:
    """One function (slots `start` up to `end`) in one chain of calls."""

    def __init__(self, chain: Chain, subprog: int, end: int) -> None:
        self.chain = chain
        self.subprog = subprog
        self.start = chain.start
        self.size = end - chain.start
        self.depth = len(chain.calls) + 1
        #: for each frame the marks of each instruction, where there are any
        self.frames: list[list[Marks | None] | None] = [None] * self.depth
        self.seen = bytearray(self.size)
        self.updated = False
        self.dropped = False

    def marks(self, frame: int, idx: int) -> Marks:
        """The marks of instruction `idx`, made if there are none."""
        table = self.frames[frame]
        if table is None:
            table = self.frames[frame] = [None] * self.size
        found = table[idx - self.start]
        if found is None:
            found = table[idx - self.start] = Marks()
        return found

    def known(self, frame: int, idx: int) -> Marks | None:
        """The same, or None."""
        table = self.frames[frame]
        return table[idx - self.start] if table is not None else None


class LiveStack:
    """All instances of one verification."""

    def __init__(self, env: Env) -> None:
        self.env = env
        #: by the calls and the function's number: a plain tuple is made faster than a Chain
        self.instances: dict[tuple[tuple[int, ...], int], Instance] = {}
        self._current: Instance | None = None
        #: what the current instruction writes, for each frame
        self._writes = [0, 0, 0, 0, 0, 0, 0, 0]
        self._write_idx = 0

    def forget_current(self) -> None:
        """The walk went to another function."""
        self._current = None

    def lookup(self, state: State, frameno: int) -> Instance:
        """The function of one frame of `state`, as it was reached."""
        frame = state.frames[frameno]
        calls = tuple([f.callsite for f in state.frames[1:frameno + 1]]) if frameno else ()
        return self._instance(calls, frame.subprog)

    def _instance(self, calls: tuple[int, ...], subprog: int) -> Instance:
        key = (calls, subprog)
        found = self.instances.get(key)
        if found is None:
            function = self.env.subprogs[subprog]
            found = Instance(Chain(calls, function.start), subprog, function.end)
            self.instances[key] = found
        return found

    def _now(self) -> Instance:
        found = self._current
        if found is None:
            found = self.lookup(self.env.state, len(self.env.state.frames) - 1)
            self._current = found
        return found

    # -- recording

    def begin(self, idx: int) -> None:
        """Instruction `idx` starts: nothing is written yet."""
        self._write_idx = idx
        for frame in range(self._now().depth):
            self._writes[frame] = 0

    def read(self, frame: int, idx: int, mask: int) -> None:
        """Instruction `idx` may read these slots of `frame`."""
        self._read(self._now(), frame, idx, mask)

    def _read(self, instance: Instance, frame: int, idx: int, mask: int) -> None:
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
        at = idx - instance.start
        for frame in range(instance.depth):
            mask = self._writes[frame]
            if mask or instance.known(frame, idx) is not None:
                self._commit_frame(instance, instance.marks(frame, idx), mask, at)
            self._writes[frame] = 0
        instance.seen[at] = 1

    def _commit_frame(self, instance: Instance, marks: Marks, mask: int, at: int) -> None:
        old = marks.writes
        if instance.seen[at]:
            mask &= old
        if mask != old:
            marks.writes = mask
            instance.updated = True
        if old & ~mask:
            instance.dropped = True

    # -- propagation

    def update(self) -> None:
        """Carry marks backwards in every function of the current state, innermost first."""
        last = len(self.env.state.frames) - 1
        for frameno in range(last, -1, -1):
            instance = self._now() if frameno == last else self.lookup(self.env.state, frameno)
            if instance.dropped:
                self._forget_written(instance)
            if instance.updated:
                self._update(instance)
            instance.updated = instance.dropped = False

    def _forget_written(self, instance: Instance) -> None:
        for table in instance.frames:
            for marks in table or ():
                if marks is not None:
                    marks.written = 0

    def _update(self, instance: Instance) -> None:
        function = self.env.subprogs[instance.subprog]
        order = function.postorder
        rounds, changed = 0, True
        while changed:
            rounds += 1
            changed = False
            for frame in range(instance.depth):
                if instance.frames[frame] is not None:
                    for idx in order:
                        changed |= self._update_insn(instance, frame, idx)
        if self.env.log.detailed:
            self.env.log.write(f"{instance.chain} live stack update done in {rounds} iterations\n")
        if instance.chain.calls:
            self._to_caller(instance)

    def _update_insn(self, instance: Instance, frame: int, idx: int) -> bool:
        marks = instance.marks(frame, idx)
        insn: Decoded = self.env.decoded[idx]
        live, written = 0, 0
        if insn.next >= 0:
            following = instance.marks(frame, insn.next)
            live, written = following.before, following.written
        if insn.jump >= 0:
            following = instance.marks(frame, insn.jump)
            live, written = live | following.before, written & following.written
        written |= marks.writes
        before = live & ~marks.writes | marks.reads
        changed = before != marks.before or written != marks.written
        if changed and self.env.log.detailed:
            self._tell_change(instance, frame, idx, before, written)
        marks.before, marks.written = before, written
        return changed

    def _tell_change(self, instance: Instance, frame: int, idx: int, before: int,
                     written: int) -> None:
        """What is new, where that is of interest."""
        marks = instance.marks(frame, idx)
        if marks.reads or marks.writes or idx == instance.start or self.env.aux[idx].prune_point:
            self._tell(instance, "live", frame, idx, marks.before, before)
            self._tell(instance, "written", frame, idx, marks.written, written)

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
        call = calls[len(calls) - 1]
        outer_subprog = next(i for i, s in enumerate(self.env.subprogs) if s.start <= call < s.end)
        outer = self._instance(calls[:-1], outer_subprog)
        self._write_idx = call
        for frame in range(outer.depth):
            self._writes[frame] = 0
            first = instance.known(frame, instance.start)
            if first is not None:
                self._writes[frame] = first.written
                self._read(outer, frame, call, first.before)
        self._commit(outer)

    # -- questions

    def query(self, state: State) -> Query:
        """What tells which slots of `state` may still be read."""
        return Query(self, state)


class Query:
    """Which slots (frame, number) of a state may still be read."""

    def __init__(self, live: LiveStack, state: State) -> None:
        self.env = live.env
        self.state = state
        self.instances = [live.lookup(state, i) for i in range(len(state.frames))]

    def alive(self, frame: int) -> int:
        """The mask of such slots of `frame`."""
        state, last = self.state, len(self.instances) - 1
        mask = self._before(last, state.insn_idx, frame)
        for outer in range(frame, last):
            inner = state.frames[outer + 1]
            call = inner.callsite
            aux = self.env.aux[call]
            if not aux.calls_callback:
                call += 1
            mask |= self._before(outer, call, frame)
        return mask

    def _before(self, number: int, idx: int, frame: int) -> int:
        instance: Instance = self.instances[number]
        marks = instance.known(frame, idx)
        return marks.before if marks is not None else 0


def slots_text(mask: int) -> str:
    """`-8,-24`"""
    return ",".join(str(-8 * (i + 1)) for i in range(64) if mask >> i & 1)
