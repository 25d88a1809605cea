"""The format language of trace_printk and snprintf (bpf_bprintf_prepare in kernel/bpf/helpers.c).

A conversion is `%`, flags of `0+- `, a width, then one of

    d i u x X c       with l or ll for 64 bits
    s                 a string in kernel memory; pks, pus say which memory
    p px pK           a pointer: hashed, plain, hashed
    ps pS pB          a symbol: machines have none, so its address
    pI4 pi4 pI6 pi6   an address in network order

The kernel collects the arguments in 512 bytes first: what does not fit is -ENOSPC.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen

from anybpf.core.run_ctx cimport buffer_append, run_ctx
from anybpf.helpers.abi cimport EINVAL, ENOSPC, fail, strnlen
from anybpf.helpers.probe cimport copy_memory, copy_string, copy_user_string

cdef enum:
    ARG_SPACE = 512                 # MAX_BPRINTF_BIN_ARGS
    PRINTK_SIZE = 1024              # MAX_BPRINTF_BUF
    MAX_VARARGS = 12                # MAX_BPRINTF_VARARGS
    PRINTK_ARGS = 3
    MAX_WIDTH = 8388607             # a field's width is a signed 24-bit number
    IP_TEXT = 40

# One conversion as it was parsed.
cdef struct conversion:
    char kind                       # d u x X c s p
    char detail                     # of p: 0 x K s S B I i k u
    char family                     # of pI and pi: '4' or '6'
    uint32_t bytes                  # of an integer argument: 4 or 8
    uint32_t width
    bint zero
    bint plus
    bint minus
    bint space

# Where the text goes: all of it is counted, what fits is kept.
cdef struct sink:
    char *out
    uint64_t size
    uint64_t used

# The text being formatted and what is left of its arguments.
cdef struct formatter:
    run_ctx *run
    sink to
    const uint64_t *args
    uint32_t left
    uint32_t room                   # bytes left of ARG_SPACE


cdef inline bint is_digit(char c) noexcept nogil:
    return 48 <= c <= 57

cdef inline bint is_space(char c) noexcept nogil:
    return c == 32 or 9 <= c <= 13

cdef inline bint is_punct(char c) noexcept nogil:
    return 33 <= c <= 47 or 58 <= c <= 64 or 91 <= c <= 96 or 123 <= c <= 126

cdef inline bint is_alnum(char c) noexcept nogil:
    return is_digit(c) or 65 <= c <= 90 or 97 <= c <= 122

cdef inline bint is_delimiter(char c) noexcept nogil:
    return c == 0 or is_space(c) or is_punct(c)

cdef inline bint is_text(char c) noexcept nogil:
    """What may stand in a format: printable ASCII, white space, anything above ASCII."""
    return <uint8_t> c >= 128 or 32 <= c <= 126 or is_space(c)


cdef inline void put(sink *to, char c) noexcept nogil:
    if to.used + 1 < to.size:
        to.out[to.used] = c
    to.used += 1


cdef void put_bytes(sink *to, const char *text, uint64_t n) noexcept nogil:
    cdef uint64_t i
    for i in range(n):
        put(to, text[i])


cdef void put_fill(sink *to, char c, int64_t n) noexcept nogil:
    while n > 0:
        put(to, c)
        n -= 1


cdef void put_padded(sink *to, conversion *conv, const char *text, uint64_t n) noexcept nogil:
    cdef int64_t fill = <int64_t> conv.width - <int64_t> n
    if not conv.minus:
        put_fill(to, 32, fill)
    put_bytes(to, text, n)
    if conv.minus:
        put_fill(to, 32, fill)


cdef uint32_t digits_of(uint64_t value, uint32_t base, char ten, char *end) noexcept nogil:
    """Write the digits of `value` before `end`; `ten` is the character of digit 10."""
    cdef uint32_t n = 0
    cdef uint32_t digit
    while value or not n:
        digit = value % base
        n += 1
        (end - n)[0] = <char> (48 + digit if digit < 10 else ten + digit - 10)
        value //= base
    return n


cdef void put_number(sink *to, conversion *conv, uint64_t value, char sign, uint32_t base,
                     char ten) noexcept nogil:
    cdef char digits[24]
    cdef uint32_t n = digits_of(value, base, ten, digits + 24)
    cdef int64_t fill = <int64_t> conv.width - n - (1 if sign else 0)
    if not conv.minus and not conv.zero:
        put_fill(to, 32, fill)
    if sign:
        put(to, sign)
    if conv.zero and not conv.minus:
        put_fill(to, 48, fill)
    put_bytes(to, digits + 24 - n, n)
    if conv.minus:
        put_fill(to, 32, fill)


cdef void put_signed(sink *to, conversion *conv, uint64_t raw) noexcept nogil:
    cdef int64_t value = <int64_t> raw if conv.bytes == 8 else <int32_t> raw
    cdef char sign = 45 if value < 0 else 43 if conv.plus else 32 if conv.space else 0
    put_number(to, conv, <uint64_t> (0 - <uint64_t> value) if value < 0 else <uint64_t> value,
               sign, 10, 97)


cdef void put_unsigned(sink *to, conversion *conv, uint64_t raw) noexcept nogil:
    cdef uint64_t value = raw if conv.bytes == 8 else <uint32_t> raw
    put_number(to, conv, value, 0, 10 if conv.kind == 117 else 16,
               65 if conv.kind == 88 else 97)


cdef uint32_t pointer_hash(uint64_t value) noexcept nogil:
    """Stands for a pointer in text: the same for the same pointer."""
    value = (value ^ (value >> 33)) * <uint64_t> 0xff51afd7ed558ccdULL
    value = (value ^ (value >> 33)) * <uint64_t> 0xc4ceb9fe1a85ec53ULL
    return <uint32_t> (value ^ (value >> 33))


cdef void put_pointer(sink *to, conversion *conv, uint64_t value) noexcept nogil:
    """16 hexadecimal digits unless a width is given.

    Anything but %px shows a hash, save for NULL and error numbers.
    """
    cdef bint plain = conv.detail == 120 or value == 0 or value >= <uint64_t> -4095
    if conv.width == 0:
        conv.width = 16
        conv.zero = True
    put_number(to, conv, value if plain else pointer_hash(value), 0, 16, 97)


cdef void put_symbol(sink *to, conversion *conv, uint64_t value) noexcept nogil:
    cdef char text[24]
    cdef uint32_t n = digits_of(value, 16, 97, text + 24)
    text[24 - n - 1] = 120
    text[24 - n - 2] = 48
    put_padded(to, conv, text + 24 - n - 2, n + 2)


cdef uint32_t ip4_text(const uint8_t *ip, bint zeros, char *text) noexcept nogil:
    cdef char digits[4]
    cdef uint32_t used = 0
    cdef uint32_t i, n
    for i in range(4):
        if i:
            text[used] = 46
            used += 1
        memset(digits, 48, 4)
        n = digits_of(ip[i], 10, 97, digits + 4)
        if zeros:
            n = 3
        memcpy(text + used, digits + 4 - n, n)
        used += n
    return used


cdef uint32_t ip6_text(const uint8_t *ip, bint colons, char *text) noexcept nogil:
    cdef const char *hex = "0123456789abcdef"
    cdef uint32_t used = 0
    cdef uint32_t i
    for i in range(16):
        if colons and i and not i & 1:
            text[used] = 58
            used += 1
        text[used] = hex[ip[i] >> 4]
        text[used + 1] = hex[ip[i] & 15]
        used += 2
    return used


cdef bint take(formatter *f, uint32_t bytes) noexcept nogil:
    """Use up argument space; integers begin at multiples of four bytes."""
    cdef uint32_t pad = f.room & 3 if bytes >= 4 else 0
    if f.room < bytes + pad:
        return False
    f.room -= bytes + pad
    return True


cdef int64_t put_address(formatter *f, conversion *conv, uint64_t at) noexcept nogil:
    cdef uint8_t ip[16]
    cdef char text[IP_TEXT]
    cdef uint32_t size = 4 if conv.family == 52 else 16
    cdef uint32_t n
    if f.room < size:
        return -ENOSPC
    copy_memory(f.run, ip, size, at)
    if size == 4:
        n = ip4_text(ip, conv.detail == 105, text)
    else:
        n = ip6_text(ip, conv.detail == 73, text)
    f.room -= min(f.room, n + 1)
    put_bytes(&f.to, text, n)
    return 0


cdef int64_t put_string(formatter *f, conversion *conv, uint64_t at) noexcept nogil:
    cdef char text[ARG_SPACE]
    cdef int64_t n
    if f.room < 1:
        return -ENOSPC
    if conv.detail == 117:
        n = copy_user_string(f.run, text, f.room, at)
    else:
        n = copy_string(f.run, text, f.room, at)
    if n < 0:
        text[0] = 0
        n = 1
    f.room -= <uint32_t> n
    if conv.kind == 115:
        put_padded(&f.to, conv, text, <uint64_t> n - 1)
    else:
        put_bytes(&f.to, text, <uint64_t> n - 1)
    return 0


cdef int64_t put_argument(formatter *f, conversion *conv, uint64_t value) noexcept nogil:
    """Convert one argument: 0, or a negative error number."""
    cdef char c
    if conv.kind == 115 or conv.detail == 107 or conv.detail == 117:
        return put_string(f, conv, value)
    if conv.detail == 73 or conv.detail == 105:
        return put_address(f, conv, value)
    if not take(f, 1 if conv.kind == 99 else conv.bytes):
        return -ENOSPC
    if conv.kind == 99:
        c = <char> value
        put_padded(&f.to, conv, &c, 1)
    elif conv.kind == 112:
        if conv.detail == 115 or conv.detail == 83 or conv.detail == 66:
            put_symbol(&f.to, conv, value)
        else:
            put_pointer(&f.to, conv, value)
    elif conv.kind == 100:
        put_signed(&f.to, conv, value)
    else:
        put_unsigned(&f.to, conv, value)
    return 0


cdef int64_t parse_flags(const char *fmt, conversion *conv) noexcept nogil:
    """Flags and width: bytes used."""
    cdef int64_t i = 0
    while fmt[i] == 48 or fmt[i] == 43 or fmt[i] == 45 or fmt[i] == 32:
        conv.zero |= fmt[i] == 48
        conv.plus |= fmt[i] == 43
        conv.minus |= fmt[i] == 45
        conv.space |= fmt[i] == 32
        i += 1
    while is_digit(fmt[i]):
        if conv.width <= MAX_WIDTH:
            conv.width = conv.width * 10 + (fmt[i] - 48)
        i += 1
    conv.width = min(conv.width, <uint32_t> MAX_WIDTH)
    return i


cdef int64_t parse_pointer(const char *fmt, conversion *conv) noexcept nogil:
    """What follows %p: bytes used, or -EINVAL."""
    cdef char c = fmt[0]
    conv.bytes = 8
    if is_delimiter(c):
        return 0
    conv.detail = c
    if (c == 107 or c == 117) and fmt[1] == 115:                        # ks us
        return 2 if is_delimiter(fmt[2]) else -EINVAL
    if c == 75 or c == 120 or c == 115 or c == 83 or c == 66:           # K x s S B
        return 1
    if (c == 105 or c == 73) and (fmt[1] == 52 or fmt[1] == 54):        # i I, 4 6
        conv.family = fmt[1]
        return 2
    return -EINVAL


cdef int64_t parse_integer(const char *fmt, conversion *conv) noexcept nogil:
    """l, ll and the letter of an integer: bytes used, or -EINVAL."""
    cdef int64_t i = 0
    conv.bytes = 4
    while fmt[i] == 108 and i < 2:                                      # l
        conv.bytes = 8
        i += 1
    conv.kind = fmt[i]
    if conv.kind == 105:                                                # i
        conv.kind = 100
    if conv.kind != 100 and conv.kind != 117 and conv.kind | 32 != 120:     # d u x X
        return -EINVAL
    return i + 1


cdef int64_t parse(const char *fmt, conversion *conv) noexcept nogil:
    """The conversion that follows a '%': bytes used, or -EINVAL."""
    cdef int64_t i = parse_flags(fmt, conv)
    cdef int64_t more
    conv.kind = fmt[i]
    if conv.kind == 112:                                                # p
        more = parse_pointer(fmt + i + 1, conv)
        if more < 0:
            return more
        i += 1 + more
        while is_alnum(fmt[i]):             # the kernel prints none of a pointer's suffixes
            i += 1
        return i
    if conv.kind == 115:                                                # s
        return i + 1 if is_delimiter(fmt[i + 1]) else -EINVAL
    if conv.kind == 99:                                                 # c
        return i + 1
    more = parse_integer(fmt + i, conv)
    return more if more < 0 else i + more


cdef int64_t format_one(formatter *f, const char *fmt) noexcept nogil:
    """One conversion after its '%': bytes of the format used, or a negative error number."""
    cdef conversion conv
    cdef int64_t used, err
    memset(&conv, 0, sizeof(conv))
    if not f.left:
        return -EINVAL
    used = parse(fmt, &conv)
    if used < 0:
        return used
    err = put_argument(f, &conv, f.args[0])
    f.args += 1
    f.left -= 1
    return err if err else used


cdef int64_t format_text(run_ctx *run, char *out, uint64_t size, const char *fmt,
                         const uint64_t *args, uint32_t n_args) noexcept nogil:
    """Format `fmt` (NUL-terminated) into `out`: the text's whole length, or an error number."""
    cdef formatter f
    cdef int64_t i = 0
    cdef int64_t used
    memset(&f, 0, sizeof(f))
    f.run = run
    f.to.out = out
    f.to.size = size
    f.args = args
    f.left = n_args
    f.room = ARG_SPACE
    while fmt[i]:
        if not is_text(fmt[i]):
            return -EINVAL
        if fmt[i] != 37:
            put(&f.to, fmt[i])
            i += 1
        elif fmt[i + 1] == 37:
            put(&f.to, 37)
            i += 2
        else:
            used = format_one(&f, fmt + i + 1)
            if used < 0:
                return used
            i += 1 + used
    if size:
        out[min(f.to.used, size - 1)] = 0
    return <int64_t> f.to.used


