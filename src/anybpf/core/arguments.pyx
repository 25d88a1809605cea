"""Helper arguments in checked runs, tested by the rows of proto.helpers (kernel/bpf/verifier.c).

The verifier proves before the run what is tested here during it: that a map argument is a map,
that memory has the size that the helper will touch, that a callback is a function. Helpers may
then trust their arguments in checked runs as in verified ones.
"""

from libc.stdint cimport uint8_t

from anybpf.core.memory cimport (
    KIND_MAP,
    KIND_RINGBUF,
    find_region,
    in_stack,
    may_access,
)
from anybpf.core.run_ctx cimport (
    FAULT_PROG_TYPE,
    REGION_READ,
    REGION_WRITE,
    bpf_func,
    fault_argument,
    fault_memory,
    helper_args,
    region,
)
from anybpf.maps.bpf_map cimport bpf_map

from anybpf import uapi
from anybpf.errors import Bug
from anybpf.proto import access, helpers, kinds, maps

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
    """A bit for each map type that the helper takes in some program."""
    return sum(1 << t for t in maps.BY_TYPE
               if maps.compatible(t, helper.name, uapi.BPF_PROG_TYPE_SCHED_CLS))


cdef int fill_in(helper_args *row, helper) except -1:
    row.prog_types = 1 | sum(1 << t for t in access.callers(helper.id))
    row.map_types = _types(helper)
    for i, arg in enumerate(helper.args):
        row.checks[i] = _check(arg.kind)
        row.need[i] = _need(arg.kind)
        row.nullable[i] = _nullable(arg.kind)
        row.sizes[i] = arg.size or SIZES.get(kinds.base(arg.kind), 0)
    return 0


# A helper that takes other arguments in programs of these types (a bit each).
cdef struct variant:
    uint64_t prog_types
    uint32_t id
    helper_args args

cdef enum:
    HELPERS = 256
    MAX_VARIANTS = 32

# made once from the rows, constant afterwards
cdef helper_args TABLE[HELPERS]
cdef variant VARIANTS[MAX_VARIANTS]
cdef uint32_t n_variants = 0


cdef int add_variant(row) except -1:
    global n_variants
    if n_variants == MAX_VARIANTS:
        raise Bug("more helper variants than the engine has room for")
    VARIANTS[n_variants].id = row.helper.id
    VARIANTS[n_variants].prog_types = sum(1 << t for t in row.prog_types)
    fill_in(&VARIANTS[n_variants].args, row.helper)
    TABLE[row.helper.id].varies = 1
    n_variants += 1
    return 0


cdef int compile_arguments() except -1:
    for helper in helpers.HELPERS:
        fill_in(&TABLE[helper.id], helper)
    for row in helpers.VARIANTS:
        if row.helper.args != helpers.BY_ID[row.helper.id].args:
            add_variant(row)
    return 0


compile_arguments()


cdef helper_args *row_of(uint32_t id, uint32_t prog_type) noexcept nogil:
    """What helper `id` takes in a program of this type."""
    cdef uint32_t i
    if TABLE[id].varies:
        for i in range(n_variants):
            if VARIANTS[i].id == id and (VARIANTS[i].prog_types >> prog_type) & 1:
                return &VARIANTS[i].args
    return &TABLE[id]


cdef bint is_function(run_ctx *run, uint64_t func) noexcept nogil:
    cdef uint64_t off = func - <uint64_t> run.prog.funcs
    return (off < <uint64_t> run.prog.n_funcs * sizeof(bpf_func)
            and off % sizeof(bpf_func) == 0)


cdef bint is_map(run_ctx *run, uint64_t addr, uint64_t types) noexcept nogil:
    """Whether addr is a map of one of these types (a bit mask)."""
    cdef region *r = find_region(run, addr)
    cdef bpf_map *map = <bpf_map *> addr
    if r == NULL or r.kind != KIND_MAP or r.base != addr:
        return False
    return (types >> map.map_type) & 1 != 0


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
    cdef helper_args *row = row_of(id, run.prog.prog_type)
    cdef const bpf_map *map = NULL
    cdef uint32_t i
    if not (row.prog_types >> (run.prog.prog_type & 63)) & 1:
        fault_memory(run, FAULT_PROG_TYPE, 0, 0)
        return False
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
