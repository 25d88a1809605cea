# The C side of state.py.
from libc.stdint cimport uint64_t

import cython

from anybpf cimport uapi
from anybpf.proto cimport kinds
from anybpf.verifier cimport consts, ranges
from anybpf.verifier.ranges cimport Range

cdef class Reg(Range):
    cdef public int kind, packet_range, frameno, subprog, btf_id, slot_state, slot_depth
    cdef public long long off, id, ref, map_uid, mem_size, dynptr_id
    cdef public object map, btf
    cdef public bint precise

cpdef void copy_reg(Reg dst, Reg src) noexcept
@cython.locals(made=Reg)
cpdef Reg clone_reg(Reg src)
cpdef mark_not_init(Reg reg)
cdef void _forget_pointer(Reg reg) noexcept
cpdef mark_unknown(Reg reg, bint precise=*)
cpdef mark_known(Reg reg, uint64_t value)
cpdef mark_known_scalar(Reg reg, uint64_t value)
cpdef mark_pointer(Reg reg, int kind)
cpdef bint same_value(Reg a, Reg b) noexcept
cpdef bint same_pointer(Reg a, Reg b) noexcept

@cython.final
cdef class Slot:
    cdef public uint64_t types
    cdef public Reg reg
    cpdef int kind(self, int index) noexcept
    cpdef void put(self, int index, int kind) noexcept
    @cython.locals(mask=uint64_t)
    cpdef void put_many(self, int index, int count, int kind) noexcept
    @cython.locals(mask=uint64_t)
    cpdef bint all_are(self, int index, int count, int kind) noexcept
    cpdef bint spilled(self) noexcept
    @cython.locals(kind=cython.int)
    cpdef bint special(self) noexcept
    cpdef bint scalar_spilled(self) noexcept
    cpdef bint whole_scalar(self) noexcept
    cpdef void fill(self, int kind) noexcept
    cpdef void scrub(self, int index) noexcept
    @cython.locals(i=cython.int)
    cpdef void scrub_all(self) noexcept
    @cython.locals(made=Slot)
    cpdef Slot copy(self)

@cython.final
cdef class Frame:
    cdef public list regs, stack
    cdef public int callsite, frameno, subprog, async_entries, callback_depth
    cdef public bint in_callback, in_async_callback
    cdef public object callback_returns
    @cython.locals(made=Frame)
    cpdef Frame copy(self)
    cpdef grow(self, int size)

cpdef Slot copy_slot(Slot slot)

@cython.final
cdef class Hop:
    cdef public int idx, prev, count, frame, slot
    cdef public Hop before
    cdef public tuple linked
    cdef public bint dst_on_stack, src_on_stack

@cython.locals(made=Hop)
cpdef Hop new_hop(int idx, int prev, Hop before)

cdef class State:
    cdef public list frames, refs
    cdef public long long lock_id, irq_id
    cdef public int locks, rcu_locks, preempt_locks
    cdef public object lock_owner
    cdef public bint sleepable, speculative, cleaned
    cdef public State parent, equal_state
    cdef public int branches, insn_idx, first_insn_idx, last_insn_idx
    cdef public int dfs_depth, callback_unroll_depth, may_goto_depth
    cdef public Hop history
    @cython.locals(made=State)
    cpdef State copy(self)
    cpdef Frame innermost(self)
    @cython.locals(inner=Frame)
    cpdef int insn_of(self, int frameno) except -2

cpdef copy_state(State dst, State src)
cpdef Frame copy_frame(Frame frame)
