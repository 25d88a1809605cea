# The C side of region/packet.py.
import cython

from anybpf.verifier cimport regtype
from anybpf.verifier.env cimport Env
from anybpf.verifier.region.access cimport Access, check_fixed
from anybpf.verifier.state cimport Reg, mark_unknown
from anybpf.verifier.step cimport regs

cpdef bint may_write(Env env) except -1
cpdef access(Access what)
@cython.locals(reg=Reg)
cpdef forget(Env env)
cpdef check(Env env, Reg reg, int regno, long long off, long long size, bint zero_ok=*)
