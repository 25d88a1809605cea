"""Instruction slots to the engine's dense operations (kernel/bpf/core.c).

Decoding never fails: whatever is no instruction becomes OP_BAD, and so does a jump out of the
program, so that the interpreter can run any bytes at all.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t
from libc.string cimport memcpy, memset

from anybpf cimport uapi
from anybpf.core.run_ctx cimport ZERO_REG

#: kernel-internal register numbers begin here; r10 is the frame pointer
cdef enum:
    FRAME_REG = 10

#: one instruction slot, taken apart
cdef struct slot_t:
    uint32_t code
    uint32_t dst
    uint32_t src
    int32_t off
    int32_t imm


cdef slot_t take(const uint8_t *code) noexcept nogil:
    cdef slot_t s
    cdef int16_t off
    s.code = code[0]
    s.dst = code[1] & 15
    s.src = code[1] >> 4
    memcpy(&off, code + 2, 2)
    s.off = off
    memcpy(&s.imm, code + 4, 4)
    return s


cdef inline uint32_t log_size(uint32_t code) noexcept nogil:
    """0 .. 3 for accesses of 1, 2, 4, 8 bytes."""
    cdef uint32_t size = code & 0x18
    return 2 if size == uapi.BPF_W else 1 if size == uapi.BPF_H else 0 if size == uapi.BPF_B else 3


cdef void operand(slot_t *s, bpf_op *op) noexcept nogil:
    """The second operand: a register, or an immediate as ZERO_REG + imm."""
    if s.code & uapi.BPF_X:
        op.src = <uint8_t> s.src
    else:
        op.imm = <uint64_t> <int64_t> s.imm


cdef uint16_t extension(uint32_t wide, int32_t bits) noexcept nogil:
    """The sign-extending move from `bits`; OP_BAD where there is none."""
    if bits == 8:
        return OP_SEXT8_64 if wide else OP_SEXT8_32
    if bits == 16:
        return OP_SEXT16_64 if wide else OP_SEXT16_32
    return OP_SEXT32_64 if wide and bits == 32 else OP_BAD


cdef uint16_t move(slot_t *s, uint32_t wide) noexcept nogil:
    """A move: plain, sign-extending, or (off 1 and an imm) an address-space cast."""
    if s.off == 0:
        return OP_MOV64 if wide else OP_MOV32
    if not s.code & uapi.BPF_X:
        return OP_BAD
    if wide and s.off == uapi.BPF_ADDR_SPACE_CAST:
        return OP_MOV64
    return extension(wide, s.off)


cdef uint16_t swap(slot_t *s, uint32_t wide) noexcept nogil:
    """Byte order: to little, to big endian, or (in the 64-bit class) an unconditional swap."""
    cdef bint to_big = wide or (s.code & uapi.BPF_TO_BE) != 0
    if s.off or (wide and s.code & uapi.BPF_TO_BE):
        return OP_BAD
    if s.imm == 16:
        return OP_BE16 if to_big else OP_LE16
    if s.imm == 32:
        return OP_BE32 if to_big else OP_LE32
    if s.imm == 64:
        return OP_BE64 if to_big else OP_NOP
    return OP_BAD


cdef uint16_t divide(slot_t *s, uint32_t wide) noexcept nogil:
    """Division and remainder: off 1 makes them signed."""
    cdef bint quotient = (s.code & 0xF0) == uapi.BPF_DIV
    cdef uint16_t base = OP_ADD64 if wide else OP_ADD32
    if s.off == 1:
        return base + (OP_SDIV64 if quotient else OP_SMOD64)
    if s.off:
        return OP_BAD
    return base + (OP_DIV64 if quotient else OP_MOD64)


cdef void decode_alu(slot_t *s, bpf_op *op) noexcept nogil:
    cdef uint32_t wide = (s.code & 7) == uapi.BPF_ALU64
    cdef uint32_t kind = s.code & 0xF0
    if s.dst >= FRAME_REG or s.src > FRAME_REG:
        return
    if kind == uapi.BPF_END:
        op.op = swap(s, wide)
        return
    operand(s, op)
    if kind == uapi.BPF_MOV:
        op.op = move(s, wide)
    elif kind == uapi.BPF_DIV or kind == uapi.BPF_MOD:
        op.op = divide(s, wide)
    elif kind < uapi.BPF_END and s.off == 0:
        op.op = (OP_ADD64 if wide else OP_ADD32) + (kind >> 4)


cdef bint inside(int64_t target, uint32_t n) noexcept nogil:
    return 0 <= target < n


cdef void decode_call(slot_t *s, uint32_t at, uint32_t n, bpf_op *op) noexcept nogil:
    if s.code & uapi.BPF_X:
        op.op = OP_CALL_X if s.dst <= FRAME_REG else OP_BAD
    elif s.src == 0:
        op.imm = <uint32_t> s.imm
        op.op = OP_TAIL_CALL if s.imm == uapi.BPF_FUNC_tail_call else OP_CALL_HELPER
    elif s.src == uapi.BPF_PSEUDO_CALL and inside(<int64_t> at + 1 + s.imm, n):
        op.off = s.imm
        op.op = OP_CALL_LOCAL
    elif s.src == uapi.BPF_PSEUDO_KFUNC_CALL:
        op.op = OP_CALL_NATIVE


cdef void decode_jump(slot_t *s, uint32_t at, uint32_t n, bpf_op *op) noexcept nogil:
    cdef uint32_t kind = s.code & 0xF0
    cdef bint narrow = (s.code & 7) == uapi.BPF_JMP32
    if kind == uapi.BPF_CALL and not narrow:
        decode_call(s, at, n, op)
        return
    if kind == uapi.BPF_EXIT:
        op.op = OP_BAD if narrow or s.code & uapi.BPF_X else OP_EXIT
        return
    op.off = s.imm if kind == uapi.BPF_JA and narrow else s.off
    if s.dst > FRAME_REG or s.src > FRAME_REG or kind > uapi.BPF_JCOND:
        return
    if not inside(<int64_t> at + 1 + op.off, n):
        return
    if kind == uapi.BPF_JA:
        op.op = OP_BAD if s.code & uapi.BPF_X else OP_JA
    elif kind == uapi.BPF_JCOND:
        op.op = OP_BAD if narrow or s.src or s.code & uapi.BPF_X else OP_MAY_GOTO
    elif kind != uapi.BPF_CALL:
        operand(s, op)
        op.op = (OP_UNUSED2 if narrow else OP_JA) + (kind >> 4)


cdef void decode_load(slot_t *s, bpf_op *op) noexcept nogil:
    """LDX: plain and sign-extending loads."""
    cdef uint32_t log = log_size(s.code)
    cdef uint32_t mode = s.code & 0xE0
    if s.dst >= FRAME_REG or s.src > FRAME_REG:
        return
    op.src = <uint8_t> s.src
    op.off = s.off
    if mode == uapi.BPF_MEM:
        op.op = OP_LDX1 + log
    elif mode == uapi.BPF_MEMSX and log < 3:
        op.op = OP_LDXS1 + log


cdef uint16_t atomic(int32_t imm, uint32_t log) noexcept nogil:
    """The atomic operation `imm` on 1 << log bytes; OP_BAD where there is none."""
    cdef uint32_t wide = log - 2
    cdef uint16_t base
    if imm == uapi.BPF_LOAD_ACQ:
        return OP_LOAD_ACQ1 + log
    if imm == uapi.BPF_STORE_REL:
        return OP_STORE_REL1 + log
    if log < 2:
        return OP_BAD
    if imm == uapi.BPF_XCHG:
        return OP_XCHG4 + wide
    if imm == uapi.BPF_CMPXCHG:
        return OP_CMPXCHG4 + wide
    base = (OP_FETCH_ADD4 if imm & uapi.BPF_FETCH else OP_ATOMIC_ADD4) + 4 * wide
    imm &= ~uapi.BPF_FETCH
    if imm == uapi.BPF_ADD:
        return base
    if imm == uapi.BPF_OR:
        return base + 1
    if imm == uapi.BPF_AND:
        return base + 2
    return base + 3 if imm == uapi.BPF_XOR else OP_BAD


cdef void decode_store(slot_t *s, bpf_op *op) noexcept nogil:
    """ST and STX: a register or an immediate to memory; atomics."""
    cdef uint32_t log = log_size(s.code)
    cdef uint32_t mode = s.code & 0xE0
    cdef bint from_reg = (s.code & 7) == uapi.BPF_STX
    if s.dst > FRAME_REG or s.src > FRAME_REG:
        return
    op.off = s.off
    if s.code == (uapi.BPF_ST | uapi.BPF_ATOMIC):
        op.op = OP_NOP              # BPF_NOSPEC, a barrier that the verifier puts in
        return
    if from_reg:
        op.src = <uint8_t> s.src
    else:
        op.imm = <uint64_t> <int64_t> s.imm
    if mode == uapi.BPF_MEM:
        op.op = OP_STX1 + log
    elif mode == uapi.BPF_ATOMIC and from_reg:
        op.op = atomic(s.imm, log)
        if writes_register(op.op, s):
            op.op = OP_BAD


cdef bint writes_register(uint16_t op, slot_t *s) noexcept nogil:
    """Whether an atomic would overwrite the frame pointer."""
    if OP_LOAD_ACQ1 <= op <= OP_LOAD_ACQ8:
        return s.dst == FRAME_REG
    return OP_FETCH_ADD4 <= op <= OP_XCHG8 and s.src == FRAME_REG


cdef void decode_ld(slot_t *s, const uint8_t *code, uint32_t left, bpf_op *op) noexcept nogil:
    """LD: the two-slot 64-bit immediate and the legacy packet loads."""
    cdef slot_t high
    cdef uint32_t mode = s.code & 0xE0
    cdef uint32_t log = log_size(s.code)
    if s.code == (uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW) and left > 1 and s.dst < FRAME_REG:
        high = take(code + 8)
        op.op = OP_BAD if high.code else OP_IMM64
        op.imm = 0 if s.src else (<uint64_t> <uint32_t> high.imm << 32) | <uint32_t> s.imm
    elif (mode == uapi.BPF_ABS or mode == uapi.BPF_IND) and log < 3 and s.src <= FRAME_REG:
        op.op = OP_PACKET1 + log
        op.dst = 0
        op.imm = <uint64_t> <int64_t> s.imm
        if mode == uapi.BPF_IND:
            op.src = <uint8_t> s.src


cdef void decode(const uint8_t *code, uint32_t n, bpf_op *ops) noexcept nogil:
    cdef slot_t s
    cdef uint32_t i, kind
    cdef bpf_op *op
    for i in range(n):
        s = take(code + 8 * i)
        op = &ops[i]
        memset(op, 0, sizeof(bpf_op))
        op.op = OP_BAD
        op.dst = <uint8_t> (s.dst if s.dst <= FRAME_REG else 0)
        op.src = ZERO_REG
        kind = s.code & 7
        if kind == uapi.BPF_ALU or kind == uapi.BPF_ALU64:
            decode_alu(&s, op)
        elif kind == uapi.BPF_JMP or kind == uapi.BPF_JMP32:
            decode_jump(&s, i, n, op)
        elif kind == uapi.BPF_LDX:
            decode_load(&s, op)
        elif kind == uapi.BPF_ST or kind == uapi.BPF_STX:
            decode_store(&s, op)
        else:
            decode_ld(&s, code + 8 * i, n - i, op)
    memset(&ops[n], 0, sizeof(bpf_op))
    ops[n].op = OP_BAD
