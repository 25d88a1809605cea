"""Queues and stacks (kernel/bpf/queue_stack_maps.c)."""

from libc.errno cimport E2BIG, EINVAL, ENOENT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from anybpf cimport uapi
from anybpf.maps.bpf_map cimport ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops, mapping, user_size
from anybpf.maps.sync cimport spin_lock, spin_unlock

from anybpf.maps.refusal import require

cdef struct queue_stack:
    bpf_map map
    uint8_t *elements           # max_entries + 1 values: head == tail means empty
    uint64_t size
    uint64_t head               # where the next value goes
    uint64_t tail               # the oldest value
    uint32_t lock


cdef inline uint8_t *element(queue_stack *qs, uint64_t index) noexcept nogil:
    return qs.elements + index * qs.map.value_size


cdef inline uint64_t after(queue_stack *qs, uint64_t index) noexcept nogil:
    return 0 if index + 1 == qs.size else index + 1


cdef inline uint64_t before(queue_stack *qs, uint64_t index) noexcept nogil:
    return qs.size - 1 if index == 0 else index - 1


cdef int64_t push(bpf_map *map, const void *value, uint64_t flags) noexcept nogil:
    cdef queue_stack *qs = <queue_stack *> map
    cdef int64_t err = 0
    if flags & uapi.BPF_NOEXIST or flags > uapi.BPF_EXIST:
        return -EINVAL
    spin_lock(&qs.lock)
    if after(qs, qs.head) == qs.tail:
        if flags & uapi.BPF_EXIST:          # forget the oldest
            qs.tail = after(qs, qs.tail)
        else:
            err = -E2BIG
    if not err:
        memcpy(element(qs, qs.head), value, map.value_size)
        qs.head = after(qs, qs.head)
    spin_unlock(&qs.lock)
    return err


cdef int64_t take(bpf_map *map, void *value, bint remove) noexcept nogil:
    cdef queue_stack *qs = <queue_stack *> map
    cdef bint stack = map.map_type == uapi.BPF_MAP_TYPE_STACK
    cdef int64_t err = 0
    spin_lock(&qs.lock)
    if qs.head == qs.tail:
        memset(value, 0, map.value_size)
        err = -ENOENT
    elif stack:
        memcpy(value, element(qs, before(qs, qs.head)), map.value_size)
        qs.head = before(qs, qs.head) if remove else qs.head
    else:
        memcpy(value, element(qs, qs.tail), map.value_size)
        qs.tail = after(qs, qs.tail) if remove else qs.tail
    spin_unlock(&qs.lock)
    return err


cdef int64_t pop(bpf_map *map, void *value) noexcept nogil:
    return take(map, value, True)


cdef int64_t peek(bpf_map *map, void *value) noexcept nogil:
    return take(map, value, False)


cdef bpf_map_ops queue_ops
queue_ops.push = push
queue_ops.pop = pop
queue_ops.peek = peek


cdef class QueueStack(Map):
    """BPF_MAP_TYPE_QUEUE and STACK: update pushes, lookup peeks, lookup_and_delete pops."""

    def __init__(self, attr, uint32_t ncpus, seed=0):
        cdef queue_stack *qs
        self.setup(attr, ncpus, sizeof(queue_stack))
        qs = <queue_stack *> self.native
        qs.map.ops = &queue_ops
        qs.size = <uint64_t> attr.max_entries + 1
        qs.elements = <uint8_t *> self.area_alloc(qs.size * attr.value_size)

    def check_pop(self, flags):
        """No flags at all."""
        require(flags == 0, EINVAL, f"flags {flags:#x}")

    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        return peek(self.native, value)

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        return push(self.native, value, flags)

    cdef int64_t sys_pop(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        return pop(self.native, value)

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return -EINVAL

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        return -EINVAL
