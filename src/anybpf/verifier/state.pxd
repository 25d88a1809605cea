# The C side of state.py: registers, slots and frames are C structs; a State stays a Python object.
import cython

from anybpf.verifier cimport ranges
from anybpf.verifier.ranges cimport Range

cdef class Reg(Range):
    cdef public int kind, packet_range, frameno, subprog, btf_id, slot_state, slot_depth
    cdef public long long off, id, ref, map_uid, mem_size, dynptr_id
    cdef public object map, btf
    cdef public bint precise

cpdef void copy_reg(Reg dst, Reg src) noexcept
@cython.locals(made=Reg)
cpdef Reg clone_reg(Reg src)
cpdef mark_not_init(Reg reg)
cdef void _forget_pointer(Reg reg) noexcept
cpdef mark_unknown(Reg reg, bint precise=*)
cpdef bint same_value(Reg a, Reg b) noexcept
cpdef bint same_pointer(Reg a, Reg b) noexcept

cdef class Slot:
    cdef public bytearray types
    cdef public Reg reg
    @cython.locals(i=cython.int)
    cpdef fill(self, int kind)
    @cython.locals(made=Slot)
    cpdef Slot copy(self)

cdef class Frame:
    cdef public list regs, stack
    cdef public int callsite, frameno, subprog, async_entries, callback_depth
    cdef public bint in_callback, in_async_callback
    cdef public object callback_returns
    @cython.locals(made=Frame)
    cpdef Frame copy(self)
