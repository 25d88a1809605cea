"""Entering and leaving a test run: repeating it, memory it is given (net/bpf/test_run.c)."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from anybpf.core.interpreter cimport abandon, finish, prepare, run_prog
from anybpf.core.memory cimport KIND_CONTEXT, KIND_RINGBUF, KIND_SOCKET
from anybpf.core.prog cimport Prog
from anybpf.core.run_ctx cimport (
    REGION_READ,
    REGION_WRITE,
    RunCtx,
    bpf_prog,
    region_push,
    region_remove,
    run_ctx,
)
from anybpf.maps cimport ringbuf
from anybpf.net.filter cimport SkBuff, sock

cdef enum:
    # runs between two looks at pending signals
    CHUNK = 4096
    NO_WAKEUP = 1


cdef void discard_reserved(run_ctx *run) noexcept nogil:
    """Give back the ring buffer records that a run which ended early still holds."""
    cdef uint32_t i = run.n_dynamic
    cdef uint64_t record
    while i > 0:
        i -= 1
        if run.dynamic[i].kind == KIND_RINGBUF:
            record = run.dynamic[i].base
            region_remove(run, record)
            ringbuf.ringbuf_discard(<void *> record, NO_WAKEUP)


cdef uint64_t run_some(run_ctx *run, bpf_prog *prog, uint64_t ctx, uint64_t times,
                       uint64_t budget) noexcept nogil:
    """Run `times` times or until a fault: the last r0."""
    cdef uint64_t r0 = 0
    while times and not run.fault:
        run.prog = prog
        run.budget = budget
        r0 = run_prog(run, ctx, 0)
        times -= 1
    return r0


def run_repeated(Prog prog, RunCtx run, uint64_t ctx, uint64_t times, bint checked,
                 uint64_t budget):
    """Run `prog` `times` times with r1 = ctx, each with `budget` instructions: the last r0.

    Raises Fault as core.interpreter.run does; a pending signal is handled between runs.
    """
    cdef uint64_t r0 = 0
    cdef uint64_t some
    prepare(run, prog, checked, budget)
    try:
        while times and not run.c.fault:
            some = min(times, <uint64_t> CHUNK)
            with nogil:
                r0 = run_some(&run.c, &prog.image.c, ctx, some, budget)
            times -= some
            PyErr_CheckSignals()
    except:                     # a signal goes before what the program did
        discard_reserved(&run.c)
        abandon(run)
        raise
    discard_reserved(&run.c)
    finish(run)
    return r0


def enter_socket(RunCtx run, SkBuff skb):
    """Let the run read the socket that the packet belongs to."""
    region_push(&run.c, <uint64_t> &skb.sk, sizeof(sock), REGION_READ, KIND_SOCKET, NULL)


cdef class Memory:
    """A context that is plain memory: a copy of `data`, which the program may also write."""

    cdef uint8_t *data
    cdef uint64_t size

    def __cinit__(self, bytes data):
        self.size = len(data)
        self.data = <uint8_t *> calloc(1, self.size + 1)
        if self.data == NULL:
            raise MemoryError
        memcpy(self.data, <const uint8_t *> data, self.size)

    def __dealloc__(self):
        free(self.data)

    def enter(self, RunCtx run, bint writable=True):
        """Let `run` touch the memory; returns its address, 0 if it is empty."""
        if self.size == 0:
            return 0
        region_push(&run.c, <uint64_t> self.data, self.size,
                    REGION_READ | (REGION_WRITE if writable else 0), KIND_CONTEXT, NULL)
        return <uint64_t> self.data

    def __bytes__(self):
        return PyBytes_FromStringAndSize(<char *> self.data, self.size)
