# The C side of backtrack.py.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier.consts cimport ARGUMENTS, FP, MAX_FRAMES, MAX_SLOTS, REGS
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Aux, Env, Subprog
from anybpf.verifier.state cimport Frame, Hop, Reg, Slot, State, new_hop

@cython.final
cdef class Wanted:
    cdef public int frame
    cdef readonly uint64_t[8] regs
    cdef readonly uint64_t[8] slots
    cpdef begin(self, int frame)
    @cython.locals(i=cython.int, asked=uint64_t)
    cpdef bint empty(self) noexcept
    cpdef bint has(self, int reg) noexcept
    cpdef void set(self, int reg) noexcept
    cpdef void clear(self, int reg) noexcept
    @cython.locals(one=uint64_t)
    cpdef void add_reg(self, int frame, int reg) noexcept
    @cython.locals(one=uint64_t)
    cpdef void drop_reg(self, int frame, int reg) noexcept
    cpdef bint has_slot(self, int frame, int slot) noexcept
    @cython.locals(one=uint64_t)
    cpdef void add_slot(self, int frame, int slot) noexcept
    @cython.locals(one=uint64_t)
    cpdef void drop_slot(self, int frame, int slot) noexcept
    @cython.locals(frame=cython.int, number=cython.int, is_reg=cython.bint, mask=uint64_t)
    cpdef bint any_linked(self, tuple linked) except -1
    @cython.locals(frame=cython.int, number=cython.int, is_reg=cython.bint)
    cpdef add_linked(self, tuple linked)

@cython.final
cdef class _Walk:
    cdef Env env
    cdef State start
    cdef Wanted wanted
    cdef bint changed
    cdef begin(self, Env env, State start, Wanted wanted)
    @cython.locals(state=State, last=cython.int, subsequent=cython.int, skip=cython.bint,
                   first=cython.int)
    cdef bint run(self) except -1
    @cython.locals(asked=uint64_t, i=cython.int, frame=Frame)
    cdef bint _at_entry(self, State state) except -1
    @cython.locals(hop=Hop)
    cdef int _through(self, State state, int idx, int subsequent, bint skip) except -2
    @cython.locals(number=cython.int)
    cdef _mark(self, State state)
    @cython.locals(wanted=Wanted, i=cython.int)
    cdef _mark_frame(self, Frame frame, int number)
    cdef bint _precise_slot(self, Slot slot) noexcept
    cdef bint _precise(self, Reg reg) noexcept
    @cython.locals(insn=Decoded, wanted=Wanted)
    cdef _insn(self, int idx, int subsequent, Hop hop)
    @cython.locals(cls=cython.int)
    cdef _rule(self, Decoded insn, int idx, int subsequent, Hop hop)
    cdef _sync_linked(self, Hop hop)
    @cython.locals(wanted=Wanted)
    cdef _alu(self, Decoded insn)
    cdef _load(self, Decoded insn, Hop hop)
    @cython.locals(wanted=Wanted)
    cdef _store(self, Decoded insn, Hop hop)
    @cython.locals(wanted=Wanted, aux=Aux)
    cdef _jump(self, Decoded insn, int idx, int subsequent, Hop hop)
    @cython.locals(wanted=Wanted, asked=uint64_t)
    cdef _into_caller(self, bint pass_arguments)
    @cython.locals(wanted=Wanted, env=Env, aux=Aux, before=Decoded, returned=cython.bint)
    cdef _into_callee(self, int subsequent)
    cdef _ld(self, Decoded insn)

@cython.locals(made=Wanted)
cpdef Wanted new_wanted(int frame)
@cython.locals(wanted=Wanted)
cpdef mark(Env env, int regno)
@cython.locals(walk=_Walk)
cpdef bint chain(Env env, State state, Wanted wanted) except -1

@cython.locals(state=State, frame=Frame, reg=Reg, slot=Slot)
cpdef mark_everything(Env env, State start)
cdef _force(Env env, Reg reg, object what)
@cython.locals(hop=Hop, state=State)
cpdef Hop push(Env env)
@cython.locals(hop=Hop)
cpdef push_stack(Env env, int frame, int slot)
