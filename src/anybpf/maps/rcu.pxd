# Objects that a program may still be using are let go only when no program runs.
from libc.stdint cimport uint32_t

# Every run of a program is between these two, which nest and may be called from any thread.
cdef void rcu_read_lock() noexcept nogil
cdef void rcu_read_unlock() noexcept nogil

# Drop a reference when no program runs any more (now, if none does). Needs the GIL.
cdef void retire(object obj)

# What an engine calls after rcu_read_unlock, with the GIL: retired objects go now rather than at the
# next change of a slot. Nearly free when nothing waits.
cdef void release_retired()
