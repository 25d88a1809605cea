"""States that were seen, and when a path may end early (is_state_visited, kernel/bpf/states.c).

States are kept per instruction and call. A state whose paths have all ended was proved safe, and
prunes what it covers. Inside loops the proof is complete only when the loop's entry state ends; the
states that closed the loop until then (its back edges) get precision marks until nothing changes.
"""

from __future__ import annotations

from errno import EFAULT, EINVAL

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.verifier import backtrack, consts
from anybpf.verifier.backtrack import Wanted
from anybpf.verifier.consts import FP, INVALID, ITER, MAX_HISTORY, SLOT_BYTES
from anybpf.verifier.env import Env
from anybpf.verifier.equal import states_equal
from anybpf.verifier.livestack import LiveStack
from anybpf.verifier.state import (
    ACTIVE,
    Frame,
    State,
    copy_state,
    mark_not_init,
    same_value,
)

#: rounds of marks through the back edges of a loop before all numbers become precise
MAX_ROUNDS = 64


class Seen(State):
    """A remembered state, and how useful it was."""

    def __init__(self) -> None:
        super().__init__()
        self.misses = 0
        self.hits = 0
        self.free = False


class Visit:
    """One stay in a loop: the state that entered, and the states that came round."""

    def __init__(self) -> None:
        self.entry: State | None = None
        self.backedges: list[State] = []
        #: states without paths that marks may still pass through
        self.ended: list[State] = []


Callchain = tuple[int, ...]


