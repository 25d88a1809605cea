"""The walk over all paths (do_check, kernel/bpf/verifier.c).

The only module that decides what is looked at next: a list of states to come back to, the deepest
first, as the log shows.
"""

from __future__ import annotations

from errno import E2BIG, EFAULT

from anybpf.errors import Bug
from anybpf.verifier import backtrack, consts
from anybpf.verifier.decoded import decode
from anybpf.verifier.entry import function_state, main_state
from anybpf.verifier.env import Env
from anybpf.verifier.livestack import LiveStack
from anybpf.verifier.state import State
from anybpf.verifier.step.dispatch import step
from anybpf.verifier.walk import Walk


def run(walk: Walk) -> None:
    """Walk until no path is left; raises `Reject`."""
    env = walk.env
    prev = -1
    while True:
        env.hop = None
        env.prev_idx = prev
        _count(env)
        env.state.last_insn_idx, env.state.insn_idx = prev, env.idx
        aux = env.aux[env.idx]
        if aux.prune_point and walk.explored.visited(env.idx):
            _tell_safe(env)
            outcome = consts.DONE
        else:
            prev = env.idx
            aux.seen = True
            outcome = _one(walk, prev, aux.jump_point)
        if outcome == consts.NEXT:
            env.idx += 1
        elif outcome == consts.DONE:
            if not _next_path(walk):
                return
            prev = env.prev_idx


def _one(walk: Walk, idx: int, jump_point: bool) -> int:
    """One instruction; gives what comes next."""
    env = walk.env
    if jump_point:
        backtrack.push(env)
    if env.log.on:
        _tell(env)
    walk.live.begin(idx)
    outcome = step(walk, env.decoded[idx])
    walk.live.commit()
    return outcome


def _count(env: Env) -> None:
    if env.idx >= len(env.insns):
        raise env.reject(EFAULT, f"invalid insn idx {env.idx} insn_cnt {len(env.insns)}")
    env.processed += 1
    if env.processed > env.insn_limit:
        raise env.reject(E2BIG, f"BPF program is too large. Processed {env.processed} insn")


def _next_path(walk: Walk) -> bool:
    """Go to the last path that was put aside (`env.prev_idx`: its previous instruction)."""
    env = walk.env
    env.log.scratch_all()
    walk.explored.path_ended(env.state)
    walk.live.update()
    if not walk.pending:
        return False
    back = walk.pending.pop()
    if not env.log.detailed:
        env.log.cut(back.log_end)
    env.state, env.idx, env.prev_idx = back.state, back.idx, back.prev
    walk.live.forget_current()
    env.print_state = True
    return True


# -- speech


def _where(env: Env) -> str:
    spec = " (speculative execution)" if env.state.speculative else ""
    return f"\nfrom {env.prev_idx} to {env.idx}{spec}:"


def _tell_safe(env: Env) -> None:
    if env.log.on:
        where = _where(env) if env.print_state else f"{env.idx}:"
        env.log.write(f"{where} safe\n")


def _tell(env: Env) -> None:
    """What changed, where we are, the source line, the instruction."""
    log = env.log
    frameno = len(env.state.frames) - 1
    if env.print_state and log.detailed:
        log.write(_where(env))
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
    if env.view is None and env.target is None:
        raise Bug(f"a {env.prog.name} program without a context")
    env.decoded = decode(env.insns)
    live = LiveStack(env)
    if env.exception_callback:
        env.subprogs[env.exception_callback].called = True
    if env.extends is not None:
        env.log.write(f"Validating {env.subprogs[0].name}() func#0...\n")
    _walk(env, main_state(env), live)
    while _walk_functions(env, live):
        pass


def _walk_functions(env: Env, live: LiveStack) -> bool:
    """Walk each global function that was called; False: none was left."""
    found = False
    for number, subprog in enumerate(env.subprogs):
        if number and subprog.is_global and subprog.called and not subprog.verified:
            _walk_function(env, number, live)
            found = True
    return found


def _walk_function(env: Env, number: int, live: LiveStack) -> None:
    subprog = env.subprogs[number]
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
    walk = Walk(env, live)
    try:
        run(walk)
    finally:
        walk.forget()
    if not env.log.detailed:
        env.log.cut(0)
