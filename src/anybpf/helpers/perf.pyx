"""Records for perf events (kernel/trace/bpf_trace.c, net/core/filter.c)."""
from libc.stdint cimport uint64_t

from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EFAULT, EINVAL, fail
from anybpf.maps.bpf_map cimport bpf_map
from anybpf.maps.perf_event cimport perf_event_array_output
from anybpf.net.filter cimport sk_buff
from anybpf.net.xdp cimport xdp_buff

cdef enum:
    CTXLEN_MASK = 0xfffff           # BPF_F_CTXLEN_MASK, after the shift
    CTXLEN_SHIFT = 32


cdef uint64_t packet_bytes(run_ctx *run, uint64_t *size) noexcept nogil:
    """Where the linear bytes of the run's packet begin, and how many there are."""
    cdef sk_buff *skb = <sk_buff *> run.skb
    cdef xdp_buff *xdp = <xdp_buff *> run.xdp
    if skb != NULL:
        size[0] = skb.len
        return skb.data
    if xdp != NULL:
        size[0] = xdp.data_end - xdp.data
        return xdp.data
    size[0] = 0
    return 0


cdef uint64_t perf_event_output(uint64_t ctx, uint64_t map, uint64_t flags, uint64_t data,
                                uint64_t size, run_ctx *run) noexcept nogil:
    """`size` bytes at `data`, then as many bytes of the packet as the flags ask for."""
    cdef uint64_t room = 0
    cdef uint64_t packet = packet_bytes(run, &room)
    cdef uint64_t copy = (flags >> CTXLEN_SHIFT) & CTXLEN_MASK
    if flags >> CTXLEN_SHIFT & ~<uint64_t> CTXLEN_MASK or (copy and packet == 0):
        return fail(EINVAL)
    if copy > room:
        return fail(EFAULT)
    return <uint64_t> perf_event_array_output(<bpf_map *> map, flags & 0xffffffffu, run.cpu,
                                              <void *> data, size, <void *> packet, copy)


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {"perf_event_output": <uint64_t> perf_event_output}
