"""The memory that programs may touch, and safe copies from and to callers (mm/maccess.c).

A run sees: the frames of its active calls, the packet, its context, its dynamic regions (records
being written, sockets, ...) and the machine's fixed regions (map values), which are a sorted
snapshot taken when the run began. An address that is in none of them is not for programs.
"""

from collections import namedtuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EFAULT, EINTR, errno
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from anybpf.core.run_ctx cimport (
    REGION_CTX,
    REGION_OPAQUE,
    REGION_READ,
    REGION_WRITE,
    STACK_SIZE,
    RunCtx,
)
from anybpf.errors import BpfError

cdef extern from *:
    """
    #include <unistd.h>
    #include <fcntl.h>
    #include <sys/types.h>
    #ifdef __linux__
    #include <sys/uio.h>
    #include <sys/syscall.h>
    static ssize_t anybpf_vm_copy(int write, void *local, void *remote, size_t size)
    {
        struct iovec a = { local, size }, b = { remote, size };
        return syscall(write ? SYS_process_vm_writev : SYS_process_vm_readv,
                       (long)getpid(), &a, 1UL, &b, 1UL, 0UL);
    }
    #else
    static ssize_t anybpf_vm_copy(int write, void *local, void *remote, size_t size)
    { (void)write; (void)local; (void)remote; (void)size; errno = ENOSYS; return -1; }
    #endif
    """
    ssize_t anybpf_vm_copy(int write, void *local, void *remote, size_t size) nogil
    ssize_t c_read "read"(int fd, void *buf, size_t size) nogil
    ssize_t c_write "write"(int fd, const void *buf, size_t size) nogil
    int c_pipe "pipe"(int *fds) nogil
    int c_close "close"(int fd) nogil

#: region names by region.kind, as fault messages use them
KINDS = (
    "memory", "stack", "context", "packet", "map value", "ring buffer record", "map", "function",
    "socket", "kernel object",
)

#: One fixed region: `base`, `size`, `stride` in bytes (see run_ctx.pxd), `flags` REGION_*, `kind`
#: an index of KINDS, `object` a native address or 0, `name` for messages, `owner` kept alive.
Region = namedtuple("Region", "base size stride value_off value_size flags kind object name owner",
                    defaults=(0, 0, 0, REGION_READ | REGION_WRITE, KIND_MEMORY, 0, "", None))


cdef class RegionTable:
    """An immutable sorted table of Regions; runs borrow it while they last."""

    def __cinit__(self, rows=(), uint64_t changes=0):
        cdef region *r
        self.rows = sorted(rows, key=lambda row: row.base)
        self.c.count = len(self.rows)
        self.c.changes = changes
        self.c.regions = <region *> calloc(self.c.count + 1, sizeof(region))
        if self.c.regions == NULL:
            raise MemoryError
        for i, row in enumerate(self.rows):
            r = &self.c.regions[i]
            r.base, r.size, r.stride = row.base, row.size, row.stride
            r.value_off, r.value_size = row.value_off, row.value_size
            r.flags, r.kind = row.flags, row.kind
            r.object = <void *> <uintptr_t> row.object

    def __dealloc__(self):
        free(self.c.regions)

    def __len__(self):
        return self.c.count


cdef region *search(region_table *table, uint64_t addr) noexcept nogil:
    """The last region that begins at or before addr; NULL if none does."""
    cdef uint32_t low = 0
    cdef uint32_t high = table.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if table.regions[middle].base <= addr:
            low = middle + 1
        else:
            high = middle
    return NULL if low == 0 else &table.regions[low - 1]


cdef inline bint holds(region *r, uint64_t addr, uint64_t size) noexcept nogil:
    return size <= r.size and addr - r.base <= r.size - size


cdef region *find_moving(run_ctx *run, uint64_t addr) noexcept nogil:
    """Among the regions that come and go during a run: the latest wins."""
    cdef uint32_t i = run.n_dynamic
    if addr - run.packet.base < run.packet.size:
        return &run.packet
    while i > 0:
        i -= 1
        if addr - run.dynamic[i].base < run.dynamic[i].size:
            return &run.dynamic[i]
    return NULL


cdef bint is_context(run_ctx *run, uint64_t addr) noexcept nogil:
    """Whether addr lies in the context, which then goes through the program's rows."""
    return run.context != NULL and addr - run.ctx < run.context.size


cdef region *find_fixed(region_table *table, uint64_t addr) noexcept nogil:
    cdef region *r = search(table, addr)
    return r if r != NULL and addr - r.base < r.size else NULL


