# The C side of step/dispatch.py.
import cython

from anybpf cimport uapi
from anybpf.verifier cimport consts
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Env
from anybpf.verifier.walk cimport Walk

@cython.locals(cls=cython.int)
cpdef int step(Walk walk, Decoded insn) except -1
@cython.locals(env=Env)
cdef int _jump(Walk walk, Decoded insn) except -1
@cython.locals(env=Env)
cdef int _call(Walk walk, Decoded insn) except -1
