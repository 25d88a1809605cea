"""The verifier: which programs are safe, in the kernel's words (kernel/bpf/verifier.c).

`verify()` is pure: it is told about the program and its maps (`Facts`), and answers with a
`Verdict`. What it does not model yet raises `NotSupported`; nothing unknown is accepted.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

from anybpf import uapi
from anybpf.isa.insn import Insn
from anybpf.verifier import (
    attach_target,
    cfg,
    check_btf,
    dead_code,
    explore,
    fastcall,
    kfuncs,
    liveness,
    resolve,
    shape,
    stack_depth,
    subprogs,
)
from anybpf.verifier.env import Env
from anybpf.verifier.facts import (
    Facts,
    FuncArg,
    FuncInfo,
    FunctionFacts,
    LineInfo,
    MapFacts,
    Options,
    Records,
    Table,
    Verdict,
)
from anybpf.verifier.log import Sink
from anybpf.verifier.reject import Reject

__all__ = ["Facts", "FuncArg", "FuncInfo", "LineInfo", "MapFacts", "Options", "Records",
           "Table", "Verdict", "verify"]

#: the passes, in the order of bpf_check()
LEARN = (
    resolve.bind,           # maps that are the program's by the caller's word
    check_btf.early,        # what the caller says of functions
    subprogs.find,          # functions, and no jump between them
    check_btf.check,        # the caller's words fit; source lines, CO-RE
    resolve.maps,           # which map a 64-bit load means
)
WALK = (
    subprogs.prototypes,    # what global functions take
    cfg.check,              # everything is reachable; which functions change the packet, or sleep
    cfg.postorder,          # the order for analyses that go backwards
    attach_target.check,    # where it attaches, whether it may sleep
    cfg.loops,              # what belongs to which loop
    liveness.registers,     # which registers matter where
    fastcall.mark,          # spills that are needed for older kernels only
    explore.start,          # every path
    fastcall.shrink,        # and the stack without them
    stack_depth.check,      # the stack of every chain of calls
    kfuncs.check_left_out,  # no kernel function was left out that is needed
    dead_code.check_functions,  # no function was removed that is needed
    stack_depth.extra,      # and what the rewrites take
)
#: instead of the walk, for the checked interpreter
UNWALKED = (
    attach_target.check,
    shape.check,            # every instruction by itself
)

#: no log but the rejecting line
QUIET = Options()


def verify(prog: Sequence[Insn], facts: Facts, options: Options = QUIET,
           sink: Sink | None = None, walk: bool = True) -> Verdict:
    """The verdict on a program. Raises NotSupported for what is not modelled.

    `sink` gets the log while it grows, with all that is cut off again. Without the `walk` only the
    program's shape is looked at: it may be run where each access is tested.
    """
    env = Env(prog, facts, options, sink)
    refusal = None
    # states make no cycles, and are many: looking for cycles among them takes long
    collects = gc.isenabled()
    gc.disable()
    try:
        for run in LEARN + (WALK if walk else UNWALKED):
            run(env)
    except Reject as reject:
        refusal = reject
        if not reject.logged:
            env.log.write(reject.text + reject.end)
    finally:
        if collects:
            gc.enable()
    return _verdict(env, refusal)


def _verdict(env: Env, reject: Reject | None) -> Verdict:
    depths = stack_depth.told(env, accepted=reject is None or reject.rewritten)
    time_us = env.microseconds()
    if env.options.log_level & uapi.BPF_LOG_STATS:
        env.log.write(f"verification time {time_us} usec\n")
        env.log.write("stack depth " + "+".join(map(str, depths)) + "\n")
    env.log.write(f"processed {env.processed} insns (limit {uapi.BPF_COMPLEXITY_LIMIT_INSNS}) "
                  f"max_states_per_insn {env.max_states_per_insn} total_states "
                  f"{env.total_states} peak_states {env.peak_states} mark_read 0\n")
    return Verdict(reject.errno if reject else 0, reject.text if reject else "",
                   reject.insn if reject else None, env.log.text, env.processed,
                   env.max_states_per_insn, env.total_states, env.peak_states, depths,
                   env.log.longest, time_us, tuple(env.relocated),
                   tuple(s.start for s in env.subprogs), tuple(env.used_maps),
                   env.max_ctx_offset, tuple(_functions(env)))


def _functions(env: Env) -> Iterator[FunctionFacts]:
    """What those want to know that attach to the program."""
    caught = env.subprogs[env.exception_callback] if env.exception_callback else None
    for subprog in dead_code.functions(env):
        yield FunctionFacts(subprog.type_id, subprog.name, subprog.unreliable,
                            subprog.changes_packet, subprog.might_sleep, subprog is caught)