cdef bint renew_table(run_ctx *run) noexcept with gil:
    """Take a newer table; the old one lives on with everything else that is retired."""
    cdef RunCtx owner = <RunCtx> run.py
    try:
        owner.kernel.retire(owner.table)
        owner.table = owner.kernel.snapshot()
    except MemoryError:
        return False
    run.table = &(<RegionTable> owner.table).c
    return True


cdef region *find_region(run_ctx *run, uint64_t addr) noexcept nogil:
    cdef region *r = find_moving(run, addr)
    if r != NULL or run.table == NULL:
        return r
    r = find_fixed(run.table, addr)
    if r == NULL and run.table.changes != run.kernel.region_changes and renew_table(run):
        r = find_fixed(run.table, addr)
    return r


cdef void remember(run_ctx *run, uint64_t base, uint64_t size, uint32_t flags) noexcept nogil:
    run.hit.base = base
    run.hit.size = size
    run.hit.flags = flags


cdef bint in_element(run_ctx *run, region *r, uint64_t addr, uint64_t size) noexcept nogil:
    """Whether the bytes lie in the value of one element of a map's area."""
    cdef uint64_t at = (addr - r.base) % r.stride - r.value_off
    if size > r.value_size or at > r.value_size - size:
        return False
    remember(run, addr - at, r.value_size, r.flags)
    return True


cdef bint access_slow(run_ctx *run, uint64_t addr, uint64_t size, uint32_t need) noexcept nogil:
    cdef region *r
    if in_stack(run, addr, size):
        return True
    if is_context(run, addr):
        return False
    r = find_region(run, addr)
    if r == NULL or (r.flags & need) != need or r.flags & (REGION_CTX | REGION_OPAQUE):
        return False
    if not holds(r, addr, size):
        return False
    if r.stride:
        return in_element(run, r, addr, size)
    remember(run, r.base, r.size, r.flags)
    return True


cdef bint readable(run_ctx *run, uint64_t addr, uint64_t size) noexcept nogil:
    cdef region *r
    if in_stack(run, addr, size):
        return True
    r = find_region(run, addr)
    return r != NULL and holds(r, addr, size) and r.flags & (REGION_READ | REGION_CTX) != 0


# --- copies from and to addresses that a caller gave ---

cdef int pipe_chunk(int *fds, bint write, void *local, void *remote, size_t size) noexcept nogil:
    """Move up to one pipe buffer: the kernel answers EFAULT where we would crash."""
    cdef void *source = local if write else remote
    cdef void *target = remote if write else local
    cdef ssize_t n = c_write(fds[1], source, size)
    if n < 0 or n != <ssize_t> size:
        return -EFAULT
    return 0 if c_read(fds[0], target, size) == n else -EFAULT


cdef int pipe_copy(bint write, void *local, void *remote, uint64_t size) noexcept nogil:
    """The way that works everywhere: through a pipe, page by page."""
    cdef int fds[2]
    cdef uint64_t done = 0
    cdef uint64_t step
    cdef int result = 0
    if c_pipe(fds) != 0:
        return -EFAULT
    while done < size and result == 0:
        step = min(size - done, <uint64_t> 4096)
        result = pipe_chunk(fds, write, <char *> local + done, <char *> remote + done, step)
        done += step
    c_close(fds[0])
    c_close(fds[1])
    return result


cdef int user_copy(bint write, void *local, uint64_t addr, uint64_t size) noexcept nogil:
    cdef uint64_t done = 0
    cdef ssize_t n
    while done < size:
        n = anybpf_vm_copy(write, <char *> local + done, <char *> <uintptr_t> addr + done,
                           size - done)
        if n > 0:
            done += n
        elif n < 0 and errno == EINTR:
            continue
        elif n == 0 or errno == EFAULT:
            return -EFAULT
        else:
            return pipe_copy(write, <char *> local + done, <char *> <uintptr_t> addr + done,
                             size - done)
    return 0


cdef int user_read(uint64_t addr, void *to, uint64_t size) noexcept nogil:
    return user_copy(False, to, addr, size)


cdef int user_write(uint64_t addr, const void *data, uint64_t size) noexcept nogil:
    return user_copy(True, <void *> data, addr, size)


