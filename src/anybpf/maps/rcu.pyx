"""Keep what running programs may still use: grace periods (kernel/rcu/tree.c).

A program that looked a program or a map up in a slot goes on using it after the slot was
overwritten. References taken out of slots wait here until no program runs in this process; that is
counted, not timed, so nothing depends on threads or clocks.
"""

from libc.stdint cimport uint32_t

from anybpf.maps.sync cimport fetch_add32, load32

cdef uint32_t readers = 0
cdef list waiting = []


cdef void rcu_read_lock() noexcept nogil:
    fetch_add32(&readers, 1)


cdef void rcu_read_unlock() noexcept nogil:
    fetch_add32(&readers, <uint32_t> -1)


cdef void retire(object obj):
    if obj is not None:
        waiting.append(obj)
    synchronize()


cdef void release_retired():
    if waiting:
        synchronize()


def synchronize():
    """Let go of what waits, if no program runs; whether nothing waits any more."""
    global waiting
    if load32(&readers):
        return False
    done, waiting = waiting, []
    done.clear()
    return True
