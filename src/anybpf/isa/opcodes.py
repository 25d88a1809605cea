"""What opcodes exist and how their parts are written (kernel/bpf/core.c, public_insntable).

One table for each part of an opcode; the disassemblers, the assembler and the checks read them.
"""

from __future__ import annotations

from anybpf import uapi

#: bits of the operand -> the registers' letter
REG_LETTER = {uapi.BPF_ALU: "w", uapi.BPF_JMP32: "w", uapi.BPF_ALU64: "r", uapi.BPF_JMP: "r"}

#: two-operand arithmetic -> its operator
ALU_SYMBOLS = {
    uapi.BPF_ADD: "+=",
    uapi.BPF_SUB: "-=",
    uapi.BPF_MUL: "*=",
    uapi.BPF_DIV: "/=",
    uapi.BPF_OR: "|=",
    uapi.BPF_AND: "&=",
    uapi.BPF_LSH: "<<=",
    uapi.BPF_RSH: ">>=",
    uapi.BPF_MOD: "%=",
    uapi.BPF_XOR: "^=",
    uapi.BPF_MOV: "=",
    uapi.BPF_ARSH: "s>>=",
}
#: division and remainder with `off` 1
SIGNED_ALU_SYMBOLS = {uapi.BPF_DIV: "s/=", uapi.BPF_MOD: "s%="}
SHIFTS = frozenset({uapi.BPF_LSH, uapi.BPF_RSH, uapi.BPF_ARSH})
DIVISIONS = frozenset(SIGNED_ALU_SYMBOLS)

JMP_SYMBOLS = {
    uapi.BPF_JEQ: "==",
    uapi.BPF_JGT: ">",
    uapi.BPF_JGE: ">=",
    uapi.BPF_JSET: "&",
    uapi.BPF_JNE: "!=",
    uapi.BPF_JSGT: "s>",
    uapi.BPF_JSGE: "s>=",
    uapi.BPF_JLT: "<",
    uapi.BPF_JLE: "<=",
    uapi.BPF_JSLT: "s<",
    uapi.BPF_JSLE: "s<=",
}

SIZE_NAMES = {uapi.BPF_B: "u8", uapi.BPF_H: "u16", uapi.BPF_W: "u32", uapi.BPF_DW: "u64"}
#: sign-extending loads; there is none of 64 bits
SIGNED_SIZE_NAMES = {uapi.BPF_B: "s8", uapi.BPF_H: "s16", uapi.BPF_W: "s32"}
#: `off` of a sign-extending move -> the type it is written with
MOVSX_NAMES = {8: "s8", 16: "s16", 32: "s32"}
#: `off` of a 64-bit move that casts between address spaces
ADDR_SPACE_CAST = 1
#: `off` of a 64-bit move that makes a per-CPU address; the kernel's rewrites emit it
ADDR_PERCPU = -1

#: class and direction of a byte swap -> its name; bits follow
END_NAMES = {
    uapi.BPF_ALU | uapi.BPF_END | uapi.BPF_TO_LE: "le",
    uapi.BPF_ALU | uapi.BPF_END | uapi.BPF_TO_BE: "be",
    uapi.BPF_ALU64 | uapi.BPF_END | uapi.BPF_TO_LE: "bswap",
}
END_BITS = (16, 32, 64)

#: `imm` of an atomic that returns nothing -> its operator
ATOMIC_SYMBOLS = {
    uapi.BPF_ADD: "+=",
    uapi.BPF_OR: "|=",
    uapi.BPF_AND: "&=",
    uapi.BPF_XOR: "^=",
}
#: `imm` of an atomic that returns the old value -> its name
FETCH_NAMES = {
    uapi.BPF_ADD | uapi.BPF_FETCH: "add",
    uapi.BPF_OR | uapi.BPF_FETCH: "or",
    uapi.BPF_AND | uapi.BPF_FETCH: "and",
    uapi.BPF_XOR | uapi.BPF_FETCH: "xor",
}
#: atomics that read, change and write: words and double words only
ATOMIC_RMW = frozenset({*ATOMIC_SYMBOLS, *FETCH_NAMES, uapi.BPF_XCHG, uapi.BPF_CMPXCHG})
#: every `imm` that an atomic may have
ATOMICS = ATOMIC_RMW | {uapi.BPF_LOAD_ACQ, uapi.BPF_STORE_REL}

#: a store that fences speculation; the kernel's rewrites emit it
NOSPEC = uapi.BPF_ST | 0xC0
CALLX = uapi.BPF_JMP | uapi.BPF_CALL | uapi.BPF_X
MAY_GOTO = uapi.BPF_JMP | uapi.BPF_JCOND


def _table() -> frozenset[int]:
    """All opcodes that a program may bring to the kernel."""
    codes = {uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW, MAY_GOTO, *END_NAMES}
    codes |= {c | uapi.BPF_NEG for c in (uapi.BPF_ALU, uapi.BPF_ALU64)}
    for source in (uapi.BPF_K, uapi.BPF_X):
        codes |= {c | op | source for c in (uapi.BPF_ALU, uapi.BPF_ALU64) for op in ALU_SYMBOLS}
        codes |= {c | op | source for c in (uapi.BPF_JMP, uapi.BPF_JMP32) for op in JMP_SYMBOLS}
    codes |= {uapi.BPF_JMP | op for op in (uapi.BPF_JA, uapi.BPF_CALL, uapi.BPF_EXIT)}
    codes |= {uapi.BPF_JMP32 | uapi.BPF_JA}
    for size in SIZE_NAMES:
        classes = (uapi.BPF_LDX, uapi.BPF_ST, uapi.BPF_STX)
        codes |= {c | uapi.BPF_MEM | size for c in classes}
        codes |= {uapi.BPF_STX | uapi.BPF_ATOMIC | size}
    codes |= {uapi.BPF_LDX | uapi.BPF_MEMSX | size for size in SIGNED_SIZE_NAMES}
    for size in (uapi.BPF_B, uapi.BPF_H, uapi.BPF_W):
        codes |= {uapi.BPF_LD | mode | size for mode in (uapi.BPF_ABS, uapi.BPF_IND)}
    return frozenset(codes)


OPCODES = _table()
