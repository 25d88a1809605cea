# The C side of ranges.py: ten machine numbers a range.
from libc.stdint cimport int64_t, uint64_t

import cython

from anybpf cimport bits, uapi
from anybpf.verifier cimport tnum
from anybpf.verifier.numbers cimport S32_MAX, S32_MIN, S64_MAX, S64_MIN

cdef class Range:
    cdef public uint64_t vv, vm, umin, umax, u32min, u32max
    cdef public int64_t smin, smax, s32min, s32max

cpdef void copy(Range dst, Range src) noexcept
cpdef void copy32(Range dst, Range src) noexcept
cpdef bint same(Range a, Range b) noexcept
cpdef bint within(Range old, Range cur) noexcept
cpdef void unbounded64(Range r) noexcept
cpdef void unbounded32(Range r) noexcept
cpdef void unknown(Range r) noexcept
cpdef void known(Range r, uint64_t value) noexcept
cpdef void known32(Range r, uint64_t value) noexcept
cpdef void set_subreg(Range r, uint64_t value, uint64_t mask) noexcept
cpdef bint is_const(Range r) noexcept
cpdef bint is_const32(Range r) noexcept
@cython.locals(value=uint64_t, mask=uint64_t)
cdef void _bounds_from_bits32(Range r) noexcept
cpdef void bounds_from_bits32(Range r) noexcept
@cython.locals(sign=uint64_t)
cpdef void bounds_from_bits(Range r) noexcept
@cython.locals(inside=cython.bint, following=uint64_t)
cdef void _only_member(Range r) noexcept
cdef void _narrow_u32(Range r, uint64_t low, uint64_t high) noexcept
cdef void _narrow_s32(Range r, int64_t low, int64_t high) noexcept
@cython.locals(low=uint64_t, high=uint64_t)
cdef void _deduce32_from_unsigned(Range r) noexcept
@cython.locals(low=uint64_t, high=uint64_t)
cdef void _deduce32_from_signed(Range r) noexcept
@cython.locals(slow=int64_t, shigh=int64_t)
cdef void _deduce32_around_zero(Range r, uint64_t low, uint64_t high) noexcept
@cython.locals(low=int64_t, high=int64_t, ulow=uint64_t, uhigh=uint64_t)
cdef void _deduce32(Range r) noexcept
@cython.locals(low=int64_t, high=int64_t, ulow=uint64_t, uhigh=uint64_t)
cdef void _deduce64(Range r) noexcept
@cython.locals(low=uint64_t, high=uint64_t, rv=uint64_t, rm=uint64_t)
cdef void _deduce_mixed(Range r) noexcept
cdef void _deduce(Range r) noexcept
@cython.locals(rv=uint64_t, rm=uint64_t, v64=uint64_t, m64=uint64_t, v32=uint64_t, m32=uint64_t)
cdef void _bits_from_bounds(Range r) noexcept
cpdef void sync(Range r) noexcept
@cython.locals(low=uint64_t)
cpdef int contradiction(Range r) noexcept
cpdef bint consistent(Range r) noexcept
cpdef void bounds32_to_64(Range r) noexcept
cpdef void zero_extend32(Range r) noexcept
@cython.locals(mask=uint64_t, one=uint64_t)
cpdef void truncate(Range r, int size) noexcept
cpdef void sign_extend(Range r, int size) noexcept
cdef int64_t _extended(uint64_t x, int size) noexcept
@cython.locals(width=cython.int, top=uint64_t, bottom=uint64_t, high=int64_t, low=int64_t,
               half=uint64_t, one=uint64_t)
cdef void _sign_extend_range(Range r, int size) noexcept
@cython.locals(low=int64_t)
cpdef void sign_extend32(Range r, int size) noexcept
@cython.locals(width=cython.int, top=uint64_t, bottom=uint64_t, high=int64_t, low=int64_t,
               rv=uint64_t, rm=uint64_t, half=uint64_t, one=uint64_t)
cdef void _sign_extend_range32(Range r, int size) noexcept
