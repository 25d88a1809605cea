"""Context access: UAPI offsets to members of the native structs (net/core/filter.c).

A program sees `struct xdp_md` or `struct __sk_buff` at the address of our `xdp_buff` or `sk_buff`.
Every load and store there is looked up by its offset and answered from the member that the row
names. An offset without a row, a store to a read-only field, an odd size: refused.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from anybpf.core.memory cimport find_region
from anybpf.core.run_ctx cimport REGION_CTX, ctx_rule, region
from anybpf.proto import contexts, kinds

SIZES = (1, 2, 4, 8)


cdef class ContextTable:
    """Native rules for the first `size` bytes of a context.

    `rules`: for every offset that may be accessed a tuple (loads, stores, source, left, pointer):
    the access sizes OR-ed together, the offset in the native struct, the bytes of the member from
    there on, and whether the member is a pointer.
    """

    def __cinit__(self, size, rules):
        cdef ctx_rule *rule
        self.c.size = size
        self.c.rules = <ctx_rule *> calloc(size + 1, sizeof(ctx_rule))
        if self.c.rules == NULL:
            raise MemoryError
        for offset, (loads, stores, source, left, pointer) in rules.items():
            if not 0 <= offset < size:
                raise ValueError(f"context offset {offset} of {size}")
            rule = &self.c.rules[offset]
            rule.loads, rule.stores, rule.source = loads, stores, source
            rule.left, rule.pointer = min(left, 8), bool(pointer)

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


def _rule(view, layout, offset, attach_type):
    """The rule for one offset, or None if nothing may be done there."""
    loads = [(size, contexts.load(view, offset, size, attach_type)) for size in SIZES]
    stores = [(size, contexts.store(view, offset, size, attach_type)) for size in SIZES]
    field = next((f for _, f in loads + stores if f is not None), None)
    if field is None or field.source not in layout:
        return None
    source, size = layout[field.source]
    delta = offset - field.offset
    pointer = field.kind != kinds.SCALAR_VALUE
    if delta >= size:
        return None
    return (sum(n for n, f in loads if f), sum(n for n, f in stores if f), source + delta,
            8 if pointer else size - delta, pointer)


def compile_context(view, layout, attach_type=0):
    """The ContextTable of a `proto.contexts.View` whose members lie as `layout` says.

    `layout` maps sources such as "xdp_buff.data" to (offset, size) in bytes. Fields without a
    place in it cannot be accessed.
    """
    size = contexts.CONTEXTS[view.context].size
    rules = {off: _rule(view, layout, off, attach_type) for off in range(size)}
    return ContextTable(size, {off: rule for off, rule in rules.items() if rule is not None})


cdef inline ctx_rule *rule_at(context_table *table, uint64_t off) noexcept nogil:
    return &table.rules[off if off < table.size else table.size]


cdef bint context_load(context_table *table, uint64_t base, uint64_t off, uint32_t size,
                       uint64_t *value) noexcept nogil:
    cdef ctx_rule *rule = rule_at(table, off)
    cdef uint32_t n = 8 if rule.pointer else min(size, <uint32_t> rule.left)
    if not rule.loads & size:
        return False
    value[0] = 0
    memcpy(value, <void *> (base + rule.source), n)
    return True


cdef bint context_store(context_table *table, uint64_t base, uint64_t off, uint32_t size,
                        uint64_t value) noexcept nogil:
    cdef ctx_rule *rule = rule_at(table, off)
    if not rule.stores & size:
        return False
    memcpy(<void *> (base + rule.source), &value, min(size, <uint32_t> rule.left))
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
