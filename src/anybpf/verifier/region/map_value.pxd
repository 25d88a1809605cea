# The C side of region/map_value.py.
import cython

from anybpf cimport uapi
from anybpf.verifier.env cimport Env
from anybpf.verifier.region.access cimport Access, check_region
from anybpf.verifier.state cimport Reg, mark_known_scalar, mark_unknown

cpdef map_of(Reg reg)
cpdef access_key(Access what)
@cython.locals(env=Env, reg=Reg)
cpdef access(Access what)
cpdef check_flags(Env env, Reg reg, long long off, long long size, bint write)
cpdef check(Env env, Reg reg, int regno, long long off, long long size, bint zero_ok=*,
            bint direct=*)
cdef _load(Access what, Reg into)