def copy_from_user(uint64_t address, size) -> bytes:
    """`size` bytes at `address` of this process; BpfError(EFAULT) where they are not readable."""
    cdef bytes data
    cdef uint64_t n
    if not 0 <= size <= 1 << 40 or address + size > 1 << 64:
        raise BpfError(EFAULT)
    if size > 1 << 20:                      # no gigabytes for a bad address
        copy_from_user(address, 1)
        copy_from_user(address + size - 1, 1)
    data = PyBytes_FromStringAndSize(NULL, size)
    n = size
    if user_read(address, PyBytes_AS_STRING(data), n) != 0:
        raise BpfError(EFAULT)
    return data


def copy_to_user(uint64_t address, data) -> None:
    """Write the bytes-like `data` at `address`; BpfError(EFAULT) where it is not writable."""
    cdef bytes raw = bytes(data)
    cdef uint64_t n = len(raw)
    if user_write(address, PyBytes_AS_STRING(raw), n) != 0:
        raise BpfError(EFAULT)


def pipe_copy_works() -> bool:
    """Whether the fallback without process_vm_readv copies and refuses as it should."""
    cdef uint64_t value = 0x1122334455667788ULL
    cdef uint64_t copy = 0
    return (pipe_copy(False, &copy, &value, 8) == 0 and copy == value
            and pipe_copy(False, &copy, <void *> 8, 8) == -EFAULT
            and pipe_copy(True, &copy, <void *> 8, 8) == -EFAULT)


# --- words for a fault ---

cdef object nearest(RegionTable table, uint64_t addr):
    """The Region that holds addr or ends shortly before it, or None."""
    cdef region *r = search(&table.c, addr)
    if r == NULL or addr - r.base >= r.size + 4096:
        return None
    return table.rows[r - table.c.regions]


cdef str element_text(row, uint64_t addr):
    """`[3]+8`: element number and offset in its value; just `+8` for a single element."""
    cdef uint64_t off = addr - <uint64_t> row.base
    cdef uint64_t stride = row.stride
    if not stride:
        return f"+{off}"
    index = min(off // stride, row.size // stride - 1)
    at = off - index * stride - row.value_off
    where = f"[{index}]" if row.size > stride else ""
    return f"{where}{at:+d}"


cdef str frame_text(uint64_t off):
    """`stack of frame 0 at fp-8`; what lies above a frame's top belongs to its end."""
    cdef int64_t number = off // FRAME_STRIDE
    cdef int64_t at = <int64_t> (off % FRAME_STRIDE) - FRAME_STRIDE
    if at < -768 and number:
        number, at = number - 1, at + FRAME_STRIDE
    return f"stack of frame {number} at fp{at:+d}"


cdef tuple moving_text(run_ctx *run, uint64_t addr):
    """(kind, text) for the run's own memory, or None."""
    cdef region *r = find_moving(run, addr)
    cdef uint64_t off = addr - <uint64_t> run.stack
    if off < STACK_SIZE:
        return "stack", frame_text(off)
    if is_context(run, addr):
        return "context", f"context+{addr - run.ctx}"
    if r == NULL and run.packet.size and addr - run.packet.base < run.packet.size + 4096:
        r = &run.packet
    if r == NULL:
        return None
    kind = KINDS[r.kind] if r.kind < KIND_COUNT else "memory"
    return kind, f"{kind}+{addr - r.base}" + (f" of {r.size}" if not r.flags & REGION_CTX else "")


def describe(RunCtx run, uint64_t address) -> tuple[str, str]:
    """(region kind, text such as `map value 'counters'+8`) of an address; kind "" if unknown."""
    found = moving_text(&run.c, address)
    if found is not None:
        return found
    row = nearest(run.table, address) if run.table is not None else None
    if row is None:
        return "", "no memory of the program" if address >= 4096 else "the null page"
    kind = KINDS[row.kind]
    name = f" '{row.name}'" if row.name else ""
    return kind, f"{kind}{name}{element_text(row, address)}"


# --- for helpers written in Python ---

def read_memory(RunCtx run, uint64_t address, uint64_t size) -> bytes:
    """`size` bytes that the program may read; BpfError(EFAULT) where it may not."""
    if not may_access(&run.c, address, size, REGION_READ):
        raise BpfError(EFAULT)
    return (<char *> <uintptr_t> address)[:size]


def write_memory(RunCtx run, uint64_t address, bytes data) -> None:
    """Write `data` where the program may write; BpfError(EFAULT) where it may not."""
    cdef uint64_t size = len(data)
    if not may_access(&run.c, address, size, REGION_WRITE):
        raise BpfError(EFAULT)
    memcpy(<void *> <uintptr_t> address, PyBytes_AS_STRING(data), size)
