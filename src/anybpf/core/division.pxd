# Signed division as BPF has it: by 0 it gives 0 (the remainder: the dividend), and it never traps.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anybpf cimport bits


cdef inline uint64_t sdiv64(uint64_t a, uint64_t b) noexcept nogil:
    """Signed quotient: 0 for a division by 0, and the least number by -1 is itself."""
    if b == 0:
        return 0
    return 0 - a if <int64_t> b == -1 else <uint64_t> (<int64_t> a / <int64_t> b)


cdef inline uint64_t smod64(uint64_t a, uint64_t b) noexcept nogil:
    """Signed remainder, with the dividend's sign."""
    if b == 0:
        return a
    return 0 if <int64_t> b == -1 else <uint64_t> (<int64_t> a % <int64_t> b)


cdef inline uint32_t sdiv32(uint64_t a, uint64_t b) noexcept nogil:
    if <uint32_t> b == 0:
        return 0
    return <uint32_t> (bits.s32(a) / bits.s32(b))


cdef inline uint32_t smod32(uint64_t a, uint64_t b) noexcept nogil:
    if <uint32_t> b == 0:
        return <uint32_t> a
    return <uint32_t> (bits.s32(a) % bits.s32(b))
