# The C side of bits.py: the same meanings as inline functions.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    uint16_t __builtin_bswap16(uint16_t) nogil
    uint32_t __builtin_bswap32(uint32_t) nogil
    uint64_t __builtin_bswap64(uint64_t) nogil

cdef inline int64_t s8(uint64_t x) noexcept nogil:
    return <int8_t> x

cdef inline int64_t s16(uint64_t x) noexcept nogil:
    return <int16_t> x

cdef inline int64_t s32(uint64_t x) noexcept nogil:
    return <int32_t> x

cdef inline int64_t s64(uint64_t x) noexcept nogil:
    return <int64_t> x

cdef inline uint64_t bswap16(uint64_t x) noexcept nogil:
    return __builtin_bswap16(<uint16_t> x)

cdef inline uint64_t bswap32(uint64_t x) noexcept nogil:
    return __builtin_bswap32(<uint32_t> x)

cdef inline uint64_t bswap64(uint64_t x) noexcept nogil:
    return __builtin_bswap64(x)
