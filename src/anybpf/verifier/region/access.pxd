# The C side of region/access.py.
import cython

from anybpf cimport bits, uapi
from anybpf.proto cimport kinds
from anybpf.verifier.consts cimport MAX_OFFSET
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Env
from anybpf.verifier.numbers cimport S32_MIN
from anybpf.verifier.state cimport Reg
from anybpf.verifier.walk cimport Walk

@cython.final
cdef class Access:
    cdef public Walk walk
    cdef public Env env
    cdef public Decoded insn
    cdef public Reg reg, loads
    cdef public int regno, size, value
    cdef public long long off
    cdef public bint write, signed
    cpdef fill(self, Walk walk, Decoded insn, Reg reg, int regno, long long off, int size,
               bint write, int value, bint signed)

@cython.locals(made=Access)
cpdef Access make(Walk walk, Decoded insn, Reg reg, int regno, long long off, int size, bint write,
                  int value, bint signed=*)
cpdef bint inside(long long off, long long size, long long limit, bint zero_ok) noexcept
cpdef check_fixed(Env env, Reg reg, int regno, long long off, long long size, long long limit,
                  bint zero_ok, str more)
@cython.locals(low=cython.longlong)
cpdef check_region(Env env, Reg reg, int regno, long long off, long long size, long long limit,
                   bint zero_ok=*)
