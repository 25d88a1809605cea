"""Control flow: what is reachable, where paths meet, what loops (check_cfg, compute_scc).

Both are from kernel/bpf/cfg.c and verifier.c. `aux.prune_point` marks where a state may be compared
with earlier ones, `aux.jump_point` where the history of jumps gets an entry.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.isa.insn import (
    JMP_CLASSES,
    Insn,
    is_call,
    is_helper_call,
    is_ld_imm64,
    is_pseudo_call,
    is_pseudo_func,
    jump_offset,
)
from anybpf.isa.opcodes import MAY_GOTO
from anybpf.proto.helpers import BY_ID, Does
from anybpf.verifier.env import Env
from anybpf.verifier.kfuncs import (
    ASYNC_CALLBACKS,
    CHANGES_PACKET,
    SYNC_CALLBACKS,
    called,
    is_iter_next,
    of,
)
from anybpf.verifier.reject import Reject

_DISCOVERED, _EXPLORED = 1, 2


def successors(insns: list[Insn], idx: int) -> tuple[int, ...]:
    """The slots that may come next inside the function: the next one first, then the jump's."""
    insn = insns[idx]
    if insn.code & 7 not in JMP_CLASSES or is_call(insn):
        return (idx + (2 if is_ld_imm64(insn) else 1),)
    if insn.op == uapi.BPF_EXIT:
        return ()
    target = idx + jump_offset(insn) + 1
    return (target,) if insn.op == uapi.BPF_JA else (idx + 1, target)


def _edges(env: Env, idx: int) -> tuple[int, ...]:
    """The same with edges into functions; marks points on the way."""
    insn = env.insns[idx]
    after = successors(env.insns, idx)
    if is_pseudo_func(insn) or is_call(insn):
        return _call_edges(env, idx, insn, after[0])
    if insn.code & 7 in JMP_CLASSES:
        _mark_jump(env, idx, insn, after)
    return after


def _mark_jump(env: Env, idx: int, insn: Insn, after: tuple[int, ...]) -> None:
    if len(after) == 2:
        env.aux[idx].prune_point = True
        env.aux[idx].force_checkpoint |= (
            insn.code == MAY_GOTO and insn.src == uapi.BPF_MAY_GOTO)
    if after and after[-1] < len(env.insns):
        _mark_join(env, after[-1])


def _mark_join(env: Env, idx: int) -> None:
    env.aux[idx].prune_point = True
    env.aux[idx].jump_point = True


def _call_edges(env: Env, idx: int, insn: Insn, after: int) -> tuple[int, ...]:
    row = BY_ID.get(insn.imm) if is_helper_call(insn) else None
    kfunc = called(env, insn)
    if (row is not None and row.does & Does.ASYNC_CALLBACK) or (
            kfunc is not None and kfunc.name in ASYNC_CALLBACKS):
        env.aux[idx].prune_point = True
    if (row is not None and row.does & Does.CALLBACK) or (
            kfunc is not None and kfunc.name in SYNC_CALLBACKS):
        _mark_join(env, idx)
        env.aux[idx].calls_callback = env.aux[idx].force_checkpoint = True
    if is_iter_next(env, insn):
        aux = env.aux[idx]
        aux.prune_point = aux.force_checkpoint = aux.is_iter_next = True
    if after < len(env.insns):
        _mark_join(env, after)
    if not (is_pseudo_call(insn) or is_pseudo_func(insn)):
        return (after,)
    env.aux[idx].prune_point = True
    target = idx + insn.imm + 1
    _mark_join(env, target)
    return after, target


def check(env: Env) -> None:
    """Every instruction is reachable, and no path ends but by `exit`."""
    state = bytearray(len(env.insns))
    _explore(env, 0, state)
    if env.exception_callback:
        _explore(env, env.subprogs[env.exception_callback].start, state)
    _check_reached(env, state)


def _explore(env: Env, start: int, state: bytearray) -> None:
    state[start] = _DISCOVERED
    stack = [start]
    while stack:
        top = stack[-1]
        following = _next_edge(env, top, state)
        _mark_effects(env, top, following)
        if following is None:
            state[top] = _EXPLORED
            stack.pop()
        else:
            state[following] = _DISCOVERED
            stack.append(following)


