# The C side of explore.py.
import cython

from anybpf.verifier cimport backtrack, consts
from anybpf.verifier.env cimport Aux, Env
from anybpf.verifier.step.dispatch cimport step
from anybpf.verifier.walk cimport Pending, Walk

@cython.locals(env=Env, prev=cython.int, aux=Aux, outcome=cython.int)
cpdef run(Walk walk)
@cython.locals(env=Env, outcome=cython.int)
cdef int _one(Walk walk, int idx, bint jump_point) except -1
cdef _count(Env env)
@cython.locals(env=Env, back=Pending)
cdef bint _next_path(Walk walk) except -1
