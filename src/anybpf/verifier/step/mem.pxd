# The C side of step/mem.py.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport consts, ranges, regtype, tnum
from anybpf.verifier.decoded cimport Decoded
from anybpf.verifier.env cimport Aux, Env
from anybpf.verifier.region cimport map_value, packet, stack
from anybpf.verifier.region.access cimport Access, make
from anybpf.verifier.state cimport Reg, mark_known_scalar, mark_pointer, mark_unknown
from anybpf.verifier.step cimport regs
from anybpf.verifier.walk cimport Walk

cpdef step_ldx(Walk walk, Decoded insn)
@cython.locals(env=Env, kind=cython.int)
cpdef load(Walk walk, Decoded insn, bint strict, str where)
@cython.locals(kind=cython.int)
cpdef step_st(Walk walk, Decoded insn)
cpdef step_stx(Walk walk, Decoded insn)
@cython.locals(env=Env, kind=cython.int)
cpdef store(Walk walk, Decoded insn, bint strict)
@cython.locals(aux=Aux)
cdef _remember_kind(Env env, int kind, bint mixed=*)
@cython.locals(env=Env, reg=Reg, size=cython.int, signed=cython.bint, what=Access)
cpdef access(Walk walk, Decoded insn, int regno, bint write, int value, bint strict=*)
cdef bint _into(Access what, int base) except -1
cpdef narrow(Reg reg, int size, bint signed)
@cython.locals(packet_pointer=cython.bint, total=cython.longlong, vv=uint64_t, vm=uint64_t)
cpdef check_alignment(Env env, Reg reg, long long off, int size, bint strict)
@cython.locals(env=Env, dst=Reg)
cpdef int step_ld(Walk walk, Decoded insn) except -1
@cython.locals(aux=Aux, direct=cython.bint)
cdef _load_map(Env env, Decoded insn, Reg dst)
