"""Helpers of infrared decoders (drivers/media/rc/bpf-lirc.c)."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from anybpf cimport uapi
from anybpf.core.run_ctx cimport buffer_append, run_ctx



cdef void note(uint64_t ctx, lirc_event *event, uint32_t helper) noexcept nogil:
    event.helper = helper
    buffer_append(&(<lirc_raw *> ctx).events, event, sizeof(lirc_event))


cdef uint64_t rc_repeat(uint64_t ctx, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                        run_ctx *run) noexcept nogil:
    cdef lirc_event event
    memset(&event, 0, sizeof(event))
    note(ctx, &event, uapi.BPF_FUNC_rc_repeat)
    return 0


cdef uint64_t rc_keydown(uint64_t ctx, uint64_t protocol, uint64_t scancode, uint64_t toggle,
                         uint64_t r5, run_ctx *run) noexcept nogil:
    cdef lirc_event event
    memset(&event, 0, sizeof(event))
    event.protocol = <uint32_t> protocol
    event.scancode = scancode
    event.toggle = (<uint32_t> toggle) != 0
    note(ctx, &event, uapi.BPF_FUNC_rc_keydown)
    return 0


cdef uint64_t rc_pointer_rel(uint64_t ctx, uint64_t rel_x, uint64_t rel_y, uint64_t r4,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    cdef lirc_event event
    memset(&event, 0, sizeof(event))
    event.rel_x = <int32_t> rel_x
    event.rel_y = <int32_t> rel_y
    note(ctx, &event, uapi.BPF_FUNC_rc_pointer_rel)
    return 0


cdef class LircContext:
    """The context of one receiver: set `sample`, run, then `take()` what the program reported."""

    def __dealloc__(self):
        free(self.c.events.data)

    @property
    def address(self):
        """Address of the native context: what r1 holds."""
        return <uint64_t> &self.c

    @property
    def size(self):
        """Size of the native context in bytes."""
        return sizeof(lirc_raw)

    @property
    def sample(self):
        """The sample that the program sees, in the encoding of LIRC_MODE_MODE2."""
        return self.c.sample

    @sample.setter
    def sample(self, value):
        self.c.sample = value

    def take(self):
        """What was reported since the last call: (helper id, protocol, scancode, toggle, x, y)."""
        cdef lirc_event *events = <lirc_event *> self.c.events.data
        cdef uint64_t count = self.c.events.len // sizeof(lirc_event)
        taken = [(events[i].helper, events[i].protocol, events[i].scancode, events[i].toggle,
                  events[i].rel_x, events[i].rel_y) for i in range(count)]
        self.c.events.len = 0
        return taken


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "rc_repeat": <uint64_t> rc_repeat,
        "rc_keydown": <uint64_t> rc_keydown,
        "rc_pointer_rel": <uint64_t> rc_pointer_rel,
    }
