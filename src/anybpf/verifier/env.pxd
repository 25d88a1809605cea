# The C side of env.py.
from libc.stdint cimport uint64_t

import cython

from anybpf.verifier.log cimport Log
from anybpf.verifier.state cimport Frame, Hop, Reg, State

cdef class Subprog:
    cdef public int start, end, stack_depth, fastcall_off
    cdef public object name, args
    cdef public bint is_global, called, verified, changes_packet, might_sleep
    cdef public bint has_tail_call, has_ld_abs, unreliable
    cdef public bint is_async_callback, is_callback, keep_fastcall_stack
    cdef public int type_id
    cdef public list postorder

cdef class Aux:
    cdef public bint prune_point, jump_point, force_checkpoint, calls_callback, seen, is_iter_next
    cdef public unsigned int live_before
    cdef public int scc, kind, loop_inline, alu_state, fastcall_spills
    cdef public bint fastcall_pattern
    cdef public object map, helper, symbol
    cdef public long long map_offset

cdef class Env:
    cdef public object facts, options, prog, view, _line, _started
    cdef public object digest, target, extends
    cdef public list insns, aux, decoded, subprogs, used_maps, relocated
    cdef public dict _lines, buffer_reach, kfuncs, arg_refs
    cdef public Log log
    cdef public bint bpf_capable, perfmon, print_state, throws, has_loops
    cdef public int exception_callback
    cdef public State state
    cdef public Reg scratch
    cdef public Hop hop
    cdef public int idx, prev_idx, prog_type
    cdef public bint strict_alignment
    cdef public long long insn_limit, processed, jumps, ids, last_jumps, last_processed
    cdef public long long max_states_per_insn, total_states, peak_states
    cdef public long long explored_states, free_states, backedges, max_ctx_offset
    cpdef Reg reg(self, int number)
    cpdef long long new_id(self) except -1
    cpdef update_peak(self)
