# One run of a program: everything that a helper may look at or change.
#
# Helpers are C functions  u64 helper(r1, r2, r3, r4, r5, run_ctx *run)  called without the GIL.
# The engine sets the first part, net/test_run the packet part; helpers fill in the results.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef struct run_ctx
cdef struct bpf_prog

ctypedef uint64_t (*bpf_helper_t)(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                                  run_ctx *run) noexcept nogil
# Runs a BPF function given by the value that ld_imm64 BPF_PSEUDO_FUNC put in a register.
ctypedef uint64_t (*bpf_callback_t)(run_ctx *run, uint64_t func, uint64_t r1, uint64_t r2,
                                    uint64_t r3, uint64_t r4, uint64_t r5) noexcept nogil

# What legacy LD_ABS / LD_IND read: `size` bytes at `offset` of the packet, in host order, to *out.
# Negative offsets are the kernel's SKF_NET_OFF and SKF_LL_OFF spaces. 0, or a negative error
# number (the program then ends with r0 = 0).
ctypedef int64_t (*bpf_load_packet_t)(run_ctx *run, int64_t offset, uint32_t size,
                                      uint64_t *out) noexcept nogil

# How the byte at one offset of a context is read and written: made from the rows by core.context.
# The access sizes are their own bits: loads 1 | 4 means that 1 or 4 bytes may be loaded there.
cdef struct ctx_rule:
    uint32_t source             # offset in the native struct
    uint8_t loads               # sizes that may be loaded
    uint8_t stores              # sizes that may be stored
    uint8_t left                # bytes of the native member from `source` on, at most 8
    uint8_t pointer             # the member is a pointer: a load gives all its 64 bits

cdef struct context_table:
    ctx_rule *rules             # one per byte of the context
    uint32_t size

# What a helper's five arguments must be in a checked run: made from the rows by core.arguments.
cdef struct helper_args:
    uint64_t prog_types         # bit t: programs of type t may call it; type 0 may call all
    uint64_t map_types          # bit t: maps of type t may be used
    uint32_t sizes[5]           # bytes, for memory of fixed size
    uint8_t checks[5]           # ARG_CHECK_*
    uint8_t need[5]             # REGION_READ, REGION_WRITE: what is done with memory
    uint8_t nullable[5]
    uint8_t varies              # takes other arguments in some program types

# One instruction in the engine's form. Register and immediate forms are one: the second operand
# is always regs[src] + imm, where src is ZERO_REG for immediates and imm is 0 for registers.
cdef enum:
    ZERO_REG = 11

cdef struct bpf_op:
    uint16_t op                 # core.decode's OP_*
    uint8_t dst
    uint8_t src
    int32_t off                 # byte offset, or jump distance in instructions
    uint64_t imm

# A function of a program: what ld_imm64 BPF_PSEUDO_FUNC puts in a register is its address.
cdef struct bpf_func:
    bpf_prog *prog
    uint64_t start              # index of its first instruction

# A loaded program (include/linux/bpf.h). Frees are put off while any run of its Kernel lasts.
cdef struct bpf_prog:
    bpf_op *ops                 # as many as instruction slots, and one that faults behind the last
    bpf_func *funcs
    context_table *context      # NULL: the context is plain memory
    uint32_t len
    uint32_t n_funcs
    uint32_t id                 # set by the syscall layer
    uint32_t prog_type
    uint32_t gpl
    uint32_t flags
    uint64_t run_cnt            # counted while kernel_state.stats_enabled
    uint64_t run_time_ns
    char name[16]
    void *owner                 # borrowed PyObject *: Prog

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
    void *object                # bpf_map * of a map or its values; context_table * of REGION_CTX

# The machine's fixed regions, sorted by base: a snapshot that stays valid during a run. A run that
# meets an address behind the changes since (a map that was put into a slot) takes a newer one.
cdef struct region_table:
    uint32_t count
    region *regions
    uint64_t changes            # kernel_state.region_changes when it was made

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
    uint32_t stats_enabled      # BPF_ENABLE_STATS: count run_cnt and run_time_ns
    uint32_t active_runs        # runs in progress: nothing that they may touch is freed
    uint64_t region_changes     # how often a fixed region came or went
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
    FAULT_ALIGNMENT = 10        # an atomic access that is not aligned to its size
    FAULT_FUNCTION = 11         # a callback or callx on what is no function of the program
    FAULT_PROG_TYPE = 12        # a helper that programs of this type may not call

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
    bpf_load_packet_t load_packet   # NULL: legacy loads read run.packet
    uint64_t ctx                # what r1 held at entry
    context_table *context      # how its offsets are read and written; NULL: plain memory
    uint64_t context_size       # context.size, 0 without rows
    uint32_t cpu
    uint32_t tail_calls
    uint32_t checked
    uint32_t depth              # frames of bpf-to-bpf calls and callbacks now active
    uint32_t helper             # id of the helper being called
    uint64_t insn               # index of the instruction that called it
    uint64_t budget             # instructions left before FAULT_BUDGET (checked mode)
    uint8_t *stack              # MAX_FRAMES frames of FRAME_STRIDE bytes, see core.run_ctx
    task_info *task
    # memory
    region_table *table
    region dynamic[64]          # packet, stack, context, ring buffer records: grows and shrinks
    uint32_t n_dynamic
    region hit                  # plain range of the last access that was found (checked mode)
    region packet               # [data_meta or data, data_end): helpers that move them update it
    # fault
    uint32_t fault
    uint32_t fault_insn
    bpf_prog *fault_prog        # the program that fault_insn counts in
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

# Frames grow upwards; each is FRAME_STRIDE bytes of which only the upper FRAME_SIZE belong to the
# program, so that running off a frame's end never lands in another.
cdef enum:
    MAX_FRAMES = 8
    FRAME_SIZE = 512
    FRAME_STRIDE = 1024
    STACK_SIZE = 8192

cdef class RunCtx:
    """All state of one run; reusable for the next after reset()."""
    cdef run_ctx c
    cdef readonly object kernel
    cdef readonly object table  # keeps c.table alive: a memory.RegionTable
    cdef readonly object prog   # the Prog that the run began with
    cdef public object exception
    cdef dict __dict__
    cpdef reset(self)

cdef uint64_t next_random(kernel_state *kernel) noexcept nogil
# Appends to a growing buffer: 0, or -ENOMEM.
cdef int64_t buffer_append(run_buffer *buffer, const void *data, uint64_t size) noexcept nogil
# Dynamic regions: 0, or -ENOSPC. Removing forgets the region that begins at `base`.
cdef int64_t region_push(run_ctx *run, uint64_t base, uint64_t size, uint32_t flags,
                         uint32_t kind, void *object) noexcept nogil
cdef void region_remove(run_ctx *run, uint64_t base) noexcept nogil
# Record the first fault of a run; later ones are ignored.
cdef void fault_memory(run_ctx *run, uint32_t fault, uint64_t addr, uint64_t size) noexcept nogil
cdef void fault_argument(run_ctx *run, uint32_t arg, uint64_t addr, uint64_t size) noexcept nogil
