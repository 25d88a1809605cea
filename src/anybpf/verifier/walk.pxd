# The C side of walk.py.
import cython

from anybpf.verifier cimport consts
from anybpf.verifier.env cimport Env
from anybpf.verifier.livestack cimport LiveStack
from anybpf.verifier.state cimport State, copy_state
from anybpf.verifier.states cimport Explored, unlink

cdef class Pending:
    cdef public State state
    cdef public int idx, prev
    cdef public long long log_end

cdef class Walk:
    cdef public Env env
    cdef public LiveStack live
    cdef public Explored explored
    cdef public list pending
    @cython.locals(back=Pending)
    cpdef forget(self)
    @cython.locals(env=Env, made=State)
    cpdef State fork(self, int idx, int prev, int too_many=*, bint speculative=*)
