# What memory a program may touch, and how to find out fast. See memory.pyx.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport (
    FRAME_SIZE,
    FRAME_STRIDE,
    region,
    region_table,
    run_ctx,
)

# Indexes of KINDS: region.kind
cdef enum:
    KIND_MEMORY = 0
    KIND_STACK = 1
    KIND_CONTEXT = 2
    KIND_PACKET = 3
    KIND_MAP_VALUE = 4
    KIND_RINGBUF = 5
    KIND_MAP = 6
    KIND_FUNCTION = 7
    KIND_SOCKET = 8
    KIND_OBJECT = 9
    KIND_COUNT = 10

cdef class RegionTable:
    cdef region_table c
    cdef readonly list rows     # of Region, in the order of c.regions

# The region that holds addr, wherever the run may have it; NULL if there is none. Stack frames,
# the context and the packet included.
cdef region *find_region(run_ctx *run, uint64_t addr) noexcept nogil
# Whether [addr, addr + size) lies in one piece of memory that has all flags of `need`
# (REGION_READ, REGION_WRITE) and is not a context that goes through the rows.
cdef bint access_slow(run_ctx *run, uint64_t addr, uint64_t size, uint32_t need) noexcept nogil
# Whether kernel memory at addr may be read (bpf_probe_read_kernel): like access_slow, but whole
# areas of maps count, and so do the structs behind contexts.
cdef bint readable(run_ctx *run, uint64_t addr, uint64_t size) noexcept nogil

cdef inline bint in_stack(run_ctx *run, uint64_t addr, uint64_t size) noexcept nogil:
    """Whether the bytes lie inside one frame of the active calls."""
    cdef uint64_t off = addr - <uint64_t> run.stack
    cdef uint64_t at = off & (FRAME_STRIDE - 1)
    return (off < <uint64_t> run.depth * FRAME_STRIDE and at >= FRAME_STRIDE - FRAME_SIZE
            and size <= FRAME_STRIDE - at)

cdef inline bint may_access(run_ctx *run, uint64_t addr, uint64_t size,
                            uint32_t need) noexcept nogil:
    if in_stack(run, addr, size):
        return True
    if (size <= run.hit.size and addr - run.hit.base <= run.hit.size - size
            and (run.hit.flags & need) == need):
        return True
    return access_slow(run, addr, size, need)

# Copies memory of this process that a caller named by address: 0, or -EFAULT; never a crash.
cdef int user_read(uint64_t addr, void *to, uint64_t size) noexcept nogil
cdef int user_write(uint64_t addr, const void *data, uint64_t size) noexcept nogil
