"""Helpers on maps (kernel/bpf/helpers.c)."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anybpf.core.run_ctx cimport fault_argument, run_ctx
from anybpf.helpers.abi cimport EINVAL, ENOTSUPP, EOPNOTSUPP, fail
from anybpf.maps.bpf_map cimport bpf_map

cdef extern from *:
    uint32_t __sync_val_compare_and_swap(uint32_t *at, uint32_t old, uint32_t new) nogil
    void __sync_lock_release(uint32_t *at) nogil

cdef enum:
    # a lock that another thread holds is free again long before so many tries
    LOCK_TRIES = 100000000

# What for_each_map_elem hands down to one element's visit.
cdef struct walk:
    run_ctx *run
    uint64_t callback
    uint64_t ctx


cdef uint64_t map_lookup_elem(uint64_t map, uint64_t key, uint64_t r3, uint64_t r4, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if m.ops.lookup == NULL:
        return 0
    return <uint64_t> m.ops.lookup(m, <void *> key, run.cpu)


cdef uint64_t map_update_elem(uint64_t map, uint64_t key, uint64_t value, uint64_t flags,
                              uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if m.ops.update == NULL:
        return fail(ENOTSUPP)
    return <uint64_t> m.ops.update(m, <void *> key, <void *> value, flags, run.cpu)


cdef uint64_t map_delete_elem(uint64_t map, uint64_t key, uint64_t r3, uint64_t r4, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if m.ops.delete == NULL:
        return fail(ENOTSUPP)
    return <uint64_t> m.ops.delete(m, <void *> key)


cdef uint64_t map_push_elem(uint64_t map, uint64_t value, uint64_t flags, uint64_t r4,
                            uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if m.ops.push == NULL:
        return fail(EOPNOTSUPP)
    return <uint64_t> m.ops.push(m, <void *> value, flags)


cdef uint64_t map_pop_elem(uint64_t map, uint64_t value, uint64_t r3, uint64_t r4, uint64_t r5,
                           run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if m.ops.pop == NULL:
        return fail(EOPNOTSUPP)
    return <uint64_t> m.ops.pop(m, <void *> value)


cdef uint64_t map_peek_elem(uint64_t map, uint64_t value, uint64_t r3, uint64_t r4, uint64_t r5,
                            run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if m.ops.peek == NULL:
        return fail(EOPNOTSUPP)
    return <uint64_t> m.ops.peek(m, <void *> value)


cdef uint64_t map_lookup_percpu_elem(uint64_t map, uint64_t key, uint64_t cpu, uint64_t r4,
                                     uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    if <uint32_t> cpu >= run.kernel.ncpus or m.ops.lookup == NULL:
        return 0
    return <uint64_t> m.ops.lookup(m, <void *> key, <uint32_t> cpu)


cdef int64_t visit(bpf_map *map, void *key, void *value, void *arg) noexcept nogil:
    cdef walk *w = <walk *> arg
    cdef uint64_t stop = w.run.callback(w.run, w.callback, <uint64_t> map, <uint64_t> key,
                                        <uint64_t> value, w.ctx, 0)
    return 1 if stop or w.run.fault else 0


cdef uint64_t for_each_map_elem(uint64_t map, uint64_t callback, uint64_t ctx, uint64_t flags,
                                uint64_t r5, run_ctx *run) noexcept nogil:
    cdef bpf_map *m = <bpf_map *> map
    cdef walk w
    if m.ops.for_each == NULL or run.callback == NULL:
        return fail(EINVAL)
    w.run = run
    w.callback = callback
    w.ctx = ctx
    return <uint64_t> m.ops.for_each(m, visit, &w, flags, run.cpu)


cdef uint64_t spin_lock(uint64_t lock, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                        run_ctx *run) noexcept nogil:
    """A program that takes a lock twice would hang: that ends the run with a fault."""
    cdef uint32_t tries = 0
    while __sync_val_compare_and_swap(<uint32_t *> lock, 0, 1) != 0:
        tries += 1
        if tries == LOCK_TRIES:
            fault_argument(run, 0, lock, 4)
            return 0
    return 0


cdef uint64_t spin_unlock(uint64_t lock, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                          run_ctx *run) noexcept nogil:
    __sync_lock_release(<uint32_t *> lock)
    return 0


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "map_lookup_elem": <uint64_t> map_lookup_elem,
        "map_update_elem": <uint64_t> map_update_elem,
        "map_delete_elem": <uint64_t> map_delete_elem,
        "map_push_elem": <uint64_t> map_push_elem,
        "map_pop_elem": <uint64_t> map_pop_elem,
        "map_peek_elem": <uint64_t> map_peek_elem,
        "map_lookup_percpu_elem": <uint64_t> map_lookup_percpu_elem,
        "for_each_map_elem": <uint64_t> for_each_map_elem,
        "spin_lock": <uint64_t> spin_lock,
        "spin_unlock": <uint64_t> spin_unlock,
    }