cdef void record(run_ctx *run, const char *text) noexcept nogil:
    """Keep a printed line with the program that printed it."""
    cdef uint32_t head[2]
    head[0] = run.prog.id if run.prog != NULL else 0
    head[1] = <uint32_t> strlen(text)
    if buffer_append(&run.trace, head, sizeof(head)) == 0:
        buffer_append(&run.trace, text, head[1])


cdef int64_t print_line(run_ctx *run, const char *fmt, uint64_t fmt_size, const uint64_t *args,
                        uint32_t n_args) noexcept nogil:
    cdef char text[PRINTK_SIZE]
    cdef int64_t n
    if strnlen(fmt, fmt_size) == fmt_size:
        return -EINVAL
    n = format_text(run, text, PRINTK_SIZE, fmt, args, n_args)
    if n >= 0:
        record(run, text)
    return n


cdef inline bint bad_args(uint64_t args, uint32_t size) noexcept nogil:
    return (size & 7) != 0 or size > MAX_VARARGS * 8 or (size != 0 and args == 0)


cdef uint64_t trace_printk(uint64_t fmt, uint64_t fmt_size, uint64_t r3, uint64_t r4,
                           uint64_t r5, run_ctx *run) noexcept nogil:
    cdef uint64_t args[PRINTK_ARGS]
    args[0] = r3
    args[1] = r4
    args[2] = r5
    return <uint64_t> print_line(run, <char *> fmt, <uint32_t> fmt_size, args, PRINTK_ARGS)


cdef uint64_t trace_vprintk(uint64_t fmt, uint64_t fmt_size, uint64_t args, uint64_t size,
                            uint64_t r5, run_ctx *run) noexcept nogil:
    if bad_args(args, <uint32_t> size):
        return fail(EINVAL)
    return <uint64_t> print_line(run, <char *> fmt, <uint32_t> fmt_size, <uint64_t *> args,
                                 <uint32_t> size // 8)


cdef uint64_t snprintf(uint64_t out, uint64_t size, uint64_t fmt, uint64_t args,
                       uint64_t args_size, run_ctx *run) noexcept nogil:
    """The text's length with its NUL, even where it was cut."""
    cdef int64_t n
    if bad_args(args, <uint32_t> args_size):
        return fail(EINVAL)
    n = format_text(run, <char *> out, <uint32_t> size, <char *> fmt, <uint64_t *> args,
                    <uint32_t> args_size // 8)
    return <uint64_t> (n if n < 0 else n + 1)


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "trace_printk": <uint64_t> trace_printk,
        "trace_vprintk": <uint64_t> trace_vprintk,
        "snprintf": <uint64_t> snprintf,
    }
