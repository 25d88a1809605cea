# The C side of step/alu.py.
from libc.stdint cimport int64_t, uint64_t

import cython

from anybpf cimport bits, uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport arith, backtrack, ranges, regtype
from anybpf.verifier.consts cimport ADD_CONST, ADD_CONST32, ADD_CONST64, MAX_OFFSET
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Env
from anybpf.verifier.numbers cimport S32_MAX, S32_MIN, S64_MIN
from anybpf.verifier.state cimport (
    Frame, Reg, State, clone_reg, copy_reg, mark_known_scalar, mark_unknown)
from anybpf.verifier.step cimport regs
from anybpf.verifier.walk cimport Walk

@cython.locals(env=Env)
cpdef step(Walk walk, Decoded insn)
@cython.locals(dst=Reg)
cdef _unary(Env env, Decoded insn)
@cython.locals(dst=Reg, src=Reg, wide=cython.bint)
cdef _move(Env env, Decoded insn)
@cython.locals(dst=Reg)
cdef _cast_address(Env env, Decoded insn)
cdef _move64(Env env, Decoded insn, Reg dst, Reg src)
@cython.locals(one=uint64_t)
cdef bint _fits_signed(Reg reg, int width) noexcept
cdef _copy_if_fits(Env env, Reg dst, Reg src, bint fits)
cdef _move32(Env env, Decoded insn, Reg dst, Reg src)
@cython.locals(env=Env, src=Reg, dst=Reg)
cdef _binary(Walk walk, Decoded insn)
@cython.locals(env=Env, other=Reg)
cdef _split(Walk walk, Decoded insn, Reg dst)
cdef _know32(Reg reg, uint64_t value)
cdef _with_pointer_source(Env env, Decoded insn, Reg dst, Reg src)
@cython.locals(is32=cython.bint, links=cython.bint, value=int64_t)
cdef _scalars(Decoded insn, Reg dst, Reg src)
@cython.locals(is32=cython.bint)
cdef _scalar(Reg dst, Decoded insn, Reg src)
cdef _pointer(Env env, Decoded insn, Reg dst, Reg pointer, Reg number, bint reversed_=*)
@cython.locals(frameno=cython.int, ref=cython.longlong)
cdef _become(Reg dst, Reg pointer, bint reversed_)
@cython.locals(kind=cython.int, base=cython.int, known=cython.bint)
cdef _check_movable(Env env, Decoded insn, Reg pointer, Reg number)
cdef _check_offset(Env env, Reg reg, int kind)
cdef bint _far(int64_t value) noexcept
@cython.locals(moved=int64_t)
cdef bint _moved(Reg pointer, int64_t by) noexcept
cdef _add(Env env, Reg dst, Reg pointer, Reg number)
cdef _subtract(Env env, Decoded insn, Reg dst, Reg pointer, Reg number, bint reversed_)
