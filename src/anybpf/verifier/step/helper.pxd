# The C side of step/helper.py: what every call of a helper needs.
import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport backtrack, ranges, regtype
from anybpf.verifier.env cimport Aux, Env
from anybpf.verifier.region cimport stack
from anybpf.verifier.state cimport Reg, State, mark_not_init, mark_pointer, mark_unknown
from anybpf.verifier.step cimport args, regs
from anybpf.verifier.step.args cimport Call
from anybpf.verifier.walk cimport Walk

@cython.locals(env=Env, made=Call, number=cython.int)
cpdef call(Walk walk, object insn)
@cython.locals(aux=Aux)
cdef _row(Env env, object insn)
@cython.locals(state=State)
cdef _check_sections(Env env, object row)
@cython.locals(env=Env, index=Reg)
cdef _record_map(Call made)
cdef _check_map(Call made)
@cython.locals(env=Env, r0=Reg, base=cython.longlong, flags=cython.longlong)
cdef _result(Call made)
cdef bint _never_null(Call made) except -1
@cython.locals(env=Env, r0=Reg)
cdef _acquire(Call made)
