"""What a walk over paths has: the paths to come back to (push_stack, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EFAULT
from typing import Final

from anybpf.verifier import consts
from anybpf.verifier.env import Env
from anybpf.verifier.livestack import LiveStack
from anybpf.verifier.state import State, copy_state
from anybpf.verifier.states import Explored, unlink

# what a step says comes next
NEXT: Final = consts.NEXT        # the following slot
JUMPED: Final = consts.JUMPED    # `env.idx` is set
DONE: Final = consts.DONE        # the path has ended

MAX_PENDING = 8192


class Pending:
    """A path to come back to."""

    def __init__(self, state: State, idx: int, prev: int, log_end: int) -> None:
        self.state = state
        self.idx = idx
        self.prev = prev
        self.log_end = log_end


class Walk:
    """The walk through one function and all it calls; `explore.run()` does it."""

    def __init__(self, env: Env, live: LiveStack) -> None:
        self.env = env
        self.live = live
        self.explored = Explored(env, self.live)
        self.pending: list[Pending] = []

    def forget(self) -> None:
        """The walk is over, or was broken off."""
        for back in self.pending:
            unlink(back.state)
        self.explored.forget(self.env.state)

    def fork(self, idx: int, prev: int, too_many: int = EFAULT,
             speculative: bool = False) -> State:
        """A copy of the current state, to be walked from `idx` later.

        `too_many` is the errno where too many wait already.
        """
        env = self.env
        made = State.__new__(State)
        copy_state(made, env.state)
        if speculative:
            made.speculative = True
        self.put_aside(made, idx, prev, errno=too_many)
        if made.parent is not None:
            made.parent.branches += 1
        return made

    def put_aside(self, state: State, idx: int, prev: int, what: str = "",
                  errno: int = EFAULT) -> None:
        """Keep a state to be walked from `idx` later."""
        self.pending.append(Pending(state, idx, prev, self.env.log.end))
        if len(self.pending) > MAX_PENDING:
            raise self.env.reject(
                errno, f"The sequence of {len(self.pending)} jumps is too complex{what}.")
