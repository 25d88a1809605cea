# The Internet checksum (RFC 1071) and its incremental update (RFC 1624), as C inline functions.
#
# A 32-bit partial sum (the kernel's __wsum) is the ones' complement sum of 16-bit words *as they
# lie in memory*; fold() makes the 16 bits that a header holds. Sums are independent of byte order
# as long as all words are read the same way.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef inline uint32_t add(uint32_t a, uint32_t b) noexcept nogil:
    """a + b with the carry brought round."""
    cdef uint64_t total = <uint64_t> a + b
    return <uint32_t> (total + (total >> 32))

cdef inline uint32_t sub(uint32_t a, uint32_t b) noexcept nogil:
    return add(a, ~b)

cdef inline uint16_t fold16(uint32_t total) noexcept nogil:
    """The 32-bit sum as 16 bits, carries brought round, not complemented."""
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    return <uint16_t> total

cdef inline uint16_t fold(uint32_t total) noexcept nogil:
    """What a header's checksum field holds: the complement of the folded sum."""
    return <uint16_t> (~fold16(total) & 0xffff)

cdef inline uint32_t reduce64(uint64_t total) noexcept nogil:
    total = (total & <uint64_t> 0xffffffffu) + (total >> 32)
    total = (total & <uint64_t> 0xffffffffu) + (total >> 32)
    return <uint32_t> total

cdef inline uint32_t partial(const void *data, uint64_t size, uint32_t seed) noexcept nogil:
    """The sum of `size` bytes added to `seed`; an odd last byte counts as if a zero followed."""
    cdef const uint8_t *p = <const uint8_t *> data
    cdef uint64_t total = seed
    cdef uint32_t word
    cdef uint16_t half = 0
    while size >= 4:
        memcpy(&word, p, 4)
        total += word
        p += 4
        size -= 4
    if size >= 2:
        memcpy(&half, p, 2)
        total += half
        p += 2
        size -= 2
    if size:
        half = 0
        memcpy(&half, p, 1)
        total += half
    return reduce64(total)

cdef inline uint32_t block_at(uint32_t total, uint64_t offset) noexcept nogil:
    """A partial sum of bytes that begin at `offset`: at odd offsets the bytes swap places."""
    if offset & 1:
        return (total << 8) | (total >> 24)
    return total

cdef inline uint16_t replaced2(uint16_t check, uint16_t old, uint16_t new) noexcept nogil:
    """A header's checksum after one 16-bit word changed from `old` to `new`."""
    cdef uint32_t total = <uint16_t> ~check
    total += <uint16_t> ~old
    total = (total & 0xffff) + (total >> 16)
    total += new
    total = (total & 0xffff) + (total >> 16)
    return <uint16_t> ~total

cdef inline uint16_t replaced4(uint16_t check, uint32_t old, uint32_t new) noexcept nogil:
    """A header's checksum after one 32-bit word changed from `old` to `new`."""
    return fold(add(sub(~<uint32_t> check, old), new))

cdef inline uint16_t replaced_by_diff(uint16_t check, uint32_t diff) noexcept nogil:
    return fold(add(diff, ~<uint32_t> check))