class Explored:
    """All states of one verification."""

    def __init__(self, env: Env, live: LiveStack) -> None:
        self.env = env
        self.live = live
        self.buckets: list[list[Seen] | None] = [None] * len(env.insns)
        self.test_freq = bool(env.facts.flags & uapi.BPF_F_TEST_STATE_FREQ)
        self.visits: dict[Callchain, Visit] = {}

    # -- the question

    def visited(self, idx: int) -> bool:
        """Whether the current path may end at `idx`; else perhaps remember the state."""
        env, cur = self.env, self.env.state
        aux = env.aux[idx]
        force = (self.test_freq or aux.force_checkpoint
                 or (cur.history is not None and cur.history.count > MAX_HISTORY))
        add = force or (env.jumps - env.last_jumps >= 2
                        and env.processed - env.last_processed >= 8)
        bucket = self._bucket(idx, cur)
        self._clean(bucket, cur)
        count, loop = 0, False
        for seen in list(bucket):
            count += 1
            if seen.insn_idx != idx:
                continue
            loop, hit, again = self._compare(seen, cur, idx, loop)
            if hit:
                self._prune(seen, cur, idx, loop)
                return True
            if again and not force and (env.jumps - env.last_jumps < 20
                                        and env.processed - env.last_processed < 100):
                add = False
            self._miss(bucket, seen, add, idx)
        env.max_states_per_insn = max(env.max_states_per_insn, count)
        if add:
            self._remember(bucket, idx)
        return False

    def _bucket(self, idx: int, cur: State) -> list[Seen]:
        """The states that may be compared: as the kernel hashes them, for what is counted."""
        number = ((idx ^ cur.innermost().callsite) & uapi.U32) % len(self.buckets)
        bucket = self.buckets[number]
        if bucket is None:
            bucket = self.buckets[number] = []
        return bucket

    def _compare(self, seen: Seen, cur: State, idx: int,
                 loop: bool) -> tuple[bool, bool, bool]:
        """(in a loop, does `seen` cover `cur`, is `seen` still being walked)

        A call that calls back takes the first answer from the state before it in the list.
        """
        env = self.env
        if not seen.branches:
            loop = self.incomplete(seen)
            exact = consts.RANGE_WITHIN if loop else consts.NOT_EXACT
            return loop, states_equal(env, seen, cur, exact), False
        if _other_async(seen.innermost(), cur.innermost()):
            return loop, False, True
        aux = env.aux[idx]
        if aux.is_iter_next:
            same = states_equal(env, seen, cur, consts.RANGE_WITHIN) and _iterates(cur)
            return loop or same, same, True
        insn = env.decoded[idx]
        if insn.code == uapi.BPF_JMP | uapi.BPF_JCOND \
                and seen.may_goto_depth != cur.may_goto_depth \
                and states_equal(env, seen, cur, consts.RANGE_WITHIN):
            return True, True, True
        if aux.calls_callback:
            return loop, states_equal(env, seen, cur, consts.RANGE_WITHIN), True
        if _maybe_looping(seen, cur) and states_equal(env, seen, cur, consts.EXACT) \
                and not _depths_differ(seen, cur) \
                and seen.may_goto_depth == cur.may_goto_depth \
                and seen.callback_unroll_depth == cur.callback_unroll_depth:
            self._infinite(seen, cur, idx)
        return loop, False, True

    def _infinite(self, seen: Seen, cur: State, idx: int) -> None:
        env = self.env
        env.write_line(idx, "; ")
        message = f"infinite loop detected at insn {idx}"
        log = env.log
        log.write(message + "\ncur state:")
        log.print_state(cur, len(cur.frames) - 1, everything=True)
        log.write("old state:")
        log.print_state(seen, len(cur.frames) - 1, everything=True)
        reject = env.reject(EINVAL, message)
        reject.logged = True
        raise reject

    def _prune(self, seen: Seen, cur: State, idx: int, loop: bool) -> None:
        seen.hits += 1
        aux = self.env.aux[idx]
        if aux.jump_point:
            backtrack.push(self.env)
        self._propagate(seen, cur)
        if loop:
            edge = cur.copy()
            edge.equal_state = seen
            edge.insn_idx = idx
            self._add_backedge(seen, edge)

    def _miss(self, bucket: list[Seen], seen: Seen, add: bool, idx: int) -> None:
        env = self.env
        seen.misses += add
        aux = env.aux[idx]
        n = 64 if aux.force_checkpoint and seen.branches > 0 else 3
        if seen.misses > seen.hits * n + n:
            seen.free = True
            bucket.remove(seen)
            env.explored_states -= 1
            env.free_states += 1
            self._release(seen)

    def _release(self, seen: Seen) -> None:
        """Forget a useless state once all that came of it has ended, and its loop is complete."""
        if seen.free and not seen.branches and not self.incomplete(seen):
            seen.free = False
            self.env.free_states -= 1

    def _remember(self, bucket: list[Seen], idx: int) -> None:
        env, cur = self.env, self.env.state
        env.total_states += 1
        env.explored_states += 1
        env.update_peak()
        env.last_jumps, env.last_processed = env.jumps, env.processed
        _forget_precision(cur)
        new = Seen.__new__(Seen)
        copy_state(new, cur)
        new.misses = new.hits = 0
        new.free = False
        new.insn_idx = idx
        self._enter_loop(new)
        cur.parent = new
        cur.first_insn_idx = idx
        cur.dfs_depth = new.dfs_depth + 1
        cur.history = None
        bucket.insert(0, new)

    # -- old states need only what may still be read

    def _clean(self, bucket: list[Seen], cur: State) -> None:
        for seen in bucket:
            if seen.insn_idx != cur.insn_idx or seen.branches or seen.cleaned:
                continue
            if same_calls(seen, cur) and not self.incomplete(seen):
                self._clean_state(seen)

    def _clean_state(self, seen: Seen) -> None:
        """Forget registers and slots that nothing reads any more."""
        query = self.live.query(seen)
        seen.cleaned = True
        for number in range(len(seen.frames)):
            aux = self.env.aux[seen.insn_of(number)]
            _clean_frame(seen.frames[number], aux.live_before, query.alive(number))

    # -- precision

    def _propagate(self, old: State, cur: State) -> bool:
        """What `old` needed to know exactly, `cur` needs too; True if that was new."""
        wanted = backtrack.new_wanted(len(old.frames) - 1)
        for number in range(len(old.frames) - 1, -1, -1):
            _want(old.frames[number], number, wanted)
            if self.env.log.level:
                self._tell_wanted(number, wanted)
        return backtrack.chain(self.env, cur, wanted)

    def _tell_wanted(self, number: int, wanted: Wanted) -> None:
        """At lower levels, only the end of the line is written."""
        names = _wanted_names(wanted, number)
        if names:
            said = f"frame {number}: propagating {','.join(names)}" if self.env.log.detailed else ""
            self.env.log.write(f"{said}\n")

    # -- loops

    def _callchain(self, state: State) -> Callchain | None:
        """The calls up to the first loop that `state` is in, and the loop; None: in none."""
        if not self.env.has_loops:
            return None
        calls: list[int] = []
        for number in range(len(state.frames)):
            idx = state.insn_of(number)
            aux = self.env.aux[idx]
            if aux.scc:
                return (*calls, aux.scc)
            calls.append(idx)
        return None

    def incomplete(self, state: State) -> bool:
        """Whether a loop that `state` is in may still add precision marks to it."""
        visit = self._visit(state)
        return visit is not None and len(visit.backedges) > 0

    def _visit(self, state: State) -> Visit | None:
        """The stay in the loop that `state` is in."""
        chain = self._callchain(state)
        return self.visits.get(chain) if chain is not None else None

    def _enter_loop(self, state: State) -> None:
        chain = self._callchain(state)
        if chain is None:
            return
        visit = self.visits.setdefault(chain, Visit())
        if visit.entry is None:
            visit.entry = state
            if self.env.log.detailed:
                self.env.log.write(f"SCC enter {_chain_text(chain)}\n")

    def leave_loop(self, state: State) -> None:
        """`state` has no more paths: if it entered a loop, that loop is complete."""
        chain = self._callchain(state)
        visit = self.visits.get(chain) if chain else None
        if chain is None or visit is None or visit.entry is not state:
            return
        if self.env.log.detailed:
            self.env.log.write(f"SCC exit {_chain_text(chain)}\n")
        visit.entry = None
        self.env.backedges -= len(visit.backedges)
        self.env.update_peak()
        self._settle(visit)

    def _settle(self, visit: Visit) -> None:
        for _ in range(MAX_ROUNDS + 1):
            changed = False
            for edge in visit.backedges:
                if edge.equal_state is not None:
                    changed |= self._propagate(edge.equal_state, edge)
            if not changed:
                break
        else:
            for edge in visit.backedges:
                backtrack.mark_everything(self.env, edge)
        visit.backedges = []
        _part_all(visit)

    def _add_backedge(self, seen: Seen, edge: State) -> None:
        chain = self._callchain(seen)
        if chain is None:
            # a call that calls back took the word of a state of some other chain of calls
            raise self.env.reject(EFAULT, "verifier bug: add backedge: no SCC in verification "
                                          f"path, insn_idx {seen.insn_idx}")
        if self.env.log.detailed:
            self.env.log.write(f"SCC backedge {_chain_text(chain)}\n")
        self.visits.setdefault(chain, Visit()).backedges.insert(0, edge)
        self.env.backedges += 1
        self.env.update_peak()

    # -- the end of paths

    def path_ended(self, state: State) -> None:
        """One path from `state` has ended; tell the states that it came from."""
        at: State | None = state
        while at is not None:
            at.branches -= 1
            if at.branches:
                break
            self.leave_loop(at)
            parent = at.parent
            if isinstance(at, Seen):
                self._release(at)
            self._part(at)
            at = parent

    def _part(self, state: State) -> None:
        """A state without paths needs its past no more, unless its loop is incomplete.

        So chains of states go one by one: freed at once, a long one would overflow the C stack.
        """
        visit = self._visit(state)
        if visit is not None and visit.backedges:
            visit.ended.append(state)
        else:
            state.parent = None

    def forget(self, state: State) -> None:
        """The walk is over (perhaps early) in this state: unlink everything."""
        unlink(state)
        for visit in self.visits.values():
            for edge in visit.backedges:
                unlink(edge)
            _part_all(visit)


