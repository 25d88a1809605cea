# The C side of step/args.py: what every call of a helper needs.
import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport backtrack, regtype
from anybpf.verifier.backtrack cimport Wanted
from anybpf.verifier.consts cimport SLOT_BYTES, SPILL, ZERO
from anybpf.verifier.env cimport Env
from anybpf.verifier.region cimport ctx, map_value, packet, stack
from anybpf.verifier.region.access cimport check_region
from anybpf.verifier.state cimport Frame, Reg, Slot
from anybpf.verifier.step cimport mem, regs
from anybpf.verifier.walk cimport Walk

cdef class Call:
    cdef public Walk walk
    cdef public Env env
    cdef public object row, map, fills, dynptr_ids, percpu, mem_size, size_max, key
    cdef public Reg dynptr
    cdef public long long map_uid, ref
    cdef public int release, subprog
    cdef public bint raw
    cdef public tuple kptr

@cython.locals(env=Env, regno=cython.int, reg=Reg, kind=cython.longlong)
cpdef check(Call call, int number, object arg)
@cython.locals(wanted=cython.longlong, kind=cython.longlong)
cpdef check_kind(Env env, object helper, Reg reg, int regno, object arg, tuple exchanged=*)
@cython.locals(wanted=cython.longlong, release=cython.bint, fixed=cython.bint)
cpdef check_offset(Env env, Reg reg, int regno, object arg)
cpdef check_moved(Env env, Reg reg, int regno, bint release=*)
@cython.locals(env=Env, reg=Reg, base=cython.int)
cpdef memory(Call call, int regno, long long size, bint write, bint zero_ok, bint raw)
@cython.locals(number=cython.int, byte=cython.int, frame=Frame, slot=Slot, wanted=Wanted)
cdef _constant_key(Env env, Reg reg, long long size)
@cython.locals(count=cython.int)
cdef int _leading(Slot slot, int byte, int kind) noexcept
