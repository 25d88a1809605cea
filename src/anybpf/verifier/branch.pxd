# The C side of branch.py.
from libc.stdint cimport int64_t, uint64_t

import cython

from anybpf cimport bits, uapi
from anybpf.verifier cimport ranges, tnum
from anybpf.verifier.ranges cimport Range

cpdef int decide_unsigned(uint64_t a_low, uint64_t a_high, uint64_t b_low, uint64_t b_high, int op) noexcept
cpdef int decide_signed(int64_t a_low, int64_t a_high, int64_t b_low, int64_t b_high, int op) noexcept
cdef bint _apart32(Range a, Range b) noexcept
@cython.locals(av=uint64_t, am=uint64_t, bv=uint64_t, bm=uint64_t)
cdef int _decide_equal(Range a, Range b, bint is32) noexcept
@cython.locals(av=uint64_t, am=uint64_t, bv=uint64_t, bm=uint64_t)
cdef int _decide_set(Range a, Range b, bint is32) noexcept
@cython.locals(equal=cython.int)
cpdef int decide(Range a, Range b, int op, bint is32) noexcept
cpdef void refine(Range a, Range b, int op, bint is32)
cdef void _equal(Range a, Range b) noexcept
@cython.locals(vv=uint64_t, vm=uint64_t)
cdef void _equal32(Range a, Range b) noexcept
cdef bint _constant(Range r, bint is32) noexcept
@cython.locals(value=uint64_t, vv=uint64_t, vm=uint64_t)
cdef void _with_constant(Range a, Range b, int op, bint is32) noexcept
@cython.locals(vv=uint64_t, vm=uint64_t)
cdef void _clear_bits(Range a, uint64_t value, bint is32) noexcept
@cython.locals(signed=int64_t)
cdef void _not_edge(Range a, uint64_t value) noexcept
@cython.locals(signed=int64_t)
cdef void _not_edge32(Range a, uint64_t value) noexcept
@cython.locals(gap=int64_t)
cdef void _less(Range a, Range b, int op, bint is32) noexcept
