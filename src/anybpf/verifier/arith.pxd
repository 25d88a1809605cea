# The C side of arith.py.
from libc.stdint cimport int64_t, uint64_t

import cython

from anybpf cimport bits, uapi
from anybpf.verifier cimport ranges, tnum
from anybpf.verifier.numbers cimport S32_MAX, S32_MIN, S64_MAX, S64_MIN
from anybpf.verifier.ranges cimport Range

@cython.locals(low=uint64_t, high=uint64_t)
cpdef void add(Range dst, Range src) noexcept
@cython.locals(low=int64_t, high=int64_t)
cdef void _signed_sum(Range dst, int64_t least, int64_t most) noexcept
cdef bint _sum_overflows(int64_t a, int64_t b, int64_t total) noexcept
cdef bint _difference_overflows(int64_t a, int64_t b, int64_t rest) noexcept
@cython.locals(low=uint64_t, high=uint64_t)
cdef void _add32(Range dst, Range src) noexcept
cdef void _bound_s32(Range dst, int64_t low, int64_t high) noexcept
cpdef void sub(Range dst, Range src) noexcept
@cython.locals(low=int64_t, high=int64_t)
cdef void _signed_difference(Range dst, Range src) noexcept
@cython.locals(low=uint64_t, high=uint64_t)
cpdef void add_to_pointer(Range dst, Range src) noexcept
cpdef void sub_from_pointer(Range dst, Range src) noexcept
@cython.locals(low=uint64_t, high=uint64_t)
cdef void _sub32(Range dst, Range src) noexcept
@cython.locals(old=Range)
cpdef void neg(Range dst)
@cython.locals(a=int64_t, b=int64_t, c=int64_t, d=int64_t)
cpdef void mul(Range dst, Range src) noexcept
cdef bint _product_fits(uint64_t a, uint64_t b, uint64_t most) noexcept
cdef uint64_t _magnitude(int64_t a) noexcept
@cython.locals(most=uint64_t)
cdef bint _signed_product_fits(int64_t a, int64_t b) noexcept
@cython.locals(a=int64_t, b=int64_t, c=int64_t, d=int64_t, low=uint64_t, high=uint64_t)
cdef void _mul32(Range dst, Range src) noexcept
@cython.locals(low=int64_t, high=int64_t)
cdef void _signed_as_unsigned(Range dst) noexcept
@cython.locals(low=int64_t, high=int64_t)
cdef void _signed_as_unsigned32(Range dst) noexcept
@cython.locals(all32=cython.bint, both=cython.bint)
cdef void _bitwise(Range dst, Range src, uint64_t vv, uint64_t vm, uint64_t low, uint64_t high,
                   uint64_t low32, uint64_t high32) noexcept
@cython.locals(vv=uint64_t, vm=uint64_t)
cpdef void band(Range dst, Range src) noexcept
@cython.locals(vv=uint64_t, vm=uint64_t)
cpdef void bor(Range dst, Range src) noexcept
@cython.locals(vv=uint64_t, vm=uint64_t)
cpdef void bxor(Range dst, Range src) noexcept
@cython.locals(one=uint64_t)
cdef void _lshift_bounds32(Range dst, int shift) noexcept
@cython.locals(one=uint64_t)
cpdef void lshift(Range dst, int shift) noexcept
@cython.locals(vv=uint64_t, vm=uint64_t)
cpdef void lshift32(Range dst, int shift) noexcept
cpdef void rshift(Range dst, int shift) noexcept
cpdef void rshift32(Range dst, int shift) noexcept
cpdef void arshift(Range dst, int shift) noexcept
cpdef void arshift32(Range dst, int shift) noexcept
cpdef void byte_swap(Range dst, int size, bint swaps) noexcept
cpdef bint computable(int op, bint is32, Range src) noexcept
cpdef void apply(int op, bint is32, Range dst, Range src)
cdef void _shift(int op, bint is32, Range dst, uint64_t shift) noexcept
