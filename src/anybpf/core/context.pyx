"""Context access: UAPI offsets to members of the native structs (net/core/filter.c).

A program sees `struct xdp_md` or `struct __sk_buff` at the address of our `xdp_buff` or `sk_buff`.
Every load and store there is looked up by its offset and answered from the member that the row
names. An offset without a row, a store to a read-only field, an odd size: refused.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from anybpf.core.memory cimport find_region
from anybpf.core.run_ctx cimport (
    CTX_NARROW,
    CTX_NARROW_WRITE,
    CTX_POINTER,
    CTX_READ,
    CTX_WRITE,
    REGION_CTX,
    ctx_rule,
    region,
)

READ, WRITE, NARROW = CTX_READ, CTX_WRITE, CTX_NARROW
POINTER, NARROW_WRITE = CTX_POINTER, CTX_NARROW_WRITE


cdef class ContextTable:
    """Native rules for the `size` bytes of a context.

    `rules`: tuples (offset, size, source offset, source size, flags), all in bytes; flags are
    READ, WRITE, NARROW, NARROW_WRITE, POINTER of this module. A source size of 0 reads as 0 and
    forgets what is stored.
    """

    def __cinit__(self, size, rules):
        self.c.size = size
        self.c.rules = <ctx_rule *> calloc(size + 1, sizeof(ctx_rule))
        if self.c.rules == NULL:
            raise MemoryError
        for offset, length, source, source_size, flags in rules:
            if not 0 <= offset < offset + length <= size:
                raise ValueError(f"context field at {offset} of {length} bytes in {size}")
            for at in range(offset, offset + length):
                self.c.rules[at].offset = offset
                self.c.rules[at].size = length
                self.c.rules[at].source = source
                self.c.rules[at].source_size = source_size
                self.c.rules[at].flags = flags

    def __dealloc__(self):
        free(self.c.rules)

    @property
    def size(self):
        """Bytes of the context that programs see."""
        return self.c.size

    @property
    def address(self):
        """Address of the native table, for regions of their own (REGION_CTX)."""
        return <uint64_t> &self.c


cdef inline bint power_of_two(uint32_t size) noexcept nogil:
    return size == 1 or size == 2 or size == 4 or size == 8


cdef bint fits(ctx_rule *rule, uint64_t off, uint32_t size, uint32_t narrow) noexcept nogil:
    """Whether an access of `size` bytes at `off` is one that the field takes."""
    cdef uint64_t delta = off - rule.offset
    if rule.size == 0 or off % size:
        return False
    if delta == 0 and size == rule.size:
        return True
    return (rule.flags & narrow) != 0 and delta + size <= rule.size


cdef uint64_t fetch(uint64_t addr, uint32_t size) noexcept nogil:
    """A little-endian number of up to 8 bytes."""
    cdef uint64_t value = 0
    memcpy(&value, <void *> addr, min(size, <uint32_t> 8))
    return value


cdef bint context_load(context_table *table, uint64_t base, uint64_t off, uint32_t size,
                       uint64_t *value) noexcept nogil:
    cdef ctx_rule *rule
    cdef uint64_t delta
    if off >= table.size or not power_of_two(size):
        return False
    rule = &table.rules[off]
    delta = off - rule.offset
    if not rule.flags & CTX_READ or not fits(rule, off, size, CTX_NARROW):
        return False
    if rule.flags & CTX_POINTER:
        value[0] = fetch(base + rule.source, 8)
        return delta == 0 and size == rule.size
    if delta >= rule.source_size:
        value[0] = 0
        return True
    value[0] = fetch(base + rule.source + delta, min(size, rule.source_size - <uint32_t> delta))
    return True


cdef bint context_store(context_table *table, uint64_t base, uint64_t off, uint32_t size,
                        uint64_t value) noexcept nogil:
    cdef ctx_rule *rule
    cdef uint64_t delta
    if off >= table.size or not power_of_two(size):
        return False
    rule = &table.rules[off]
    delta = off - rule.offset
    if not rule.flags & CTX_WRITE or not fits(rule, off, size, CTX_NARROW_WRITE):
        return False
    if delta < rule.source_size:
        memcpy(<void *> (base + rule.source + delta), &value,
               min(size, rule.source_size - <uint32_t> delta))
    return True


cdef context_table *context_at(run_ctx *run, uint64_t addr, uint64_t *base) noexcept nogil:
    cdef region *r
    if run.context != NULL and addr - run.ctx < run.context.size:
        base[0] = run.ctx
        return run.context
    r = find_region(run, addr)
    if r == NULL or not r.flags & REGION_CTX or r.object == NULL:
        return NULL
    base[0] = r.base
    return <context_table *> r.object
