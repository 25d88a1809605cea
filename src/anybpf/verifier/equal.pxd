# The C side of equal.py.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport consts, ranges, tnum
from anybpf.verifier.consts cimport ADD_CONST, INVALID, MISC
from anybpf.verifier.env cimport Aux, Env
from anybpf.verifier.state cimport Frame, Reg, Slot, State, same_pointer, same_value

@cython.final
cdef class Ids:
    cdef public dict pairs, back
    cdef public long long fresh
    cpdef start(self, long long first_free)
    cpdef bint match(self, long long old, long long cur) except -1
    cpdef bint match_scalar(self, long long old, long long cur) except -1
    cpdef long long _new(self) noexcept

@cython.locals(ids=Ids, i=cython.int, a=Frame, b=Frame)
cpdef bint states_equal(Env env, State old, State cur, int exact) except -1
cdef bint _resources_equal(State old, State cur, Ids ids) except -1
@cython.locals(i=cython.int, aux=Aux)
cdef bint _frames_equal(Env env, Frame old, Frame cur, int idx, Ids ids, int exact) except -1
cpdef bint regs_exact(Reg old, Reg cur, Ids ids) except -1
@cython.locals(base=cython.int)
cpdef bint reg_safe(Reg old, Reg cur, Ids ids, int exact) except -1
cdef bint _reaches(int old, int cur) noexcept
cdef bint _inside(Reg old, Reg cur) noexcept
cdef bint _scalar_safe(Reg old, Reg cur, Ids ids, int exact) except -1
cdef Reg _as_scalar(Slot slot)
cdef bint _all_free(Slot slot) noexcept
@cython.locals(i=cython.int, n=cython.int)
cdef bint _stacks_equal(list old, list cur, Ids ids, int exact) except -1
@cython.locals(number=Reg)
cdef bint _slot_safe(Slot old, Slot cur, Ids ids, int exact) except -1
@cython.locals(i=cython.int, kind=cython.int)
cdef bint _bytes_safe(Slot old, Slot cur) noexcept
