"""Ring buffer helpers (kernel/bpf/ringbuf.c)."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anybpf.core.memory cimport KIND_RINGBUF
from anybpf.core.run_ctx cimport (
    REGION_READ,
    REGION_WRITE,
    fault_argument,
    region_push,
    region_remove,
    run_ctx,
)
from anybpf.helpers.abi cimport EINVAL, fail
from anybpf.maps cimport ringbuf
from anybpf.maps.bpf_map cimport bpf_map

cdef enum:
    NO_WAKEUP = 1
    FORCE_WAKEUP = 2


cdef void *reserve(run_ctx *run, bpf_map *map, uint64_t size) noexcept nogil:
    """A record that the program may write, or NULL."""
    cdef void *record = ringbuf.ringbuf_reserve(map, size)
    if record == NULL:
        return NULL
    if region_push(run, <uint64_t> record, size, REGION_READ | REGION_WRITE, KIND_RINGBUF,
                   <void *> map) == 0:
        return record
    ringbuf.ringbuf_discard(record, NO_WAKEUP)
    return NULL


cdef bint release(run_ctx *run, uint64_t record) noexcept nogil:
    """Take a reserved record from the run; False (and a fault) if it holds no such record."""
    cdef uint32_t i
    for i in range(run.n_dynamic):
        if run.dynamic[i].base == record and run.dynamic[i].kind == KIND_RINGBUF:
            region_remove(run, record)
            return True
    fault_argument(run, 0, record, 8)
    return False


cdef uint64_t ringbuf_reserve(uint64_t map, uint64_t size, uint64_t flags, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    return 0 if flags else <uint64_t> reserve(run, <bpf_map *> map, size)


cdef uint64_t ringbuf_submit(uint64_t record, uint64_t flags, uint64_t r3, uint64_t r4,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    if release(run, record):
        ringbuf.ringbuf_submit(<void *> record, flags)
    return 0


cdef uint64_t ringbuf_discard(uint64_t record, uint64_t flags, uint64_t r3, uint64_t r4,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    if release(run, record):
        ringbuf.ringbuf_discard(<void *> record, flags)
    return 0


cdef uint64_t ringbuf_output(uint64_t map, uint64_t data, uint64_t size, uint64_t flags,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    if flags & ~<uint64_t> (NO_WAKEUP | FORCE_WAKEUP):
        return fail(EINVAL)
    return <uint64_t> ringbuf.ringbuf_output(<bpf_map *> map, <void *> data, size, flags)


cdef uint64_t ringbuf_query(uint64_t map, uint64_t flags, uint64_t r3, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil:
    return ringbuf.ringbuf_query(<bpf_map *> map, flags)


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "ringbuf_reserve": <uint64_t> ringbuf_reserve,
        "ringbuf_submit": <uint64_t> ringbuf_submit,
        "ringbuf_discard": <uint64_t> ringbuf_discard,
        "ringbuf_output": <uint64_t> ringbuf_output,
        "ringbuf_query": <uint64_t> ringbuf_query,
    }
