# One kernel's native state. See kernel.pyx.
from anybpf.core.memory cimport RegionTable
from anybpf.core.run_ctx cimport kernel_state, task_info

cdef class Kernel:
    cdef kernel_state c
    cdef task_info task
    cdef dict regions           # token -> Region
    cdef RegionTable table      # snapshot of regions; None: make it anew
    cdef list retired           # kept until no run is active
    cdef readonly dict python_helpers
    cdef public object devices  # ifindex -> net.dev.NetDevice; None: the loopback device alone
    cdef object __weakref__
    cpdef RegionTable snapshot(self)
    cdef void begin_run(self) noexcept
    cdef void end_run(self)
