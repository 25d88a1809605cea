# The C side of region/packet.py.
from anybpf.verifier.env cimport Env
from anybpf.verifier.region.access cimport Access, check_fixed
from anybpf.verifier.state cimport Reg, mark_unknown

cpdef bint may_write(Env env) except -1
cpdef access(Access what)
cpdef check(Env env, Reg reg, int regno, long long off, long long size, bint zero_ok=*)
