# Bob Jenkins' lookup3 hash, as hash tables and bloom filters use it (include/linux/jhash.h).
#
# Bytes are read as little-endian words on every machine, so that a bucket order is the same everywhere.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef inline uint32_t rol32(uint32_t x, uint32_t n) noexcept nogil:
    return (x << n) | (x >> (32 - n))

cdef inline uint32_t word(const uint8_t *p) noexcept nogil:
    return (<uint32_t> p[0] | <uint32_t> p[1] << 8 | <uint32_t> p[2] << 16 | <uint32_t> p[3] << 24)

cdef inline uint32_t part(const uint8_t *p, uint32_t left) noexcept nogil:
    """The next word, with zeros where fewer than four bytes are left."""
    cdef uint32_t x = 0, i
    if left >= 4:
        return word(p)
    for i in range(left):
        x |= <uint32_t> p[i] << (8 * i)
    return x

cdef inline uint32_t jhash(const void *key, uint32_t size, uint32_t seed) noexcept nogil:
    cdef const uint8_t *p = <const uint8_t *> key
    cdef uint32_t left = size
    cdef uint32_t a = <uint32_t> 0xDEADBEEF + size + seed
    cdef uint32_t b = a, c = a
    while left > 12:
        a += word(p)
        b += word(p + 4)
        c += word(p + 8)
        a -= c; a ^= rol32(c, 4); c += b
        b -= a; b ^= rol32(a, 6); a += c
        c -= b; c ^= rol32(b, 8); b += a
        a -= c; a ^= rol32(c, 16); c += b
        b -= a; b ^= rol32(a, 19); a += c
        c -= b; c ^= rol32(b, 4); b += a
        p += 12
        left -= 12
    if left == 0:
        return c
    a += part(p, left)
    if left > 4:
        b += part(p + 4, left - 4)
    if left > 8:
        c += part(p + 8, left - 8)
    c ^= b; c -= rol32(b, 14)
    a ^= c; a -= rol32(c, 11)
    b ^= a; b -= rol32(a, 25)
    c ^= b; c -= rol32(b, 16)
    a ^= c; a -= rol32(c, 4)
    b ^= a; b -= rol32(a, 14)
    c ^= b; c -= rol32(b, 24)
    return c
