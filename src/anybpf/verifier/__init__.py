"""The verifier: which programs are safe, in the kernel's words (kernel/bpf/verifier.c).

`verify()` is pure: it is told about the program and its maps (`Facts`), and answers with a
`Verdict`. What it does not model yet raises `NotSupported`; nothing unknown is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

from anybpf import uapi
from anybpf.isa.insn import Insn
from anybpf.verifier import cfg, explore, kfuncs, liveness, resolve, stack_depth, subprogs
from anybpf.verifier.env import Env
from anybpf.verifier.facts import Facts, FuncArg, FuncInfo, LineInfo, MapFacts, Options, Verdict
from anybpf.verifier.reject import Reject

__all__ = ["Facts", "FuncArg", "FuncInfo", "LineInfo", "MapFacts", "Options", "Verdict", "verify"]

#: the passes, in the order of bpf_check()
PASSES = (
    subprogs.find,          # functions, and no jump between them
    resolve.maps,           # which map a 64-bit load means
    cfg.check,              # everything is reachable
    cfg.effects,            # which functions change the packet
    cfg.postorder,          # the order for analyses that go backwards
    cfg.loops,              # what belongs to which loop
    liveness.registers,     # which registers matter where
    explore.start,          # every path
    stack_depth.check,      # the stack of every chain of calls
    kfuncs.check_left_out,  # no kernel function was left out that is needed
    stack_depth.extra,      # and what the rewrites take
)


#: no log but the rejecting line
QUIET = Options()


def verify(prog: Sequence[Insn], facts: Facts, options: Options = QUIET) -> Verdict:
    """The verdict on a program. Raises NotSupported for what is not modelled."""
    env = Env(prog, facts, options)
    try:
        for run in PASSES:
            run(env)
    except Reject as reject:
        if not reject.logged:
            env.log.write(reject.text + reject.end)
        return _verdict(env, reject)
    return _verdict(env, None)


def _verdict(env: Env, reject: Reject | None) -> Verdict:
    depths = tuple(s.stack_depth for s in env.subprogs)
    if env.options.log_level & uapi.BPF_LOG_STATS:
        env.log.write(f"verification time {env.microseconds()} usec\n")
        env.log.write("stack depth " + "+".join(map(str, depths)) + "\n")
    env.log.write(f"processed {env.processed} insns (limit {uapi.BPF_COMPLEXITY_LIMIT_INSNS}) "
                  f"max_states_per_insn {env.max_states_per_insn} total_states "
                  f"{env.total_states} peak_states {env.peak_states} mark_read 0\n")
    return Verdict(reject.errno if reject else 0, reject.text if reject else "",
                   reject.insn if reject else None, env.log.text, env.processed,
                   env.max_states_per_insn, env.total_states, env.peak_states, depths)
