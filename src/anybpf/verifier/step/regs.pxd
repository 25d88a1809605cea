# The C side of step/regs.py.
import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport ranges, tnum
from anybpf.verifier.consts cimport ADD_CONST, FP
from anybpf.verifier.env cimport Env
from anybpf.verifier.state cimport Frame, Reg, Slot, State, mark_unknown

@cython.locals(reg=Reg)
cpdef Reg read(Env env, int regno)
cpdef Reg write(Env env, int regno)
@cython.locals(reg=Reg)
cpdef Reg overwrite(Env env, int regno)
cpdef bint is_pointer(Reg reg) noexcept
cpdef bint is_zero(Reg reg) noexcept
cpdef bint is_constant(Reg reg, bint is32) noexcept
cpdef int width(Reg reg) noexcept
cpdef assign_id(Env env, Reg reg)
@cython.locals(found=list, frame=Frame, slot=Slot)
cpdef list every(State state)
@cython.locals(why=cython.int)
cpdef check_sane(Env env, Reg reg, str where)
cdef _insane(Env env, Reg reg, str where, int why)
