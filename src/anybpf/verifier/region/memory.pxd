# The C side of region/memory.py.
import cython

from anybpf.verifier.env cimport Env
from anybpf.verifier.region.access cimport Access, check_region
from anybpf.verifier.state cimport Reg, mark_unknown

@cython.locals(env=Env, reg=Reg)
cpdef access(Access what)
cpdef access_arena(Access what)