def unlink(state: State) -> None:
    """Part a state from its past, and all its past from one another."""
    at: State | None = state
    while at is not None:
        parent = at.parent
        at.parent = None
        at = parent


def _part_all(visit: Visit) -> None:
    for state in visit.ended:
        state.parent = None
    visit.ended = []


def _chain_text(chain: Callchain) -> str:
    """As the kernel prints it: a call at slot 0 looks like the end of the list."""
    calls = chain[:-1]
    if 0 in calls:
        chain = (*calls[:calls.index(0)], chain[-1])
    return f"({','.join(map(str, chain))})"


def _clean_frame(frame: Frame, live: int, alive: int) -> None:
    for i in range(FP):
        if not live >> i & 1:
            mark_not_init(frame.regs[i])
    for i in range(len(frame.stack)):
        if not alive >> i & 1:
            slot = frame.stack[i]
            mark_not_init(slot.reg)
            slot.fill(INVALID)


def _want(frame: Frame, number: int, wanted: Wanted) -> None:
    """Ask for what an old state needs to know exactly."""
    for i in range(FP):
        reg = frame.regs[i]
        if reg.kind == kinds.SCALAR_VALUE and reg.precise:
            wanted.add_reg(number, i)
    for i in range(len(frame.stack)):
        slot = frame.stack[i]
        if slot.scalar_spilled() and slot.reg.precise:
            wanted.add_slot(number, i)


