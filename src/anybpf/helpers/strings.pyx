"""Numbers out of strings, and comparing strings (kernel/bpf/helpers.c)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EINVAL, ERANGE, fail

cdef enum:
    BASE_MASK = 0x1f

# A number as it was read: the kernel's __bpf_strtoull().
cdef struct number:
    uint64_t value
    uint32_t consumed               # bytes of text
    bint negative


cdef inline bint is_space(uint8_t c) noexcept nogil:
    return c == 32 or 9 <= c <= 13 or c == 0xa0     # the kernel's ctype calls 0xa0 a space


cdef inline uint32_t digit_value(uint8_t c) noexcept nogil:
    """0 .. 35, or 99 if the character is no digit of any base."""
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    return c - 87 if 97 <= c <= 122 else 99


cdef inline bint is_hex_prefix(const uint8_t *s, uint32_t n) noexcept nogil:
    return n >= 2 and s[0] == 48 and s[1] | 32 == 120


cdef uint32_t guess_base(const uint8_t *s, uint32_t n) noexcept nogil:
    if not n or s[0] != 48:
        return 10
    if is_hex_prefix(s, n) and n >= 3 and digit_value(s[2]) < 16:
        return 16
    return 8


cdef int64_t read_digits(const uint8_t *s, uint32_t n, uint32_t base,
                         uint64_t *value) noexcept nogil:
    """Bytes of `s` that are digits; -ERANGE if they need more than 64 bits."""
    cdef uint32_t i = 0
    cdef uint64_t total = 0
    cdef uint32_t digit
    while i < n:
        digit = digit_value(s[i])
        if digit >= base:
            break
        if total > (<uint64_t> -1 - digit) // base:
            return -ERANGE
        total = total * base + digit
        i += 1
    value[0] = total
    return i


cdef int64_t read_number(const uint8_t *s, uint64_t size, uint64_t flags,
                         number *out) noexcept nogil:
    """0, or a negative error number: spaces, an optional sign, a prefix of the base, digits."""
    cdef uint32_t base = flags & BASE_MASK
    cdef uint32_t i = 0
    cdef uint32_t n = 0
    cdef int64_t digits
    if not s or not size or (base != 0 and base != 8 and base != 10 and base != 16):
        return -EINVAL
    if flags & ~<uint64_t> BASE_MASK:
        return -EINVAL
    while i < size and is_space(s[i]):
        i += 1
    if i >= size:
        return -EINVAL
    out.negative = s[i] == 45
    if out.negative:
        i += 1
    if i >= size:
        return -EINVAL
    n = <uint32_t> min(size - i, <uint64_t> 63)
    if base == 0:
        base = guess_base(s + i, n)
    if base == 16 and is_hex_prefix(s + i, n):
        i += 2
        n -= 2
    digits = read_digits(s + i, n, base, &out.value)
    if digits == 0:
        return -EINVAL
    if digits < 0:
        return digits
    out.consumed = i + <uint32_t> digits
    return 0


cdef uint64_t strtol(uint64_t buf, uint64_t size, uint64_t flags, uint64_t res, uint64_t r5,
                     run_ctx *run) noexcept nogil:
    cdef number n
    cdef int64_t err
    (<int64_t *> res)[0] = 0
    err = read_number(<uint8_t *> buf, size, flags, &n)
    if err:
        return <uint64_t> err
    if n.value > (<uint64_t> 1 << 63) - (0 if n.negative else 1):
        return fail(ERANGE)
    (<uint64_t *> res)[0] = 0 - n.value if n.negative else n.value
    return n.consumed


cdef uint64_t strtoul(uint64_t buf, uint64_t size, uint64_t flags, uint64_t res, uint64_t r5,
                      run_ctx *run) noexcept nogil:
    cdef number n
    cdef int64_t err
    (<uint64_t *> res)[0] = 0
    err = read_number(<uint8_t *> buf, size, flags, &n)
    if err:
        return <uint64_t> err
    if n.negative:
        return fail(EINVAL)
    (<uint64_t *> res)[0] = n.value
    return n.consumed


cdef uint64_t strncmp(uint64_t a, uint64_t size, uint64_t b, uint64_t r4, uint64_t r5,
                      run_ctx *run) noexcept nogil:
    """-1, 0 or 1, as the kernel's strncmp() says it."""
    cdef const uint8_t *x = <const uint8_t *> a
    cdef const uint8_t *y = <const uint8_t *> b
    cdef uint32_t i
    for i in range(<uint32_t> size):
        if x[i] != y[i]:
            return 1 if x[i] > y[i] else <uint64_t> -1
        if x[i] == 0:
            break
    return 0


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "strtol": <uint64_t> strtol,
        "strtoul": <uint64_t> strtoul,
        "strncmp": <uint64_t> strncmp,
    }
