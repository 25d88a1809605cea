"""The walk over all paths (do_check, kernel/bpf/verifier.c).

The only module that decides what is looked at next: a list of states to come back to, the deepest
first, as the log shows.
"""

from __future__ import annotations

from errno import E2BIG, EFAULT
from typing import Final, NamedTuple

from anybpf.verifier import backtrack
from anybpf.verifier.env import Env
from anybpf.verifier.livestack import LiveStack
from anybpf.verifier.state import State
from anybpf.verifier.states import Explored

# what a step says comes next
NEXT: Final = 0      # the following slot
JUMPED: Final = 1    # `env.idx` is set
DONE: Final = 2      # the path has ended

MAX_PENDING = 8192


class Pending(NamedTuple):
    """A path to come back to."""

    state: State
    idx: int
    prev: int
    log_end: int


class Walk:
    """The walk through one function and all it calls."""

    def __init__(self, env: Env, live: LiveStack) -> None:
        self.env = env
        self.live = live
        self.explored = Explored(env, self.live)
        self.pending: list[Pending] = []

    def fork(self, idx: int, prev: int, speculative: bool = False) -> State:
        """A copy of the current state, to be walked from `idx` later."""
        env = self.env
        made = env.state.copy()
        made.speculative |= speculative
        self.pending.append(Pending(made, idx, prev, env.log.end))
        if len(self.pending) > MAX_PENDING:
            raise env.reject(E2BIG, f"The sequence of {len(self.pending)} jumps is too complex.")
        if made.parent is not None:
            made.parent.branches += 1
        return made

    def run(self) -> None:
        """Walk until no path is left; raises `Reject`."""
        from anybpf.verifier.step import step

        env, log = self.env, self.env.log
        prev = -1
        while True:
            env.hop = None
            env.prev_idx = prev
            self._count()
            env.state.last_insn_idx, env.state.insn_idx = prev, env.idx
            if env.aux[env.idx].prune_point and self.explored.visited(env.idx):
                self._tell_safe()
                outcome = DONE
            else:
                if env.aux[env.idx].jump_point:
                    backtrack.push(env)
                if log.on:
                    self._tell()
                prev = env.idx
                env.aux[prev].seen = True
                self.live.begin(prev)
                outcome = step(self, env.insns[prev])
                self.live.commit()
            if outcome == NEXT:
                env.idx += 1
            elif outcome == DONE:
                back = self._next_path()
                if back is None:
                    return
                prev = back

    def _count(self) -> None:
        env = self.env
        if env.idx >= len(env.insns):
            raise env.reject(EFAULT, f"invalid insn idx {env.idx} insn_cnt {len(env.insns)}")
        env.processed += 1
        if env.processed > env.options.insn_limit:
            raise env.reject(E2BIG, f"BPF program is too large. Processed {env.processed} insn")

    def _next_path(self) -> int | None:
        """Go to the last path that was put aside; gives its previous instruction."""
        env = self.env
        env.log.scratch_all()
        self.explored.path_ended(env.state)
        self.live.update()
        if not self.pending:
            return None
        back = self.pending.pop()
        if not env.log.detailed:
            env.log.cut(back.log_end)
        env.state, env.idx = back.state, back.idx
        self.live.forget_current()
        env.print_state = True
        return back.prev

    # -- speech

    def _where(self) -> str:
        env = self.env
        spec = " (speculative execution)" if env.state.speculative else ""
        return f"\nfrom {env.prev_idx} to {env.idx}{spec}:"

    def _tell_safe(self) -> None:
        env = self.env
        if env.log.on:
            where = self._where() if env.print_state else f"{env.idx}:"
            env.log.write(f"{where} safe\n")

    def _tell(self) -> None:
        """What changed, where we are, the source line, the instruction."""
        env, log = self.env, self.env.log
        frameno = len(env.state.frames) - 1
        if env.print_state and log.detailed:
            log.write(self._where())
            log.print_state(env.state, frameno, everything=True)
            env.print_state = False
        if log.scratched_regs or log.scratched_stack:
            log.print_insn_state(env.state, frameno, env.idx)
        env.write_line(env.idx, "; ")
        start = log.end
        log.write(f"{env.idx}: {env.text_of(env.idx)}\n")
        log.insn_width = log.end - start
        log.insn_end = log.end


def start(env: Env) -> None:
    """Walk the main function, then the global functions that are called (do_check_subprogs)."""
    from anybpf.verifier.entry import function_state, main_state

    live = LiveStack(env)
    _walk(env, main_state(env), live)
    while (number := _next_function(env)) is not None:
        subprog = env.subprogs[number]
        if env.log.on:
            env.log.write(f"Validating {subprog.name}() func#{number}...\n")
        env.idx = subprog.start
        _walk(env, function_state(env, number), live)
        subprog.verified = True
        if env.log.on:
            env.log.write(f"Func#{number} ('{subprog.name}') is safe for any args that match its "
                          "prototype\n")


def _walk(env: Env, state: State, live: LiveStack) -> None:
    env.state = state
    env.print_state = False
    env.forget_line()
    env.log.scratch_all()
    live.forget_current()
    Walk(env, live).run()
    if not env.log.detailed:
        env.log.cut(0)


def _next_function(env: Env) -> int | None:
    """A global function that was called and not walked yet."""
    return next((i for i, s in enumerate(env.subprogs)
                 if s.is_global and s.called and not s.verified), None)
