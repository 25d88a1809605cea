"""The interpreter: every instruction of RFC 9669, checked or not (kernel/bpf/core.c).

One loop over dense operations (core.decode), compiled twice: with checks, where every access is
tested against the memory that the run may touch and every instruction costs budget, and without,
for verified programs. Calls of the program's own functions are frames here, not C frames; callbacks
and helpers that call back enter `execute` again.

What ends a checked run early is noted in the run_ctx (FAULT_*) and raised as Fault after it.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport memcpy, memset

from anybpf cimport bits
from anybpf.core.arguments cimport check_arguments, is_function
from anybpf.core.atomics cimport atomic_size, do_atomic
from anybpf.core.context cimport context_at, context_load, context_store, context_table
from anybpf.core.decode cimport *
from anybpf.core.division cimport sdiv32, sdiv64, smod32, smod64
from anybpf.core.kernel cimport Kernel
from anybpf.core.memory cimport KIND_PACKET, RegionTable, may_access
from anybpf.core.run_ctx cimport *
from anybpf.maps.arraymap cimport fd_array_slot
from anybpf.maps.bpf_map cimport bpf_map
from anybpf.maps.rcu cimport rcu_read_lock, rcu_read_unlock, release_retired

from anybpf.core.fault import to_fault

cdef extern from *:
    """
    #include <time.h>
    static inline uint64_t anybpf_now(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t anybpf_now() nogil
    uint64_t fetch_add "__atomic_fetch_add"(uint64_t *p, uint64_t x, int order) nogil
    int RELAXED "__ATOMIC_RELAXED"

#: instructions that a checked run may execute unless it is told otherwise
DEFAULT_BUDGET = 1 << 28

cdef enum:
    MAX_TAIL_CALLS = 33
    # What may_goto allows in one frame, as where a kernel counts (BPF_MAX_LOOPS). 6.18 on x86 stops a
    # frame after 250 ms instead, looking at the clock every 65535 times; a clock that stands still
    # cannot, and a count ends every run at the same place.
    MAX_LOOPS = 8388608
    HELPERS = 256

# The two builds of the loop.
cdef struct checked_mode:
    uint8_t unused

cdef struct unchecked_mode:
    uint16_t unused

ctypedef fused Mode:
    checked_mode
    unchecked_mode

# The exit that a packet load outside of the packet goes to.
cdef bpf_op LEAVE
memset(&LEAVE, 0, sizeof(bpf_op))
LEAVE.op = OP_EXIT

# What a caller wants back when its callee exits.
cdef struct frame:
    uint64_t r6
    uint64_t r7
    uint64_t r8
    uint64_t r9
    const bpf_op *back
    bpf_prog *prog
    uint64_t loops


# --- memory ---

cdef bint load_context(run_ctx *run, uint64_t addr, uint32_t size, uint64_t *value) noexcept nogil:
    cdef uint64_t base = 0
    cdef context_table *table = context_at(run, addr, &base)
    return table != NULL and context_load(table, base, addr - base, size, value)


cdef bint store_context(run_ctx *run, uint64_t addr, uint32_t size, uint64_t value) noexcept nogil:
    cdef uint64_t base = 0
    cdef context_table *table = context_at(run, addr, &base)
    return table != NULL and context_store(table, base, addr - base, size, value)


cdef inline bint through_rows(Mode mode, run_ctx *run, uint64_t addr, uint32_t size,
                              uint32_t need) noexcept nogil:
    """Whether the access is not one of plain memory: to the context, or (checked) forbidden."""
    if Mode is checked_mode:
        return not may_access(run, addr, size, need)
    else:
        return addr - run.ctx < run.context_size


cdef inline bint load(Mode mode, run_ctx *run, uint64_t addr, uint32_t size,
                      uint64_t *value) noexcept nogil:
    """Read `size` bytes, zero-extended; False: the program may not."""
    if through_rows(mode, run, addr, size, REGION_READ):
        return load_context(run, addr, size, value)
    value[0] = 0
    memcpy(value, <void *> addr, size)
    return True


cdef inline bint store(Mode mode, run_ctx *run, uint64_t addr, uint32_t size,
                       uint64_t value) noexcept nogil:
    if through_rows(mode, run, addr, size, REGION_WRITE):
        return store_context(run, addr, size, value)
    memcpy(<void *> addr, &value, size)
    return True


cdef inline uint32_t atomic_trouble(Mode mode, run_ctx *run, uint64_t addr, uint32_t size,
                                    uint32_t need) noexcept nogil:
    """FAULT_* if no atomic access may be made there; never to a context."""
    if Mode is checked_mode:
        if addr % size:
            return FAULT_ALIGNMENT
        if not may_access(run, addr, size, need):
            return FAULT_WRITE if need & REGION_WRITE else FAULT_READ
    return FAULT_NONE


cdef bint load_packet(run_ctx *run, int64_t offset, uint32_t size, uint64_t *value) noexcept nogil:
    """LD_ABS and LD_IND: big-endian bytes of the packet; False leaves the function with 0."""
    cdef uint32_t i
    if run.load_packet != NULL:
        return run.load_packet(run, offset, size, value) == 0
    if offset < 0 or <uint64_t> offset + size > run.packet.size:
        return False
    value[0] = 0
    for i in range(size):
        value[0] = (value[0] << 8) | (<uint8_t *> run.packet.base)[offset + i]
    return True


# --- calls ---

cdef inline uint64_t frame_top(run_ctx *run) noexcept nogil:
    """r10 of the newest frame, which is cleared: a run never sees what another left."""
    cdef uint8_t *top = run.stack + <uint64_t> run.depth * FRAME_STRIDE
    memset(top - FRAME_SIZE, 0, FRAME_SIZE)
    return <uint64_t> top


cdef bpf_prog *tail_target(run_ctx *run, uint64_t map_address, uint64_t index) noexcept nogil:
    """The program that a tail call goes to; NULL: the call falls through.

    Program arrays hold programs of one type; one of another type would take our context for its.
    """
    cdef bpf_prog *target
    if run.tail_calls >= MAX_TAIL_CALLS:
        return NULL
    target = <bpf_prog *> fd_array_slot(<bpf_map *> map_address, <uint32_t> index)
    return target if target != NULL and target.prog_type == run.prog.prog_type else NULL


cdef uint64_t call_checked(run_ctx *run, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
                           uint64_t r4, uint64_t r5) noexcept nogil:
    cdef checked_mode mode
    cdef bpf_func *f = <bpf_func *> func
    if run.fault:
        return 0
    if not is_function(run, func):
        fault_memory(run, FAULT_FUNCTION, func, 0)
        return 0
    mode.unused = 0
    return execute(mode, run, f.prog, f.start, r1, r2, r3, r4, r5)


cdef uint64_t call_unchecked(run_ctx *run, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
                             uint64_t r4, uint64_t r5) noexcept nogil:
    cdef unchecked_mode mode
    cdef bpf_func *f = <bpf_func *> func
    if run.fault:
        return 0
    mode.unused = 0
    return execute(mode, run, f.prog, f.start, r1, r2, r3, r4, r5)


cdef inline bint call_native(Mode mode, run_ctx *run, bpf_helper_t function,
                             uint64_t *regs) noexcept nogil:
    """Call C code with r1 .. r5; False: the run is over."""
    regs[0] = function(regs[1], regs[2], regs[3], regs[4], regs[5], run)
    if Mode is checked_mode:
        run.hit.size = 0            # the helper may have moved the packet or freed a record
    return run.fault == FAULT_NONE


cdef bint call_helper(Mode mode, run_ctx *run, uint64_t id, uint64_t *regs) noexcept nogil:
    """Call helper `id`; False: the run is over and run.fault says why."""
    cdef bpf_helper_t function = run.kernel.helpers[id] if id < HELPERS else NULL
    run.helper = <uint32_t> id
    if function == NULL:
        fault_memory(run, FAULT_UNKNOWN_HELPER, 0, 0)
        return False
    if Mode is checked_mode:
        if not check_arguments(run, <uint32_t> id, regs + 1):
            return False
    return call_native(mode, run, function, regs)


# --- the loop ---

cdef inline uint64_t execute(Mode mode, run_ctx *run, bpf_prog *entry, uint64_t start, uint64_t r1,
                             uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5) noexcept nogil:
    """Run from instruction `start` of `entry` until it exits: r0, or 0 with run.fault set."""
    cdef uint64_t regs[12]
    cdef frame frames[MAX_FRAMES]
    cdef bpf_prog *caller = run.prog
    cdef bpf_prog *prog = entry
    cdef bpf_prog *target
    cdef const bpf_op *pc = entry.ops + start
    cdef const bpf_op *op = pc
    cdef frame *saved
    cdef uint32_t bottom = run.depth
    cdef uint32_t fault = FAULT_NONE
    cdef uint32_t size = 0
    cdef uint64_t addr = 0
    cdef uint64_t loops = MAX_LOOPS
    cdef uint64_t left = run.budget
    cdef uint64_t a, b
    cdef uint64_t value = 0
    cdef uint32_t old4
    cdef uint16_t kind

    if bottom >= MAX_FRAMES:
        fault_memory(run, FAULT_STACK_DEPTH, 0, 0)
        return 0
    run.depth = bottom + 1
    run.prog = prog
    memset(regs, 0, sizeof(regs))
    regs[1] = r1
    regs[2] = r2
    regs[3] = r3
    regs[4] = r4
    regs[5] = r5
    regs[10] = frame_top(run)

    while True:
        op = pc
        if Mode is checked_mode:
            if left == 0:
                fault = FAULT_BUDGET
                break
            left -= 1
        pc = op + 1
        kind = op.op
        a = regs[op.dst]
        b = regs[op.src] + op.imm

        # 64-bit arithmetic
        if kind == OP_ADD64:
            regs[op.dst] = a + b
        elif kind == OP_SUB64:
            regs[op.dst] = a - b
        elif kind == OP_MUL64:
            regs[op.dst] = a * b
        elif kind == OP_DIV64:
            regs[op.dst] = a / b if b else 0
        elif kind == OP_OR64:
            regs[op.dst] = a | b
        elif kind == OP_AND64:
            regs[op.dst] = a & b
        elif kind == OP_LSH64:
            regs[op.dst] = a << (b & 63)
        elif kind == OP_RSH64:
            regs[op.dst] = a >> (b & 63)
        elif kind == OP_NEG64:
            regs[op.dst] = 0 - a
        elif kind == OP_MOD64:
            regs[op.dst] = a % b if b else a
        elif kind == OP_XOR64:
            regs[op.dst] = a ^ b
        elif kind == OP_MOV64:
            regs[op.dst] = b
        elif kind == OP_ARSH64:
            regs[op.dst] = <uint64_t> (<int64_t> a >> (b & 63))
        elif kind == OP_SDIV64:
            regs[op.dst] = sdiv64(a, b)
        elif kind == OP_SMOD64:
            regs[op.dst] = smod64(a, b)

        # 32-bit arithmetic: the upper half becomes zero
        elif kind == OP_ADD32:
            regs[op.dst] = <uint32_t> (a + b)
        elif kind == OP_SUB32:
            regs[op.dst] = <uint32_t> (a - b)
        elif kind == OP_MUL32:
            regs[op.dst] = <uint32_t> (a * b)
        elif kind == OP_DIV32:
            regs[op.dst] = <uint32_t> a / <uint32_t> b if <uint32_t> b else 0
        elif kind == OP_OR32:
            regs[op.dst] = <uint32_t> (a | b)
        elif kind == OP_AND32:
            regs[op.dst] = <uint32_t> (a & b)
        elif kind == OP_LSH32:
            regs[op.dst] = <uint32_t> a << (b & 31)
        elif kind == OP_RSH32:
            regs[op.dst] = <uint32_t> a >> (b & 31)
        elif kind == OP_NEG32:
            regs[op.dst] = <uint32_t> (0 - a)
        elif kind == OP_MOD32:
            regs[op.dst] = <uint32_t> a % <uint32_t> b if <uint32_t> b else <uint32_t> a
        elif kind == OP_XOR32:
            regs[op.dst] = <uint32_t> (a ^ b)
        elif kind == OP_MOV32:
            regs[op.dst] = <uint32_t> b
        elif kind == OP_ARSH32:
            regs[op.dst] = <uint32_t> (<int32_t> a >> (b & 31))
        elif kind == OP_SDIV32:
            regs[op.dst] = sdiv32(a, b)
        elif kind == OP_SMOD32:
            regs[op.dst] = smod32(a, b)

        # sign extension, byte order, 64-bit immediates
        elif kind == OP_SEXT8_64:
            regs[op.dst] = <uint64_t> bits.s8(b)
        elif kind == OP_SEXT16_64:
            regs[op.dst] = <uint64_t> bits.s16(b)
        elif kind == OP_SEXT32_64:
            regs[op.dst] = <uint64_t> bits.s32(b)
        elif kind == OP_SEXT8_32:
            regs[op.dst] = <uint32_t> bits.s8(b)
        elif kind == OP_SEXT16_32:
            regs[op.dst] = <uint32_t> bits.s16(b)
        elif kind == OP_LE16:
            regs[op.dst] = <uint16_t> a
        elif kind == OP_LE32:
            regs[op.dst] = <uint32_t> a
        elif kind == OP_BE16:
            regs[op.dst] = bits.bswap16(a)
        elif kind == OP_BE32:
            regs[op.dst] = bits.bswap32(a)
        elif kind == OP_BE64:
            regs[op.dst] = bits.bswap64(a)
        elif kind == OP_NOP:
            pass
        elif kind == OP_IMM64:
            regs[op.dst] = op.imm
            pc += 1

        # jumps
        elif kind == OP_JA:
            pc += op.off
        elif kind == OP_JEQ64:
            if a == b:
                pc += op.off
        elif kind == OP_JGT64:
            if a > b:
                pc += op.off
        elif kind == OP_JGE64:
            if a >= b:
                pc += op.off
        elif kind == OP_JSET64:
            if a & b:
                pc += op.off
        elif kind == OP_JNE64:
            if a != b:
                pc += op.off
        elif kind == OP_JSGT64:
            if <int64_t> a > <int64_t> b:
                pc += op.off
        elif kind == OP_JSGE64:
            if <int64_t> a >= <int64_t> b:
                pc += op.off
        elif kind == OP_JLT64:
            if a < b:
                pc += op.off
        elif kind == OP_JLE64:
            if a <= b:
                pc += op.off
        elif kind == OP_JSLT64:
            if <int64_t> a < <int64_t> b:
                pc += op.off
        elif kind == OP_JSLE64:
            if <int64_t> a <= <int64_t> b:
                pc += op.off
        elif kind == OP_JEQ32:
            if <uint32_t> a == <uint32_t> b:
                pc += op.off
        elif kind == OP_JGT32:
            if <uint32_t> a > <uint32_t> b:
                pc += op.off
        elif kind == OP_JGE32:
            if <uint32_t> a >= <uint32_t> b:
                pc += op.off
        elif kind == OP_JSET32:
            if <uint32_t> a & <uint32_t> b:
                pc += op.off
        elif kind == OP_JNE32:
            if <uint32_t> a != <uint32_t> b:
                pc += op.off
        elif kind == OP_JSGT32:
            if <int32_t> a > <int32_t> b:
                pc += op.off
        elif kind == OP_JSGE32:
            if <int32_t> a >= <int32_t> b:
                pc += op.off
        elif kind == OP_JLT32:
            if <uint32_t> a < <uint32_t> b:
                pc += op.off
        elif kind == OP_JLE32:
            if <uint32_t> a <= <uint32_t> b:
                pc += op.off
        elif kind == OP_JSLT32:
            if <int32_t> a < <int32_t> b:
                pc += op.off
        elif kind == OP_JSLE32:
            if <int32_t> a <= <int32_t> b:
                pc += op.off
        elif kind == OP_MAY_GOTO:
            if loops == 0:
                pc += op.off
            else:
                loops -= 1

        # loads and stores
        elif kind == OP_LDX1:
            addr, size = b + <uint64_t> <int64_t> op.off, 1
            if not load(mode, run, addr, 1, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = value
        elif kind == OP_LDX2:
            addr, size = b + <uint64_t> <int64_t> op.off, 2
            if not load(mode, run, addr, 2, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = value
        elif kind == OP_LDX4:
            addr, size = b + <uint64_t> <int64_t> op.off, 4
            if not load(mode, run, addr, 4, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = value
        elif kind == OP_LDX8:
            addr, size = b + <uint64_t> <int64_t> op.off, 8
            if not load(mode, run, addr, 8, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = value
        elif kind == OP_LDXS1:
            addr, size = b + <uint64_t> <int64_t> op.off, 1
            if not load(mode, run, addr, 1, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = <uint64_t> bits.s8(value)
        elif kind == OP_LDXS2:
            addr, size = b + <uint64_t> <int64_t> op.off, 2
            if not load(mode, run, addr, 2, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = <uint64_t> bits.s16(value)
        elif kind == OP_LDXS4:
            addr, size = b + <uint64_t> <int64_t> op.off, 4
            if not load(mode, run, addr, 4, &value):
                fault = FAULT_READ
                break
            regs[op.dst] = <uint64_t> bits.s32(value)
        elif kind == OP_STX1:
            addr, size = a + <uint64_t> <int64_t> op.off, 1
            if not store(mode, run, addr, 1, b):
                fault = FAULT_WRITE
                break
        elif kind == OP_STX2:
            addr, size = a + <uint64_t> <int64_t> op.off, 2
            if not store(mode, run, addr, 2, b):
                fault = FAULT_WRITE
                break
        elif kind == OP_STX4:
            addr, size = a + <uint64_t> <int64_t> op.off, 4
            if not store(mode, run, addr, 4, b):
                fault = FAULT_WRITE
                break
        elif kind == OP_STX8:
            addr, size = a + <uint64_t> <int64_t> op.off, 8
            if not store(mode, run, addr, 8, b):
                fault = FAULT_WRITE
                break

        # calls
        elif kind == OP_CALL_HELPER:
            run.insn = op - prog.ops
            run.budget = left
            if not call_helper(mode, run, op.imm, regs):
                break
            left = run.budget
        elif kind == OP_CALL_NATIVE:
            run.insn = op - prog.ops
            run.budget = left
            if op.imm == 0:
                fault = FAULT_UNKNOWN_HELPER
                break
            if not call_native(mode, run, <bpf_helper_t> <void *> op.imm, regs):
                break
            left = run.budget
        elif kind == OP_CALL_LOCAL:
            if run.depth >= MAX_FRAMES:
                fault = FAULT_STACK_DEPTH
                break
            saved = &frames[run.depth]
            saved.r6, saved.r7, saved.r8, saved.r9 = regs[6], regs[7], regs[8], regs[9]
            saved.back = pc
            saved.prog = prog
            saved.loops = loops
            loops = MAX_LOOPS
            run.depth += 1
            regs[10] = frame_top(run)
            pc += op.off
        elif kind == OP_EXIT:
            run.depth -= 1
            if run.depth == bottom:
                run.prog = caller
                run.budget = left
                return regs[0]
            saved = &frames[run.depth]
            regs[6], regs[7], regs[8], regs[9] = saved.r6, saved.r7, saved.r8, saved.r9
            pc = saved.back
            loops = saved.loops
            prog = saved.prog
            run.prog = prog
            regs[10] = <uint64_t> (run.stack + <uint64_t> run.depth * FRAME_STRIDE)
        elif kind == OP_TAIL_CALL:
            if Mode is checked_mode:
                run.insn = op - prog.ops
                run.helper = 12
                if not check_arguments(run, 12, &regs[1]):
                    break
            target = tail_target(run, regs[2], regs[3])
            if target != NULL:
                run.tail_calls += 1
                prog = target
                run.prog = target
                loops = MAX_LOOPS
                pc = target.ops
        elif kind == OP_CALL_X:
            run.insn = op - prog.ops
            run.budget = left
            run.helper = 0
            if a < HELPERS:
                if not call_helper(mode, run, a, regs):
                    break
            else:
                regs[0] = run.callback(run, a, regs[1], regs[2], regs[3], regs[4], regs[5])
                if run.fault:
                    break
            left = run.budget
        elif kind == OP_PACKET1 or kind == OP_PACKET2 or kind == OP_PACKET4:
            size = 1 << (kind - OP_PACKET1)
            if not load_packet(run, <int32_t> b, size, &regs[0]):
                regs[0] = 0
                pc = &LEAVE
        elif kind >= OP_ATOMIC_ADD4 and kind <= OP_STORE_REL8:
            addr = (b if OP_LOAD_ACQ1 <= kind <= OP_LOAD_ACQ8 else a) + <uint64_t> <int64_t> op.off
            fault = atomic(mode, run, op, addr, regs, &size)
            if fault:
                break
        else:
            fault = FAULT_BAD_INSN
            break

    # only a fault leads here; the innermost call has recorded it already if it was not this one
    if run.fault == FAULT_NONE:
        run.insn = op - prog.ops
        run.helper = 0
        fault_memory(run, fault, addr, size)
    run.depth = bottom
    run.prog = caller
    return 0


# --- atomics ---

cdef uint32_t atomic(Mode mode, run_ctx *run, const bpf_op *op, uint64_t addr, uint64_t *regs,
                     uint32_t *width) noexcept nogil:
    """One atomic operation at addr: FAULT_NONE, or why not; *width is its size in bytes."""
    cdef uint32_t size = atomic_size(op.op)
    cdef uint32_t need = REGION_READ | REGION_WRITE
    cdef uint32_t trouble
    width[0] = size
    if OP_LOAD_ACQ1 <= op.op <= OP_LOAD_ACQ8:
        need = REGION_READ
    elif OP_STORE_REL1 <= op.op <= OP_STORE_REL8:
        need = REGION_WRITE
    trouble = atomic_trouble(mode, run, addr, size, need)
    if trouble:
        return trouble
    do_atomic(op, addr, regs)
    return FAULT_NONE


# --- from outside ---

cdef int prepare(RunCtx run, Prog prog, bint checked, uint64_t budget) except -1:
    """Bind `run` to `prog`: memory, context rows, mode. Pair with finish()."""
    cdef Kernel kernel = run.kernel
    if run.c.callback != NULL:
        raise ValueError("this RunCtx is in use by another run")
    kernel.begin_run()          # from here on nothing in the snapshot is freed
    try:
        run.table = kernel.snapshot()
    except:
        kernel.end_run()
        raise
    run.prog = prog
    run.c.table = &(<RegionTable> run.table).c
    run.c.prog = &prog.image.c
    run.c.context = prog.image.c.context
    run.c.context_size = run.c.context.size if run.c.context != NULL else 0
    run.c.callback = call_checked if checked else call_unchecked
    run.c.checked = checked
    run.c.budget = budget
    run.c.fault = FAULT_NONE
    run.c.fault_prog = NULL
    run.c.hit.size = 0
    if run.c.packet.flags == 0:
        run.c.packet.flags = REGION_READ | REGION_WRITE
        run.c.packet.kind = KIND_PACKET
    rcu_read_lock()
    return 0


cdef uint64_t run_entry(run_ctx *run, uint64_t ctx, uint64_t r2) noexcept nogil:
    cdef checked_mode checked
    cdef unchecked_mode unchecked
    checked.unused = unchecked.unused = 0
    if run.checked:
        return execute(checked, run, run.prog, 0, ctx, r2, 0, 0, 0)
    return execute(unchecked, run, run.prog, 0, ctx, r2, 0, 0, 0)


cdef uint64_t run_prog(run_ctx *run, uint64_t ctx, uint64_t r2) noexcept nogil:
    cdef bpf_prog *prog = run.prog
    cdef uint64_t begin, r0
    run.ctx = ctx
    run.tail_calls = 0
    run.depth = 0
    run.hit.size = 0
    if not run.kernel.stats_enabled:
        return run_entry(run, ctx, r2)
    begin = anybpf_now()
    r0 = run_entry(run, ctx, r2)
    fetch_add(&prog.run_time_ns, anybpf_now() - begin, RELAXED)
    fetch_add(&prog.run_cnt, 1, RELAXED)
    return r0


cdef void abandon(RunCtx run):
    cdef Kernel kernel = run.kernel
    rcu_read_unlock()
    release_retired()
    kernel.end_run()
    forget(run)


cdef int finish(RunCtx run) except -1:
    error = None
    if run.c.fault != FAULT_NONE:
        error = run.exception if run.exception is not None else to_fault(run)
    abandon(run)
    if error is not None:
        raise error
    return 0


cdef void forget(RunCtx run):
    """Let go of what the run was bound to."""
    run.c.callback = NULL
    run.c.table = NULL
    run.c.prog = run.c.fault_prog = NULL
    run.c.context = NULL
    run.exception = None
    run.table = run.prog = None


def run(Prog prog, RunCtx run, uint64_t ctx_address, *, bint checked=True,
        uint64_t budget=DEFAULT_BUDGET, uint64_t r2=0) -> int:
    """Run `prog` with r1 = ctx_address; returns r0 as an unsigned 64-bit number.

    A checked run may execute `budget` instructions and raises Fault when it does what a program
    may not; whatever a helper written in Python raised comes out as it was. The context is plain
    memory only if the caller made it a region; with a context table its rows decide. Without
    `checked` the program must be a verified one: it can do anything to this process.
    """
    cdef uint64_t r0
    prepare(run, prog, checked, budget)
    with nogil:
        r0 = run_prog(&run.c, ctx_address, r2)
    finish(run)
    return r0
