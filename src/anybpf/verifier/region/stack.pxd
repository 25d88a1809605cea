# The C side of region/stack.py.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport backtrack, fastcall
from anybpf.verifier.consts cimport (
    DYNPTR, INVALID, MAX_OFFSET, MAX_STACK, MISC, SLOT_BYTES, SPILL, ZERO)
from anybpf.verifier.env cimport Env, Subprog
from anybpf.verifier.region.access cimport Access
from anybpf.verifier.state cimport Frame, Reg, Slot, copy_reg, mark_known_scalar, mark_unknown
from anybpf.verifier.step cimport regs
from anybpf.verifier.walk cimport Walk

cpdef Frame frame_of(Env env, Reg reg)
@cython.locals(one=uint64_t)
cdef uint64_t _bit(int number) noexcept
cpdef access(Access what)
@cython.locals(low=cython.longlong, high=cython.longlong, frame=Frame, subprog=Subprog,
               depth=cython.longlong)
cpdef check_bounds(Env env, Reg reg, int regno, long long off, long long size, bint write)
@cython.locals(env=Env, size=cython.int, frame=Frame, number=cython.int, slot=Slot)
cdef _write_fixed(Access what, long long off)
@cython.locals(slot=Slot)
cdef _destroy(Walk walk, Frame frame, int number)
@cython.locals(env=Env, size=cython.int, whole=cython.bint, reg=Reg, fits=cython.bint)
cdef bint _spill(Access what, Frame frame, Slot slot, long long off) except -1
@cython.locals(env=Env)
cdef bint _spill_pointer(Access what, Frame frame, Slot slot, Reg reg) except -1
@cython.locals(i=cython.int, kind=cython.int)
cpdef save(Slot slot, Reg reg, int size)
cdef int _first_byte(long long off, int size) noexcept
cdef bint _writes_zero(Access what) except -1
@cython.locals(kind=cython.int)
cdef _write_data(Access what, Slot slot, long long off)
@cython.locals(env=Env, frame=Frame, number=cython.int, slot=Slot, restored=cython.bint)
cdef _read_fixed(Access what, long long off)
@cython.locals(size=cython.int)
cdef int _spill_size(Slot slot) noexcept
@cython.locals(env=Env, size=cython.int, into=Reg, spilled=cython.int)
cdef bint _fill(Access what, Slot slot, long long off) except -1
@cython.locals(first=cython.int)
cdef bint _fill_part(Access what, Slot slot, long long off, Reg into) except -1
@cython.locals(i=cython.int, kind=cython.int)
cdef _check_bytes(Env env, Slot slot, long long off, int size, bint spills)
cdef _loaded_data(Access what, bint zero)
@cython.locals(env=Env, frame=Frame, low=cython.longlong, high=cython.longlong, at=cython.longlong,
               number=cython.int, byte=cython.int)
cpdef bint check_initialized(Walk walk, Reg reg, int regno, long long off, long long size,
                             bint zero_ok, bint write, bint raw=*) except -1
@cython.locals(kind=cython.int)
cdef bint _check_byte(Slot slot, int byte, bint write) except -1
@cython.locals(reg=Reg, i=cython.int)
cpdef forget_bytes(Walk walk, int regno, long long size)
@cython.locals(env=Env, frame=Frame, number=cython.int, slot=Slot)
cpdef overwrite(Walk walk, Reg reg, long long off, int size)
