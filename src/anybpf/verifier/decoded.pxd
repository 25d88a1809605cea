# The C side of decoded.py.
from libc.stdint cimport uint64_t

from anybpf cimport uapi

cdef class Decoded:
    cdef public object raw
    cdef public int code, dst, src, off, cls, op, mode, size_bytes, next, jump
    cdef public long long imm
    cdef public bint uses_reg, is_ld_imm64, is_pseudo_call, checked

cpdef uint64_t imm_u64(Decoded insn) noexcept
