"""Helper arguments in checked runs, tested by the rows of proto.helpers (kernel/bpf/verifier.c).

The verifier proves before the run what is tested here during it: that a map argument is a map,
that memory has the size that the helper will touch, that a callback is a function. Helpers may
then trust their arguments in checked runs as in verified ones.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from anybpf.core.memory cimport (
    KIND_MAP,
    KIND_RINGBUF,
    find_region,
    in_stack,
    may_access,
)
from anybpf.core.run_ctx cimport (
    REGION_READ,
    REGION_WRITE,
    bpf_func,
    fault_argument,
    region,
)
from anybpf.maps.bpf_map cimport bpf_map

from anybpf import uapi as uapi_numbers
from anybpf.proto import helpers, kinds

cdef enum:
    MAX_SIZE = 536870912        # BPF_MAX_VAR_SIZ: no size argument may be larger
    MAX_STR = 65536

#: how each kind of argument is tested; kinds that are not here are not
CHECKS = {
    kinds.ARG_CONST_MAP_PTR: ARG_CHECK_MAP,
    kinds.ARG_PTR_TO_MAP_KEY: ARG_CHECK_KEY,
    kinds.ARG_PTR_TO_MAP_VALUE: ARG_CHECK_VALUE,
    kinds.ARG_PTR_TO_MEM: ARG_CHECK_MEM,
    kinds.ARG_CONST_SIZE: ARG_CHECK_SIZE,
    kinds.ARG_CONST_SIZE_OR_ZERO: ARG_CHECK_SIZE,
    kinds.ARG_PTR_TO_CTX: ARG_CHECK_CTX,
    kinds.ARG_PTR_TO_SPIN_LOCK: ARG_CHECK_FIXED,
    kinds.ARG_PTR_TO_TIMER: ARG_CHECK_FIXED,
    kinds.ARG_KPTR_XCHG_DEST: ARG_CHECK_FIXED,
    kinds.ARG_PTR_TO_DYNPTR: ARG_CHECK_FIXED,
    kinds.ARG_PTR_TO_FUNC: ARG_CHECK_FUNC,
    kinds.ARG_PTR_TO_STACK: ARG_CHECK_STACK,
    kinds.ARG_PTR_TO_CONST_STR: ARG_CHECK_STR,
    kinds.ARG_PTR_TO_RINGBUF_MEM: ARG_CHECK_RECORD,
    kinds.ARG_PTR_TO_SOCK_COMMON: ARG_CHECK_OBJECT,
    kinds.ARG_PTR_TO_SOCKET: ARG_CHECK_OBJECT,
    kinds.ARG_PTR_TO_BTF_ID: ARG_CHECK_OBJECT,
    kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON: ARG_CHECK_OBJECT,
    kinds.ARG_PTR_TO_PERCPU_BTF_ID: ARG_CHECK_OBJECT,
}

#: helpers that take only maps of these types (check_map_func_compatibility), by helper name
MAP_TYPES = {
    "tail_call": "PROG_ARRAY",
    "perf_event_read": "PERF_EVENT_ARRAY",
    "perf_event_read_value": "PERF_EVENT_ARRAY",
    "perf_event_output": "PERF_EVENT_ARRAY",
    "skb_output": "PERF_EVENT_ARRAY",
    "xdp_output": "PERF_EVENT_ARRAY",
    "get_stackid": "STACK_TRACE",
    "skb_under_cgroup": "CGROUP_ARRAY",
    "current_task_under_cgroup": "CGROUP_ARRAY",
    "redirect_map": "DEVMAP DEVMAP_HASH CPUMAP XSKMAP",
    "sk_redirect_map": "SOCKMAP",
    "msg_redirect_map": "SOCKMAP",
    "sock_map_update": "SOCKMAP",
    "sk_redirect_hash": "SOCKHASH",
    "msg_redirect_hash": "SOCKHASH",
    "sock_hash_update": "SOCKHASH",
    "get_local_storage": "CGROUP_STORAGE PERCPU_CGROUP_STORAGE",
    "sk_select_reuseport": "REUSEPORT_SOCKARRAY SOCKMAP SOCKHASH",
    "map_push_elem": "QUEUE STACK BLOOM_FILTER",
    "map_peek_elem": "QUEUE STACK BLOOM_FILTER",
    "map_pop_elem": "QUEUE STACK",
    "map_lookup_percpu_elem": "PERCPU_ARRAY PERCPU_HASH LRU_PERCPU_HASH",
    "sk_storage_get": "SK_STORAGE",
    "sk_storage_delete": "SK_STORAGE",
    "inode_storage_get": "INODE_STORAGE",
    "inode_storage_delete": "INODE_STORAGE",
    "task_storage_get": "TASK_STORAGE",
    "task_storage_delete": "TASK_STORAGE",
    "cgrp_storage_get": "CGRP_STORAGE",
    "cgrp_storage_delete": "CGRP_STORAGE",
    "ringbuf_output": "RINGBUF",
    "ringbuf_reserve": "RINGBUF",
    "ringbuf_query": "RINGBUF",
    "ringbuf_reserve_dynptr": "RINGBUF",
    "user_ringbuf_drain": "USER_RINGBUF",
    "for_each_map_elem": "HASH PERCPU_HASH LRU_HASH LRU_PERCPU_HASH ARRAY PERCPU_ARRAY",
    "map_update_elem": "HASH PERCPU_HASH LRU_HASH LRU_PERCPU_HASH ARRAY PERCPU_ARRAY LPM_TRIE"
                       " SOCKMAP SOCKHASH",
    "map_delete_elem": "HASH PERCPU_HASH LRU_HASH LRU_PERCPU_HASH ARRAY PERCPU_ARRAY LPM_TRIE"
                       " SOCKMAP SOCKHASH",
    "map_lookup_elem": "HASH PERCPU_HASH LRU_HASH LRU_PERCPU_HASH ARRAY PERCPU_ARRAY LPM_TRIE"
                       " ARRAY_OF_MAPS HASH_OF_MAPS DEVMAP DEVMAP_HASH XSKMAP SOCKMAP SOCKHASH",
}

#: bytes of what these kinds point to (struct bpf_spin_lock, bpf_timer, a pointer, bpf_dynptr)
SIZES = {
    kinds.ARG_PTR_TO_SPIN_LOCK: 4,
    kinds.ARG_PTR_TO_TIMER: 16,
    kinds.ARG_KPTR_XCHG_DEST: 8,
    kinds.ARG_PTR_TO_DYNPTR: 16,
}
ALWAYS_WRITTEN = frozenset(SIZES)


def _need(kind):
    """REGION_* flags that the memory behind an argument must have."""
    if kinds.base(kind) in ALWAYS_WRITTEN:
        return REGION_READ | REGION_WRITE
    if not kind & kinds.MEM_WRITE:
        return REGION_READ
    return REGION_WRITE if kind & kinds.MEM_UNINIT else REGION_READ | REGION_WRITE


def _check(kind):
    if kind & kinds.MEM_FIXED_SIZE:
        return ARG_CHECK_FIXED
    return CHECKS.get(kinds.base(kind), ARG_CHECK_NONE)


def _nullable(kind):
    return bool(kind & kinds.PTR_MAYBE_NULL) or kind == kinds.ARG_CONST_SIZE_OR_ZERO


def _types(helper):
    """A bit for each map type that the helper takes."""
    names = MAP_TYPES.get(helper.name, "").split()
    return sum(1 << getattr(uapi_numbers, f"BPF_MAP_TYPE_{name}") for name in names)


cdef int compile_arguments(helper_args *table) except -1:
    cdef helper_args *row
    memset(table, 0, 256 * sizeof(helper_args))
    for helper in helpers.HELPERS:
        row = &table[helper.id]
        row.map_types = _types(helper)
        for i, arg in enumerate(helper.args):
            row.checks[i] = _check(arg.kind)
            row.need[i] = _need(arg.kind)
            row.nullable[i] = _nullable(arg.kind)
            row.sizes[i] = arg.size or SIZES.get(kinds.base(arg.kind), 0)
    return 0


cdef bint is_function(run_ctx *run, uint64_t func) noexcept nogil:
    cdef uint64_t off = func - <uint64_t> run.prog.funcs
    return (off < <uint64_t> run.prog.n_funcs * sizeof(bpf_func)
            and off % sizeof(bpf_func) == 0)


cdef bint is_map(run_ctx *run, uint64_t addr, uint64_t types) noexcept nogil:
    """Whether addr is a map of one of these types (a bit mask; 0: any)."""
    cdef region *r = find_region(run, addr)
    cdef bpf_map *map = <bpf_map *> addr
    if r == NULL or r.kind != KIND_MAP or r.base != addr:
        return False
    return types == 0 or (types >> map.map_type) & 1 != 0


cdef bint starts_region(run_ctx *run, uint64_t addr, int kind) noexcept nogil:
    """Whether addr is the first byte of a region (of this kind; -1: of any)."""
    cdef region *r = find_region(run, addr)
    return r != NULL and r.base == addr and (kind < 0 or r.kind == <uint32_t> kind)


cdef bint is_string(run_ctx *run, uint64_t addr) noexcept nogil:
    """Whether a NUL comes before the end of the readable memory at addr."""
    cdef uint32_t i
    for i in range(<uint32_t> MAX_STR):
        if not may_access(run, addr + i, 1, REGION_READ):
            return False
        if (<const char *> addr)[i] == 0:
            return True
    return False


cdef bint is_memory(run_ctx *run, uint64_t addr, uint64_t size, uint32_t need,
                    bint nullable) noexcept nogil:
    """Whether a helper may touch `size` bytes; none at all are nowhere wrong."""
    if size == 0:
        return True
    return not (nullable and addr == 0) and may_access(run, addr, size, need)


cdef uint64_t wanted(helper_args *row, uint32_t i, uint64_t *r, const bpf_map *map) noexcept nogil:
    """The bytes that memory argument i must have."""
    cdef uint8_t check = row.checks[i]
    if check == ARG_CHECK_MEM:
        return r[i + 1] if i < 4 else 0
    if check == ARG_CHECK_FIXED:
        return row.sizes[i]
    if map == NULL:
        return 1
    return map.key_size if check == ARG_CHECK_KEY else map.value_size


cdef bint good(run_ctx *run, helper_args *row, uint32_t i, uint64_t *r,
               const bpf_map *map) noexcept nogil:
    """Whether argument i is what its row asks for."""
    cdef uint8_t check = row.checks[i]
    if check == ARG_CHECK_SIZE:
        return r[i] < MAX_SIZE and (r[i] != 0 or row.nullable[i])
    if check == ARG_CHECK_MAP:
        return is_map(run, r[i], row.map_types)
    if check == ARG_CHECK_MEM:
        return is_memory(run, r[i], wanted(row, i, r, map), row.need[i], row.nullable[i])
    if r[i] == 0 and row.nullable[i]:
        return True
    if check == ARG_CHECK_CTX:
        return r[i] == run.ctx
    if check == ARG_CHECK_FUNC:
        return is_function(run, r[i])
    if check == ARG_CHECK_STR:
        return is_string(run, r[i])
    if check == ARG_CHECK_STACK:
        return in_stack(run, r[i], 1)
    if check == ARG_CHECK_RECORD:
        return starts_region(run, r[i], KIND_RINGBUF)
    if check == ARG_CHECK_OBJECT:
        return starts_region(run, r[i], -1)
    return may_access(run, r[i], wanted(row, i, r, map), row.need[i])


cdef bint check_arguments(run_ctx *run, uint32_t id, uint64_t *r) noexcept nogil:
    cdef helper_args *row = &run.kernel.args[id]
    cdef const bpf_map *map = NULL
    cdef uint32_t i
    for i in range(5):
        if row.checks[i] == ARG_CHECK_NONE:
            continue
        if not good(run, row, i, r, map):
            fault_argument(run, i + 1, r[i],
                           wanted(row, i, r, map) if ARG_CHECK_KEY <= row.checks[i]
                           <= ARG_CHECK_FIXED else 0)
            return False
        if row.checks[i] == ARG_CHECK_MAP:
            map = <const bpf_map *> r[i]
    return True
