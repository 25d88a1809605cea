# Running programs. See interpreter.pyx.
from libc.stdint cimport uint32_t, uint64_t

from anybpf.core.prog cimport Prog
from anybpf.core.run_ctx cimport RunCtx, bpf_prog, run_ctx

# A run from C, for callers that repeat it:
#   prepare(run, prog, checked, budget)         with the GIL
#   r0 = run_prog(&run.c, ctx, r2)              without, as often as wanted
#   finish(run)                                 with the GIL; raises Fault if run.c.fault
cdef int prepare(RunCtx run, Prog prog, bint checked, uint64_t budget) except -1
cdef uint64_t run_prog(run_ctx *run, uint64_t ctx, uint64_t r2) noexcept nogil
cdef int finish(RunCtx run) except -1
# Instead of finish() where something else ended the run: whether it faulted does not matter.
cdef void abandon(RunCtx run)
