# What an infrared decoder runs on: one sample, and the keys it has told the kernel about.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport RunCtx, run_buffer

# The context of a lirc_mode2 program begins with the sample it sees.
cdef struct lirc_raw:
    uint32_t sample
    uint32_t pad
    run_buffer events

cdef struct lirc_event:
    uint32_t helper
    uint32_t protocol
    uint64_t scancode
    uint32_t toggle
    int32_t rel_x
    int32_t rel_y
    uint32_t pad

cdef class LircContext:
    cdef lirc_raw c
