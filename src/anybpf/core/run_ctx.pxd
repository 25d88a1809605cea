# One run of a program: everything that a helper may look at or change.
#
# Helpers are C functions  u64 helper(r1, r2, r3, r4, r5, run_ctx *run)  called without the GIL.
# The engine sets the first part, net/test_run the packet part; helpers fill in the results.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef struct run_ctx
cdef struct bpf_prog

ctypedef uint64_t (*bpf_helper_t)(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                                  run_ctx *run) noexcept nogil
# Runs a BPF function given by the value that ld_imm64 BPF_PSEUDO_FUNC put in a register.
ctypedef uint64_t (*bpf_callback_t)(run_ctx *run, uint64_t func, uint64_t r1, uint64_t r2,
                                    uint64_t r3, uint64_t r4, uint64_t r5) noexcept nogil

# A piece of memory that a program may touch. stride/value_off/value_size as in bpf_map_area;
# stride 0 means one plain range of `size` bytes.
cdef enum:
    REGION_READ = 1
    REGION_WRITE = 2
    REGION_CTX = 4              # goes through the context rows
    REGION_OPAQUE = 8           # may be pointed to, never read (a map, a function)

cdef struct region:
    uint64_t base
    uint64_t size
    uint64_t stride
    uint32_t value_off
    uint32_t value_size
    uint32_t flags
    uint32_t kind               # index of the region's name in core.memory.KINDS
    void *object                # bpf_map * of a map's values, else NULL

# The machine's fixed regions, sorted by base: a snapshot that stays valid during a run.
cdef struct region_table:
    uint32_t count
    region *regions

# What all runs of one Machine share.
cdef struct kernel_state:
    uint64_t clock_ns           # CLOCK_MONOTONIC of the virtual clock
    uint64_t clock_step_ns      # every reading moves the clock on by so much
    uint64_t boot_offset_ns     # CLOCK_BOOTTIME - CLOCK_MONOTONIC
    uint64_t real_offset_ns     # CLOCK_REALTIME - CLOCK_MONOTONIC
    uint64_t tai_offset_ns
    uint64_t random             # state of the seeded generator (core.run_ctx next_random)
    uint32_t ncpus
    uint32_t hz
    bpf_helper_t helpers[256]   # by helper id; NULL: not modelled

# The task that the program sees as current.
cdef struct task_info:
    uint32_t pid
    uint32_t tgid
    uint32_t uid
    uint32_t gid
    uint64_t cgroup_id
    char comm[16]

cdef enum:
    MAX_DYNAMIC_REGIONS = 64

# Why a checked run stopped (run_ctx.fault); 0: it did not.
cdef enum:
    FAULT_NONE = 0
    FAULT_READ = 1
    FAULT_WRITE = 2
    FAULT_ARGUMENT = 3          # a helper's argument is not what the row asks for
    FAULT_UNKNOWN_HELPER = 4
    FAULT_BAD_INSN = 5
    FAULT_STACK_DEPTH = 6
    FAULT_BUDGET = 7            # more instructions than the run was given
    FAULT_CONTEXT = 8           # a context access that no row allows
    FAULT_PYTHON = 9            # a helper written in Python raised

# What bpf_redirect and friends recorded.
cdef struct redirect_info:
    uint32_t kind               # 0 none, else helper id that recorded it
    uint32_t ifindex
    uint64_t flags
    uint64_t key
    void *map                   # bpf_map *

# A growing byte buffer owned by the run (printk lines, captured perf records).
cdef struct run_buffer:
    uint8_t *data
    uint64_t len
    uint64_t cap

cdef struct run_ctx:
    # the engine
    kernel_state *kernel
    bpf_prog *prog              # the program running now (tail calls change it)
    bpf_callback_t callback
    uint64_t ctx                # what r1 held at entry
    uint32_t cpu
    uint32_t tail_calls
    uint32_t checked
    uint32_t depth              # frames of bpf-to-bpf calls and callbacks now active
    uint64_t budget             # instructions left before FAULT_BUDGET (checked mode)
    task_info *task
    # memory
    region_table *table
    region dynamic[64]          # packet, stack, context, ring buffer records: grows and shrinks
    uint32_t n_dynamic
    region packet               # [data_meta or data, data_end): helpers that move them update it
    # fault
    uint32_t fault
    uint32_t fault_insn
    uint32_t fault_helper
    uint32_t fault_arg
    uint64_t fault_addr
    uint64_t fault_size
    # the packet: struct xdp_buff or struct sk_buff of anybpf.net, NULL where the program has none
    void *xdp
    void *skb
    redirect_info redirect
    # output
    run_buffer trace            # u32 prog id, u32 length, text: one record a trace_printk
    run_buffer perf             # records for perf event maps, written by the helper family perf
    void *py                    # borrowed PyObject *: RunCtx

cdef class RunCtx:
    cdef run_ctx c
    cdef dict __dict__
