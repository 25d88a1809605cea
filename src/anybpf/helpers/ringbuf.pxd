# Records that a run has reserved in ring buffers: regions of kind KIND_RINGBUF.
from libc.stdint cimport uint64_t

from anybpf.core.run_ctx cimport run_ctx
from anybpf.maps.bpf_map cimport bpf_map

cdef void *reserve(run_ctx *run, bpf_map *map, uint64_t size) noexcept nogil
cdef bint release(run_ctx *run, uint64_t record) noexcept nogil
