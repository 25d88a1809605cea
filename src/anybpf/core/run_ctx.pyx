"""One run of a program: buffers, randomness, dynamic regions, faults (include/linux/filter.h)."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport ENOMEM, ENOSPC
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from anybpf.errors import BpfError

#: a run may not print more than this: a runaway program ends with -ENOMEM, not with the machine
cdef enum:
    MAX_BUFFER = 268435456


cdef uint64_t next_random(kernel_state *kernel) noexcept nogil:
    """The next 64 bits of the seeded generator (splitmix64)."""
    cdef uint64_t x
    kernel.random += <uint64_t> 0x9E3779B97F4A7C15ULL
    x = kernel.random
    x = (x ^ (x >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9ULL
    x = (x ^ (x >> 27)) * <uint64_t> 0x94D049BB133111EBULL
    return x ^ (x >> 31)


cdef bint buffer_grow(run_buffer *buffer, uint64_t need) noexcept nogil:
    cdef uint64_t cap = buffer.cap * 2 if buffer.cap else 4096
    cdef void *data
    while cap < need:
        cap *= 2
    data = realloc(buffer.data, cap)
    if data == NULL:
        return False
    buffer.data = <uint8_t *> data
    buffer.cap = cap
    return True


cdef int64_t buffer_append(run_buffer *buffer, const void *data, uint64_t size) noexcept nogil:
    if size > MAX_BUFFER or buffer.len + size > MAX_BUFFER:
        return -ENOMEM
    if buffer.len + size > buffer.cap and not buffer_grow(buffer, buffer.len + size):
        return -ENOMEM
    memcpy(buffer.data + buffer.len, data, size)
    buffer.len += size
    return 0


cdef int64_t region_push(run_ctx *run, uint64_t base, uint64_t size, uint32_t flags,
                         uint32_t kind, void *object) noexcept nogil:
    cdef region *slot
    if run.n_dynamic >= MAX_DYNAMIC_REGIONS:
        return -ENOSPC
    slot = &run.dynamic[run.n_dynamic]
    memset(slot, 0, sizeof(region))
    slot.base = base
    slot.size = size
    slot.flags = flags
    slot.kind = kind
    slot.object = object
    run.n_dynamic += 1
    return 0


cdef void region_remove(run_ctx *run, uint64_t base) noexcept nogil:
    cdef uint32_t i = run.n_dynamic
    run.hit.size = 0
    while i > 0:
        i -= 1
        if run.dynamic[i].base == base:
            run.n_dynamic -= 1
            run.dynamic[i] = run.dynamic[run.n_dynamic]
            return


cdef void fault_memory(run_ctx *run, uint32_t fault, uint64_t addr, uint64_t size) noexcept nogil:
    if run.fault != FAULT_NONE:
        return
    run.fault = fault
    run.fault_addr = addr
    run.fault_size = size
    run.fault_helper = run.helper
    run.fault_insn = <uint32_t> run.insn
    run.fault_prog = run.prog


cdef void fault_argument(run_ctx *run, uint32_t arg, uint64_t addr, uint64_t size) noexcept nogil:
    if run.fault == FAULT_NONE:
        run.fault_arg = arg
    fault_memory(run, FAULT_ARGUMENT, addr, size)


cdef class RunCtx:
    """All state of one run; reusable for the next after reset().

    `kernel` is the core.kernel.Kernel whose helpers, clock and memory the run uses.
    """

    def __cinit__(self, kernel, *, uint32_t cpu=0):
        memset(&self.c, 0, sizeof(run_ctx))
        self.c.stack = <uint8_t *> PyMem_Malloc(STACK_SIZE)
        if self.c.stack == NULL:
            raise MemoryError
        memset(self.c.stack, 0, STACK_SIZE)
        self.kernel = kernel
        self.c.kernel = <kernel_state *> <uint64_t> kernel.state_address
        self.c.task = <task_info *> <uint64_t> kernel.task_address
        self.c.cpu = cpu
        self.c.py = <void *> self

    def __dealloc__(self):
        PyMem_Free(self.c.stack)
        free(self.c.trace.data)
        free(self.c.perf.data)

    cpdef reset(self):
        """Forget faults, output, redirects and dynamic regions; keep the CPU and the buffers."""
        self.c.tail_calls = self.c.depth = self.c.helper = 0
        self.c.n_dynamic = self.c.fault = self.c.fault_arg = 0
        self.c.trace.len = self.c.perf.len = 0
        self.c.xdp = self.c.skb = NULL
        self.c.prog = self.c.fault_prog = NULL
        self.c.load_packet = NULL
        memset(&self.c.redirect, 0, sizeof(redirect_info))
        memset(&self.c.packet, 0, sizeof(region))
        memset(&self.c.hit, 0, sizeof(region))
        self.exception = None

    @property
    def cpu(self):
        """Number of the CPU that the run believes it is on."""
        return self.c.cpu

    @cpu.setter
    def cpu(self, value):
        if not 0 <= value < self.c.kernel.ncpus:
            raise ValueError(f"cpu {value} of {self.c.kernel.ncpus}")
        self.c.cpu = value

    @property
    def fault(self):
        """FAULT_* number of the last run, 0 if it ended well."""
        return self.c.fault

    @property
    def fault_facts(self):
        """(fault, insn, helper id, argument, address, size) of the last run's fault."""
        c = &self.c
        return (c.fault, c.fault_insn, c.fault_helper, c.fault_arg, c.fault_addr, c.fault_size)

    @property
    def fault_program(self):
        """Name of the program that `fault_facts` speaks of, until the fault is raised."""
        return self.c.fault_prog.name.decode() if self.c.fault_prog != NULL else ""

    def push_region(self, uint64_t base, uint64_t size, *, flags=REGION_READ | REGION_WRITE,
                    kind=0, object=0):
        """Let the run touch [base, base + size) until pop_region(base) or reset().

        `kind` is an index of core.memory.KINDS; `object` the address of a context table for
        REGION_CTX. Raises BpfError(ENOSPC) when there are 64 already.
        """
        if region_push(&self.c, base, size, flags, kind, <void *> <uint64_t> object) != 0:
            raise BpfError(ENOSPC)

    def pop_region(self, uint64_t base):
        """Forget the newest region that begins at `base`."""
        region_remove(&self.c, base)

    def set_packet(self, uint64_t base, uint64_t size):
        """The bytes that the program may touch as its packet."""
        self.c.packet.base = base
        self.c.packet.size = size
        self.c.hit.size = 0

    def call(self, uint64_t func, r1=0, r2=0, r3=0, r4=0, r5=0):
        """Call a function of the running program by the value that it passed; returns r0."""
        if self.c.callback == NULL:
            raise ValueError("no program is running")
        return self.c.callback(&self.c, func, r1, r2, r3, r4, r5)

    @property
    def trace(self):
        """The printk records of the run: u32 program id, u32 length, text; one after another."""
        return self.c.trace.data[:self.c.trace.len] if self.c.trace.len else b""

    @property
    def perf(self):
        """The captured perf records of the run, as the helper family perf lays them out."""
        return self.c.perf.data[:self.c.perf.len] if self.c.perf.len else b""

    @property
    def redirect(self):
        """(helper id, ifindex, flags, key) of the last redirect; helper id 0: none."""
        r = self.c.redirect
        return (r.kind, r.ifindex, r.flags, r.key)

    @property
    def tail_calls(self):
        """Tail calls taken so far in this run (at most 33)."""
        return self.c.tail_calls


#: names of the FAULT_* numbers
FAULTS = ("NONE", "READ", "WRITE", "ARGUMENT", "UNKNOWN_HELPER", "BAD_INSN", "STACK_DEPTH",
          "BUDGET", "CONTEXT", "PYTHON", "ALIGNMENT", "FUNCTION", "PROG_TYPE")
