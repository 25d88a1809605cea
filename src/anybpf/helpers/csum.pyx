"""Checksum helpers (net/core/filter.c)."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EACCES, EFAULT, EINVAL, ENOTSUPP, fail
from anybpf.net cimport checksum
from anybpf.net.filter cimport (
    CHECKSUM_COMPLETE,
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    sk_buff,
)

cdef enum:
    FIELD_MASK = 0xf                # BPF_F_HDR_FIELD_MASK: size of the changed word
    PSEUDO_HDR = 0x10
    MARK_MANGLED_0 = 0x20
    MARK_ENFORCE = 0x40
    IPV6 = 0x80
    MANGLED_0 = 0xffff
    MAX_OFFSET = 0xffff
    MAX_CSUM_LEVEL = 3
    LEVEL_QUERY = 0
    LEVEL_INC = 1
    LEVEL_DEC = 2
    LEVEL_RESET = 3


cdef uint64_t csum_diff(uint64_t old, uint64_t old_size, uint64_t new, uint64_t new_size,
                        uint64_t seed, run_ctx *run) noexcept nogil:
    """seed + sum(new) - sum(old), folded to 16 bits; sizes need not be multiples of 4 any more."""
    cdef uint32_t total = <uint32_t> seed
    cdef uint32_t n_old = <uint32_t> old_size
    cdef uint32_t n_new = <uint32_t> new_size
    if n_new:
        total = checksum.partial(<void *> new, n_new, total)
        if n_old:
            total = checksum.sub(total, checksum.partial(<void *> old, n_old, 0))
    elif n_old:
        total = ~checksum.partial(<void *> old, n_old, ~total)
    return checksum.fold16(total)


cdef int64_t field_at(sk_buff *skb, uint32_t offset) noexcept nogil:
    """0 if a 16-bit checksum may lie at `offset`."""
    if offset > MAX_OFFSET or offset & 1 or offset + 2 > skb.len:
        return -EFAULT
    return 0


cdef uint64_t l3_csum_replace(uint64_t ctx, uint64_t at, uint64_t old, uint64_t new,
                              uint64_t flags, run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint16_t *field = <uint16_t *> (skb.data + <uint32_t> at)
    cdef uint64_t size = flags & FIELD_MASK
    if flags & ~<uint64_t> FIELD_MASK:
        return fail(EINVAL)
    if field_at(skb, <uint32_t> at):
        return fail(EFAULT)
    if size == 0:
        if old:
            return fail(EINVAL)
        field[0] = checksum.replaced_by_diff(field[0], <uint32_t> new)
    elif size == 2:
        field[0] = checksum.replaced2(field[0], <uint16_t> old, <uint16_t> new)
    elif size == 4:
        field[0] = checksum.replaced4(field[0], <uint32_t> old, <uint32_t> new)
    else:
        return fail(EINVAL)
    return 0


cdef void replace_by_diff(sk_buff *skb, uint16_t *field, uint32_t diff, bint pseudo,
                          bint ipv6) noexcept nogil:
    if skb.ip_summed == CHECKSUM_PARTIAL:
        if pseudo:
            field[0] = checksum.fold16(checksum.add(diff, field[0]))
        return
    field[0] = checksum.replaced_by_diff(field[0], diff)
    if skb.ip_summed == CHECKSUM_COMPLETE and pseudo and not ipv6:
        skb.csum = ~checksum.sub(diff, skb.csum)


cdef void replace4(sk_buff *skb, uint16_t *field, uint32_t old, uint32_t new,
                   bint pseudo) noexcept nogil:
    if skb.ip_summed == CHECKSUM_PARTIAL:
        if pseudo:
            field[0] = checksum.fold16(checksum.add(checksum.sub(field[0], old), new))
        return
    field[0] = checksum.replaced4(field[0], old, new)
    if skb.ip_summed == CHECKSUM_COMPLETE and pseudo:
        skb.csum = ~checksum.add(checksum.sub(~skb.csum, old), new)


cdef int64_t replace_l4(sk_buff *skb, uint16_t *field, uint64_t old, uint64_t new,
                        uint64_t flags) noexcept nogil:
    cdef bint pseudo = (flags & PSEUDO_HDR) != 0
    cdef uint64_t size = flags & FIELD_MASK
    if size == 0:
        if old:
            return -EINVAL
        replace_by_diff(skb, field, <uint32_t> new, pseudo, (flags & IPV6) != 0)
    elif size == 2:
        replace4(skb, field, <uint16_t> old, <uint16_t> new, pseudo)
    elif size == 4:
        replace4(skb, field, <uint32_t> old, <uint32_t> new, pseudo)
    else:
        return -EINVAL
    return 0


cdef uint64_t l4_csum_replace(uint64_t ctx, uint64_t at, uint64_t old, uint64_t new,
                              uint64_t flags, run_ctx *run) noexcept nogil:
    """A UDP checksum of zero means none: MARK_MANGLED_0 leaves it, and never makes one."""
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef uint16_t *field = <uint16_t *> (skb.data + <uint32_t> at)
    cdef bint mangle = (flags & MARK_MANGLED_0) != 0
    cdef int64_t err
    if flags & ~<uint64_t> (FIELD_MASK | PSEUDO_HDR | MARK_MANGLED_0 | MARK_ENFORCE | IPV6):
        return fail(EINVAL)
    if field_at(skb, <uint32_t> at):
        return fail(EFAULT)
    if mangle and not flags & MARK_ENFORCE and field[0] == 0:
        return 0
    err = replace_l4(skb, field, old, new, flags)
    if not err and mangle and field[0] == 0:
        field[0] = MANGLED_0
    return <uint64_t> err


cdef uint64_t csum_update(uint64_t ctx, uint64_t csum, uint64_t r3, uint64_t r4, uint64_t r5,
                          run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    if skb.ip_summed != CHECKSUM_COMPLETE:
        return fail(ENOTSUPP)
    skb.csum = checksum.add(skb.csum, <uint32_t> csum)
    return skb.csum


cdef void level_up(sk_buff *skb) noexcept nogil:
    if skb.ip_summed == CHECKSUM_UNNECESSARY:
        if skb.csum_level < MAX_CSUM_LEVEL:
            skb.csum_level += 1
    elif skb.ip_summed == CHECKSUM_NONE:
        skb.ip_summed = CHECKSUM_UNNECESSARY
        skb.csum_level = 0


cdef void level_down(sk_buff *skb) noexcept nogil:
    if skb.ip_summed != CHECKSUM_UNNECESSARY:
        return
    if skb.csum_level == 0:
        skb.ip_summed = CHECKSUM_NONE
    else:
        skb.csum_level -= 1


cdef uint64_t csum_level(uint64_t ctx, uint64_t level, uint64_t r3, uint64_t r4, uint64_t r5,
                         run_ctx *run) noexcept nogil:
    cdef sk_buff *skb = <sk_buff *> ctx
    cdef bint checked = skb.ip_summed == CHECKSUM_UNNECESSARY
    if level == LEVEL_QUERY:
        return skb.csum_level if checked else fail(EACCES)
    if level == LEVEL_INC:
        level_up(skb)
    elif level == LEVEL_DEC:
        level_down(skb)
    elif level == LEVEL_RESET:
        if checked:
            skb.ip_summed = CHECKSUM_NONE
            skb.csum_level = 0
    else:
        return fail(EINVAL)
    return 0


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "csum_diff": <uint64_t> csum_diff,
        "l3_csum_replace": <uint64_t> l3_csum_replace,
        "l4_csum_replace": <uint64_t> l4_csum_replace,
        "csum_update": <uint64_t> csum_update,
        "csum_level": <uint64_t> csum_level,
    }