def _next_edge(env: Env, idx: int, state: bytearray) -> int | None:
    """The first edge of `idx` that leads to something new."""
    for target in _edges(env, idx):
        if not 0 <= target < len(env.insns):
            raise Reject(EINVAL, f"jump out of range from insn {idx} to {target}", idx)
        if not state[target]:
            return target
    return None


def _check_reached(env: Env, state: bytearray) -> None:
    idx = 0
    while idx < len(state):
        if state[idx] != _EXPLORED:
            raise Reject(EINVAL, f"unreachable insn {idx}", idx)
        if is_ld_imm64(env.insns[idx]):
            if state[idx + 1]:
                raise Reject(EINVAL, f"jump into the middle of ldimm64 insn {idx}", idx)
            idx += 1
        idx += 1


def _mark_effects(env: Env, idx: int, following: int | None) -> None:
    """A call changes the packet or sleeps, by itself or by what it calls (merge_callee_effects).

    It is marked each time that the exploration comes by, as callees are known only when they were
    explored themselves: of functions that call each other some remain unmarked.
    """
    insn = env.insns[idx]
    if is_pseudo_call(insn) or is_pseudo_func(insn):
        if following != successors(env.insns, idx)[0]:
            callee = env.subprogs[env.subprog_at(idx + insn.imm + 1)]
            _mark(env, idx, callee.changes_packet, callee.might_sleep)
    elif is_call(insn):
        _mark(env, idx, *_own_effects(env, insn))


def _mark(env: Env, idx: int, changes: bool, sleeps: bool) -> None:
    if changes or sleeps:
        subprog = env.subprog_around(idx)
        subprog.changes_packet |= changes
        subprog.might_sleep |= sleeps


def _own_effects(env: Env, insn: Insn) -> tuple[bool, bool]:
    """Whether what is called of the kernel may change the packet, and whether it may sleep."""
    kfunc = of(env, insn)
    if kfunc is not None:
        return kfunc.name in CHANGES_PACKET, kfunc.might_sleep
    row = BY_ID.get(insn.imm) if is_helper_call(insn) else None
    if row is None:
        return False, False
    # what a tail call runs may change the packet, and then the function's caller goes on
    changes = bool(row.does & Does.CHANGES_PACKET) or row.id == uapi.BPF_FUNC_tail_call
    return changes, bool(row.does & Does.MIGHT_SLEEP) and env.helper(row.id) is not None


def postorder(env: Env) -> None:
    """Each function's instructions, successors before predecessors where no loop forbids it."""
    for subprog in env.subprogs:
        state: dict[int, int] = {}
        stack = [subprog.start]
        while stack:
            top = stack[-1]
            if state.get(top) == _EXPLORED:
                subprog.postorder.append(top)
                stack.pop()
                continue
            state[top] = _EXPLORED
            for following in successors(env.insns, top):
                if following not in state:
                    stack.append(following)
                    state[following] = _DISCOVERED


def loops(env: Env) -> None:
    """Number the strongly connected components that are loops (Tarjan's algorithm)."""
    finder = _Components(env)
    for idx in range(len(env.insns)):
        finder.visit(idx)


class _Components:
    """Tarjan's algorithm without recursion; components are numbered as they are completed."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.order: dict[int, int] = {}
        self.low: dict[int, int] = {}
        self.stack: list[int] = []
        self.done: set[int] = set()
        self.number = 0

    def visit(self, start: int) -> None:
        if start in self.order:
            return
        walk = [start]
        while walk:
            top = walk[-1]
            if top not in self.order:
                self.order[top] = self.low[top] = len(self.order) + 1
                self.stack.append(top)
            after = [s for s in successors(self.env.insns, top) if s < len(self.env.insns)]
            new = next((s for s in after if s not in self.order), None)
            if new is not None:
                walk.append(new)
                continue
            walk.pop()
            self.low[top] = min([self.low[top], *(self.low[s] for s in after
                                                  if s not in self.done)])
            if self.low[top] == self.order[top]:
                self._complete(top, top in after)

    def _complete(self, top: int, self_loop: bool) -> None:
        members = [self.stack.pop()]
        while members[-1] != top:
            members.append(self.stack.pop())
        self.done.update(members)
        if len(members) == 1 and not self_loop:
            return
        self.number += 1
        for idx in members:
            self.env.aux[idx].scc = self.number
        self.env.has_loops = True
