# The C side of states.py.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport backtrack, consts
from anybpf.verifier.backtrack cimport Wanted
from anybpf.verifier.consts cimport FP, INVALID, ITER, MAX_HISTORY, SLOT_BYTES
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Aux, Env
from anybpf.verifier.equal cimport states_equal
from anybpf.verifier.livestack cimport LiveStack, Query
from anybpf.verifier.state cimport Frame, Reg, Slot, State, copy_state, mark_not_init

@cython.final
cdef class Seen(State):
    cdef public int misses, hits
    cdef public bint free

@cython.final
cdef class Visit:
    cdef public State entry
    cdef public list backedges, ended

cdef class Explored:
    cdef public Env env
    cdef public LiveStack live
    cdef public list buckets
    cdef public dict visits
    cdef public long long last_jumps, last_processed
    cdef public bint test_freq
    @cython.locals(env=Env, cur=State, aux=Aux, force=cython.bint, add=cython.bint, bucket=list,
                   count=cython.int, loop=cython.bint, hit=cython.bint, again=cython.bint,
                   seen=Seen)
    cpdef bint visited(self, int idx) except -1
    @cython.locals(number=cython.int, callsite=cython.uint, at=cython.uint, bucket=list)
    cdef list _bucket(self, int idx, State cur)
    @cython.locals(env=Env, insn=Decoded, aux=Aux)
    cdef (bint, bint, bint) _compare(self, Seen seen, State cur, int idx, bint loop) except *
    @cython.locals(edge=State, aux=Aux)
    cdef _prune(self, Seen seen, State cur, int idx, bint loop)
    @cython.locals(env=Env, n=cython.int, aux=Aux)
    cdef _miss(self, list bucket, Seen seen, bint add, int idx)
    cdef _release(self, Seen seen)
    @cython.locals(env=Env, cur=State, new=Seen)
    cdef _remember(self, list bucket, int idx)
    @cython.locals(seen=Seen)
    cdef _clean(self, list bucket, State cur)
    @cython.locals(query=Query, number=cython.int, aux=Aux)
    cdef _clean_state(self, Seen seen)
    @cython.locals(wanted=Wanted, number=cython.int)
    cdef bint _propagate(self, State old, State cur) except -1
    @cython.locals(number=cython.int, idx=cython.int, aux=Aux)
    cdef tuple _callchain(self, State state)
    @cython.locals(visit=Visit)
    cpdef bint incomplete(self, State state) except -1
    @cython.locals(visit=Visit)
    cdef _enter_loop(self, State state)
    @cython.locals(visit=Visit)
    cpdef leave_loop(self, State state)
    @cython.locals(edge=State, changed=cython.bint)
    cdef _settle(self, Visit visit)
    @cython.locals(visit=Visit)
    cdef _add_backedge(self, State seen, State edge)
    @cython.locals(at=State, parent=State)
    cpdef path_ended(self, State state)
    @cython.locals(visit=Visit)
    cdef _part(self, State state)
    cdef Visit _visit(self, State state)
    @cython.locals(visit=Visit, edge=State)
    cpdef forget(self, State state)

@cython.locals(at=State, parent=State)
cpdef unlink(State state)
@cython.locals(state=State)
cdef _part_all(Visit visit)

@cython.locals(i=cython.int, slot=Slot)
cdef _clean_frame(Frame frame, unsigned int live, uint64_t alive)
@cython.locals(i=cython.int, reg=Reg, slot=Slot)
cdef _want(Frame frame, int number, Wanted wanted)
@cython.locals(i=cython.int, mine=Frame, other=Frame)
cpdef bint same_calls(State a, State b) except -1
@cython.locals(mine=Frame, other=Frame, i=cython.int, a=Reg, b=Reg)
cdef bint _maybe_looping(State old, State cur) except -1
@cython.locals(frame=Frame, reg=Reg, slot=Slot)
cdef _forget_precision(State state)
