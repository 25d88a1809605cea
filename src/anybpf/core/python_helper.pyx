"""Helpers written in Python: one C function for all of them (kernel/bpf/helpers.c)."""

from anybpf.core.run_ctx cimport FAULT_PYTHON, RunCtx, fault_memory

cdef extern from *:
    """
    #define ANYBPF_ALL_ONES 0xffffffffffffffffULL
    """
    const uint64_t ALL_ONES "ANYBPF_ALL_ONES"


cdef uint64_t call(RunCtx run, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5):
    """Any int is an answer, modulo 2**64; None is 0. What is raised is kept for after the run."""
    try:
        answer = run.kernel.python_helpers[run.c.helper](r1, r2, r3, r4, r5, run)
        return (int(answer) if answer is not None else 0) & ALL_ONES
    except BaseException as error:
        run.exception = error
        fault_memory(&run.c, FAULT_PYTHON, 0, 0)
        return 0


cdef uint64_t python_helper(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil:
    with gil:
        return call(<RunCtx> run.py, r1, r2, r3, r4, r5)
