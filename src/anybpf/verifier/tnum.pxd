# The C side of tnum.py: pairs of unsigned 64-bit numbers.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi

@cython.locals(n=cython.int)
cpdef int fls64(uint64_t x) noexcept
@cython.locals(chi=uint64_t, bits=cython.int, one=uint64_t, delta=uint64_t)
cpdef (uint64_t, uint64_t) from_range(uint64_t low, uint64_t high) noexcept
@cython.locals(masks=uint64_t, values=uint64_t, sigma=uint64_t, mu=uint64_t)
cpdef (uint64_t, uint64_t) add(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
@cython.locals(values=uint64_t, alpha=uint64_t, beta=uint64_t, mu=uint64_t)
cpdef (uint64_t, uint64_t) sub(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
cpdef (uint64_t, uint64_t) neg(uint64_t av, uint64_t am) noexcept
@cython.locals(value=uint64_t)
cpdef (uint64_t, uint64_t) band(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
@cython.locals(value=uint64_t)
cpdef (uint64_t, uint64_t) bor(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
@cython.locals(mu=uint64_t)
cpdef (uint64_t, uint64_t) bxor(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
cpdef (uint64_t, uint64_t) lshift(uint64_t av, uint64_t am, int shift) noexcept
cpdef (uint64_t, uint64_t) rshift(uint64_t av, uint64_t am, int shift) noexcept
@cython.locals(one=uint64_t, sign=uint64_t, result=uint64_t, ones=uint64_t)
cdef uint64_t _sra(uint64_t x, int shift, int bits) noexcept
cpdef (uint64_t, uint64_t) arshift(uint64_t av, uint64_t am, int shift, int bits) noexcept
@cython.locals(rv=uint64_t, rm=uint64_t, tv=uint64_t, tm=uint64_t)
cpdef (uint64_t, uint64_t) mul(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
@cython.locals(mu=uint64_t)
cpdef (uint64_t, uint64_t) intersect(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
@cython.locals(mu=uint64_t)
cpdef (uint64_t, uint64_t) union(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
cpdef bint overlap(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
cpdef bint within(uint64_t av, uint64_t am, uint64_t bv, uint64_t bm) noexcept
cpdef bint aligned(uint64_t av, uint64_t am, uint64_t size) noexcept
@cython.locals(mask=uint64_t)
cpdef (uint64_t, uint64_t) cast(uint64_t av, uint64_t am, int size) noexcept
@cython.locals(top=uint64_t, stuck=cython.int, low=uint64_t, high=uint64_t, counted=uint64_t)
cpdef uint64_t above(uint64_t av, uint64_t am, uint64_t x) noexcept
@cython.locals(differs=uint64_t)
cdef bint _first_is_up(uint64_t av, uint64_t am, uint64_t x) noexcept
