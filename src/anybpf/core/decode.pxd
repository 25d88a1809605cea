# The engine's operations: bpf_op.op. X and K forms are one operation (see run_ctx.pxd).
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport bpf_op

cdef enum:
    # the order of the first 16 of each block is that of the instruction's upper four bits
    OP_ADD64 = 0, OP_SUB64, OP_MUL64, OP_DIV64, OP_OR64, OP_AND64, OP_LSH64, OP_RSH64
    OP_NEG64, OP_MOD64, OP_XOR64, OP_MOV64, OP_ARSH64, OP_SDIV64, OP_SMOD64
    OP_ADD32 = 16, OP_SUB32, OP_MUL32, OP_DIV32, OP_OR32, OP_AND32, OP_LSH32, OP_RSH32
    OP_NEG32, OP_MOD32, OP_XOR32, OP_MOV32, OP_ARSH32, OP_SDIV32, OP_SMOD32
    OP_JA = 32, OP_JEQ64, OP_JGT64, OP_JGE64, OP_JSET64, OP_JNE64, OP_JSGT64, OP_JSGE64
    OP_UNUSED0, OP_UNUSED1, OP_JLT64, OP_JLE64, OP_JSLT64, OP_JSLE64, OP_MAY_GOTO
    OP_UNUSED2 = 48, OP_JEQ32, OP_JGT32, OP_JGE32, OP_JSET32, OP_JNE32, OP_JSGT32, OP_JSGE32
    OP_UNUSED3, OP_UNUSED4, OP_JLT32, OP_JLE32, OP_JSLT32, OP_JSLE32
    OP_LDX1 = 64, OP_LDX2, OP_LDX4, OP_LDX8, OP_LDXS1, OP_LDXS2, OP_LDXS4
    OP_STX1, OP_STX2, OP_STX4, OP_STX8
    OP_IMM64, OP_SEXT8_64, OP_SEXT16_64, OP_SEXT32_64, OP_SEXT8_32, OP_SEXT16_32
    OP_LE16, OP_LE32, OP_BE16, OP_BE32, OP_BE64, OP_NOP
    OP_ATOMIC_ADD4, OP_ATOMIC_OR4, OP_ATOMIC_AND4, OP_ATOMIC_XOR4
    OP_ATOMIC_ADD8, OP_ATOMIC_OR8, OP_ATOMIC_AND8, OP_ATOMIC_XOR8
    OP_FETCH_ADD4, OP_FETCH_OR4, OP_FETCH_AND4, OP_FETCH_XOR4
    OP_FETCH_ADD8, OP_FETCH_OR8, OP_FETCH_AND8, OP_FETCH_XOR8
    OP_XCHG4, OP_XCHG8, OP_CMPXCHG4, OP_CMPXCHG8
    OP_LOAD_ACQ1, OP_LOAD_ACQ2, OP_LOAD_ACQ4, OP_LOAD_ACQ8
    OP_STORE_REL1, OP_STORE_REL2, OP_STORE_REL4, OP_STORE_REL8
    OP_PACKET1, OP_PACKET2, OP_PACKET4
    OP_CALL_HELPER, OP_CALL_NATIVE, OP_CALL_LOCAL, OP_CALL_X, OP_TAIL_CALL, OP_EXIT
    OP_BAD

# Decodes n instruction slots to n + 1 operations; the last is OP_BAD. What is no instruction
# becomes OP_BAD: it faults when it is reached. ld_imm64 with a pseudo source keeps imm 0:
# core.prog fills in the address.
cdef void decode(const uint8_t *code, uint32_t n, bpf_op *ops) noexcept nogil
