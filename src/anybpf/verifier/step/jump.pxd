# The C side of step/jump.py.
import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport arith, backtrack, branch, ranges, regtype
from anybpf.verifier.consts cimport (
    ADD_CONST, ADD_CONST32, AT_END, BEYOND_END, MAX_LINKED, MAX_PACKET_OFFSET, REGS)
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Aux, Env
from anybpf.verifier.state cimport (
    Frame, Hop, Reg, Slot, State, clone_reg, copy_reg, mark_known_scalar)
from anybpf.verifier.step cimport regs
from anybpf.verifier.walk cimport Walk

@cython.locals(env=Env, dst=Reg, src=Reg, is32=cython.bint, taken=cython.int)
cpdef step(Walk walk, Decoded insn)
cdef Reg _constant(Env env, Decoded insn)
cdef _tell(Env env)
@cython.locals(dst_on_stack=cython.bint, src_on_stack=cython.bint, hop=Hop)
cdef _note_stack_operands(Env env, Decoded insn, Reg dst, Reg src)
cpdef int decide(Reg dst, Reg src, int op, bint is32) except -2
cdef int _decide_pointer(Reg dst, Reg src, int op, bint is32) except -2
@cython.locals(pkt=Reg, beyond=cython.bint)
cdef int _decide_packet(Reg dst, Reg src, int op) except -2
cdef _decided(Env env, Decoded insn, Reg dst, Reg src)
@cython.locals(env=Env, this=State, linked=tuple, other=State, other_regs=list, other_dst=Reg,
               other_src=Reg)
cdef _both_ways(Walk walk, Decoded insn, Reg dst, Reg src, bint is32)
cpdef learn(Env env, Reg true_dst, Reg true_src, Reg false_dst, Reg false_src, int op, bint is32)
cdef tuple _collect(Env env, Decoded insn, Reg dst, Reg src)
@cython.locals(state=State, number=cython.int, frame=Frame, live=cython.uint, aux=Aux, i=cython.int,
               slot=Slot)
cdef _collect_id(Env env, list found, long long base)
cdef _link(list found, int frame, int number, bint is_reg, Reg reg, long long base)
@cython.locals(frame=cython.int, number=cython.int, is_reg=cython.bint, owner=Frame, reg=Reg,
               slot=Slot)
cpdef sync_linked(State state, Reg known, tuple linked)
@cython.locals(identity=cython.longlong, off=cython.longlong, delta=Reg)
cdef _sync_one(Reg reg, Reg known)
@cython.locals(zero=cython.bint, identity=cython.longlong, ref=cython.longlong)
cdef _learn_pointers(Decoded insn, State this, State other, Reg dst, Reg src)
@cython.locals(reg=Reg)
cpdef mark_null(State state, long long identity, long long ref, bint is_null)
cdef bint _is_start(Reg reg) noexcept
cdef bint _bounds(Reg pointer, Reg end) noexcept
@cython.locals(pointer=Reg, number=cython.int, op=cython.int, jump_good=cython.bint,
               open_=cython.bint, beyond=cython.bint, good=State, bad=State, reg=Reg)
cdef _match_packet(Decoded insn, State this, State other, Reg dst, Reg src)
@cython.locals(reach=cython.longlong, reg=Reg)
cdef _reach(State state, Reg pointer, bint open_)