def _wanted_names(wanted: Wanted, number: int) -> list[str]:
    regs, slots = wanted.regs[number], wanted.slots[number]
    return ([f"r{i}" for i in range(FP) if regs >> i & 1]
            + [f"fp{-8 * (i + 1)}" for i in range(64) if slots >> i & 1])


def same_calls(a: State, b: State) -> bool:
    """Whether the two are in the same calls of the same functions."""
    if len(a.frames) != len(b.frames):
        return False
    for i in range(len(a.frames)):
        mine, other = a.frames[i], b.frames[i]
        if mine.callsite != other.callsite:
            return False
    return True


def _other_async(old: Frame, cur: Frame) -> bool:
    """Another entry into a callback that runs later: nothing follows from equal states."""
    return old.in_async_callback and old.async_entries != cur.async_entries


def _maybe_looping(old: State, cur: State) -> bool:
    """A cheap look whether the innermost registers are the same."""
    if len(old.frames) != len(cur.frames):
        return False
    mine, other = old.innermost(), cur.innermost()
    for i in range(FP):
        a, b = mine.regs[i], other.regs[i]
        if a.id != b.id or a.ref != b.ref or not same_value(a, b):
            return False
    return True


def _iterates(cur: State) -> bool:
    """The iterator in r1 is not at its end."""
    reg = cur.regs[1]
    number = (-(reg.off + reg.smin) - 1) // SLOT_BYTES
    return cur.frames[reg.frameno].stack[number].reg.slot_state == ACTIVE


def _depths_differ(old: State, cur: State) -> bool:
    """Some iterator went on in between (iter_active_depths_differ)."""
    for a, b in zip(old.frames, cur.frames, strict=True):
        for i, slot in enumerate(a.stack):
            if slot.kind(0) == ITER and slot.reg.slot_state == ACTIVE \
                    and b.stack[i].reg.slot_depth != slot.reg.slot_depth:
                return True
    return False


def _forget_precision(state: State) -> None:
    """Marks are for the states before; the current one starts anew."""
    for frame in state.frames:
        for reg in frame.regs:
            reg.precise = False
        for slot in frame.stack:
            slot.reg.precise = False
