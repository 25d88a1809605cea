"""Atomic instructions: sequentially consistent, and load-acquire, store-release (lib/atomic64.c)."""

from libc.stdint cimport uint8_t

from anybpf.core.decode cimport *

cdef extern from *:
    enum:
        SEQ "__ATOMIC_SEQ_CST"
        ACQUIRE "__ATOMIC_ACQUIRE"
        RELEASE "__ATOMIC_RELEASE"
    uint32_t add4 "__atomic_fetch_add"(uint32_t *p, uint32_t x, int order) nogil
    uint32_t or4 "__atomic_fetch_or"(uint32_t *p, uint32_t x, int order) nogil
    uint32_t and4 "__atomic_fetch_and"(uint32_t *p, uint32_t x, int order) nogil
    uint32_t xor4 "__atomic_fetch_xor"(uint32_t *p, uint32_t x, int order) nogil
    uint32_t xchg4 "__atomic_exchange_n"(uint32_t *p, uint32_t x, int order) nogil
    bint cas4 "__atomic_compare_exchange_n"(uint32_t *p, uint32_t *old, uint32_t x, bint weak,
                                            int good, int bad) nogil
    uint64_t add8 "__atomic_fetch_add"(uint64_t *p, uint64_t x, int order) nogil
    uint64_t or8 "__atomic_fetch_or"(uint64_t *p, uint64_t x, int order) nogil
    uint64_t and8 "__atomic_fetch_and"(uint64_t *p, uint64_t x, int order) nogil
    uint64_t xor8 "__atomic_fetch_xor"(uint64_t *p, uint64_t x, int order) nogil
    uint64_t xchg8 "__atomic_exchange_n"(uint64_t *p, uint64_t x, int order) nogil
    bint cas8 "__atomic_compare_exchange_n"(uint64_t *p, uint64_t *old, uint64_t x, bint weak,
                                            int good, int bad) nogil
    uint8_t load1 "__atomic_load_n"(uint8_t *p, int order) nogil
    uint16_t load2 "__atomic_load_n"(uint16_t *p, int order) nogil
    uint32_t load4 "__atomic_load_n"(uint32_t *p, int order) nogil
    uint64_t load8 "__atomic_load_n"(uint64_t *p, int order) nogil
    void store1 "__atomic_store_n"(uint8_t *p, uint8_t x, int order) nogil
    void store2 "__atomic_store_n"(uint16_t *p, uint16_t x, int order) nogil
    void store4 "__atomic_store_n"(uint32_t *p, uint32_t x, int order) nogil
    void store8 "__atomic_store_n"(uint64_t *p, uint64_t x, int order) nogil


cdef uint32_t atomic_size(uint16_t kind) noexcept nogil:
    if kind >= OP_STORE_REL1:
        return 1 << (kind - OP_STORE_REL1)
    if kind >= OP_LOAD_ACQ1:
        return 1 << (kind - OP_LOAD_ACQ1)
    if kind >= OP_XCHG4:
        return 8 if kind == OP_XCHG8 or kind == OP_CMPXCHG8 else 4
    return 8 if (kind - OP_ATOMIC_ADD4) & 4 else 4


cdef void modify4(const bpf_op *op, uint32_t *p, uint64_t *regs) noexcept nogil:
    cdef uint32_t x = <uint32_t> regs[op.src]
    cdef uint32_t old
    if op.op == OP_ATOMIC_ADD4:
        add4(p, x, SEQ)
    elif op.op == OP_ATOMIC_OR4:
        or4(p, x, SEQ)
    elif op.op == OP_ATOMIC_AND4:
        and4(p, x, SEQ)
    elif op.op == OP_ATOMIC_XOR4:
        xor4(p, x, SEQ)
    elif op.op == OP_FETCH_ADD4:
        regs[op.src] = add4(p, x, SEQ)
    elif op.op == OP_FETCH_OR4:
        regs[op.src] = or4(p, x, SEQ)
    elif op.op == OP_FETCH_AND4:
        regs[op.src] = and4(p, x, SEQ)
    elif op.op == OP_FETCH_XOR4:
        regs[op.src] = xor4(p, x, SEQ)
    elif op.op == OP_XCHG4:
        regs[op.src] = xchg4(p, x, SEQ)
    else:
        old = <uint32_t> regs[0]
        cas4(p, &old, x, False, SEQ, SEQ)
        regs[0] = old


cdef void modify8(const bpf_op *op, uint64_t *p, uint64_t *regs) noexcept nogil:
    cdef uint64_t x = regs[op.src]
    if op.op == OP_ATOMIC_ADD8:
        add8(p, x, SEQ)
    elif op.op == OP_ATOMIC_OR8:
        or8(p, x, SEQ)
    elif op.op == OP_ATOMIC_AND8:
        and8(p, x, SEQ)
    elif op.op == OP_ATOMIC_XOR8:
        xor8(p, x, SEQ)
    elif op.op == OP_FETCH_ADD8:
        regs[op.src] = add8(p, x, SEQ)
    elif op.op == OP_FETCH_OR8:
        regs[op.src] = or8(p, x, SEQ)
    elif op.op == OP_FETCH_AND8:
        regs[op.src] = and8(p, x, SEQ)
    elif op.op == OP_FETCH_XOR8:
        regs[op.src] = xor8(p, x, SEQ)
    elif op.op == OP_XCHG8:
        regs[op.src] = xchg8(p, x, SEQ)
    else:
        cas8(p, regs, x, False, SEQ, SEQ)


cdef void ordered(const bpf_op *op, uint64_t p, uint64_t *regs) noexcept nogil:
    """Load-acquire and store-release."""
    cdef uint64_t x = regs[op.src]
    if op.op == OP_LOAD_ACQ1:
        regs[op.dst] = load1(<uint8_t *> p, ACQUIRE)
    elif op.op == OP_LOAD_ACQ2:
        regs[op.dst] = load2(<uint16_t *> p, ACQUIRE)
    elif op.op == OP_LOAD_ACQ4:
        regs[op.dst] = load4(<uint32_t *> p, ACQUIRE)
    elif op.op == OP_LOAD_ACQ8:
        regs[op.dst] = load8(<uint64_t *> p, ACQUIRE)
    elif op.op == OP_STORE_REL1:
        store1(<uint8_t *> p, <uint8_t> x, RELEASE)
    elif op.op == OP_STORE_REL2:
        store2(<uint16_t *> p, <uint16_t> x, RELEASE)
    elif op.op == OP_STORE_REL4:
        store4(<uint32_t *> p, <uint32_t> x, RELEASE)
    else:
        store8(<uint64_t *> p, x, RELEASE)


cdef void do_atomic(const bpf_op *op, uint64_t addr, uint64_t *regs) noexcept nogil:
    if op.op >= OP_LOAD_ACQ1:
        ordered(op, addr, regs)
    elif atomic_size(op.op) == 4:
        modify4(op, <uint32_t *> addr, regs)
    else:
        modify8(op, <uint64_t *> addr, regs)
