# The C side of region/ctx.py.
import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport regtype
from anybpf.verifier.env cimport Env
from anybpf.verifier.region.access cimport Access
from anybpf.verifier.state cimport Reg, mark_pointer, mark_unknown

cpdef check_unmoved(Env env, Reg reg, int regno, bint fixed_ok=*)
@cython.locals(env=Env)
cpdef access(Access what)
@cython.locals(env=Env)
cdef _field(Access what)
@cython.locals(kind=cython.int)
cdef _load(Env env, Reg reg, object field)
