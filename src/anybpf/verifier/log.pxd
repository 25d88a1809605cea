# The C side of log.py: only what is asked at every instruction.
from libc.stdint cimport uint64_t

cdef class Log:
    cdef public int level
    cdef public bint on, detailed
    cdef public list _parts, _ends
    cdef public object sink
    cdef public long long end, longest, insn_end, insn_width
    cdef public uint64_t scratched_regs, scratched_stack
    cpdef scratch_all(self)
