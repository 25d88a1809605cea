# The C side of livestack.py.
from libc.stdint cimport uint64_t

import cython

from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Aux, Env, Subprog
from anybpf.verifier.state cimport Frame, State

@cython.final
cdef class Marks:
    cdef public uint64_t reads, writes, written, before

@cython.final
cdef class Instance:
    cdef public object chain
    cdef public int subprog, start, size, depth
    cdef public list frames
    cdef public bytearray seen
    cdef public bint updated, dropped
    @cython.locals(table=list, found=Marks)
    cpdef Marks marks(self, int frame, int idx)
    @cython.locals(table=list)
    cpdef Marks known(self, int frame, int idx)

cdef class LiveStack:
    cdef public Env env
    cdef public dict instances
    cdef public Instance _current
    cdef uint64_t[8] _writes
    cdef int _write_idx
    cpdef forget_current(self)
    @cython.locals(frame=Frame)
    cpdef Instance lookup(self, State state, int frameno)
    @cython.locals(function=Subprog, found=Instance)
    cdef Instance _instance(self, tuple calls, int subprog)
    @cython.locals(found=Instance)
    cdef Instance _now(self)
    @cython.locals(frame=cython.int)
    cpdef begin(self, int idx)
    cpdef read(self, int frame, int idx, uint64_t mask)
    @cython.locals(marks=Marks, reads=uint64_t)
    cdef _read(self, Instance instance, int frame, int idx, uint64_t mask)
    cpdef write(self, int frame, uint64_t mask)
    cpdef commit(self)
    @cython.locals(idx=cython.int, at=cython.int, frame=cython.int, mask=uint64_t)
    cdef _commit(self, Instance instance)
    @cython.locals(old=uint64_t)
    cdef _commit_frame(self, Instance instance, Marks marks, uint64_t mask, int at)
    @cython.locals(last=cython.int, frameno=cython.int, instance=Instance)
    cpdef update(self)
    @cython.locals(table=list, marks=Marks)
    cdef _forget_written(self, Instance instance)
    @cython.locals(order=list, function=Subprog, rounds=cython.int, changed=cython.bint,
                   frame=cython.int, idx=cython.int)
    cdef _update(self, Instance instance)
    @cython.locals(marks=Marks, following=Marks, insn=Decoded, live=uint64_t, written=uint64_t,
                   before=uint64_t, changed=cython.bint)
    cdef bint _update_insn(self, Instance instance, int frame, int idx) except -1

@cython.final
cdef class Query:
    cdef public Env env
    cdef public State state
    cdef public list instances
    @cython.locals(state=State, last=cython.int, mask=uint64_t, outer=cython.int, call=cython.int,
                   inner=Frame, aux=Aux)
    cpdef uint64_t alive(self, int frame) except? 99
    @cython.locals(instance=Instance, marks=Marks)
    cdef uint64_t _before(self, int number, int idx, int frame) except? 99
