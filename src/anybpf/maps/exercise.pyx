"""Map operations as programs call them, in a C loop (tools/testing/selftests/bpf/bench.c).

For benches, stress tests and for looking at a map as programs on one CPU see it: the native
operations of `bpf_map.pxd` in a C loop, without the GIL.
"""

import time

from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf.maps.bpf_map cimport Map, bpf_map
from anybpf.maps.rcu cimport rcu_read_lock, rcu_read_unlock, release_retired

from anybpf.maps.refusal import fail, require

OPERATIONS = ("lookup", "update", "delete", "push", "pop", "peek")


cdef int64_t call(bpf_map *map, int operation, const uint8_t *key, uint8_t *value, uint64_t flags,
                  uint32_t cpu) noexcept nogil:
    if operation == 0:
        return 0 if map.ops.lookup(map, key, cpu) != NULL else -1
    if operation == 1:
        return map.ops.update(map, key, value, flags, cpu)
    if operation == 2:
        return map.ops.delete(map, key)
    if operation == 3:
        return map.ops.push(map, value, flags)
    if operation == 4:
        return map.ops.pop(map, value)
    return map.ops.peek(map, value)


cdef bint has(bpf_map *map, int operation) noexcept:
    cdef void **members = <void **> map.ops     # in the order of OPERATIONS
    return members[operation] != NULL


def exercise(Map map, operation, bytes keys, uint64_t rounds, uint32_t cpu=0, bytes value=None,
             uint64_t flags=0):
    """Run an operation `rounds` times on each of the concatenated `keys` (maps without: one step).

    Returns the seconds it took and how many calls failed. Values written are `value`, by default
    zeros. EINVAL if programs cannot do that with this map.
    """
    cdef bpf_map *native = map.native
    cdef int op = OPERATIONS.index(operation)
    cdef uint64_t steps = len(keys) // native.key_size if native.key_size else 1
    cdef uint64_t i, step, failed = 0
    cdef const uint8_t *key = <const uint8_t *> <uint8_t *> PyBytes_AS_STRING(keys)
    cdef bytearray buffer = bytearray(value or bytes(max(native.value_size, 8)))
    cdef uint8_t *data = buffer
    require(cpu < native.ncpus and len(buffer) >= native.value_size and has(native, op), EINVAL,
            f"{operation} by a program")
    start = time.perf_counter()
    with nogil:
        rcu_read_lock()
        for i in range(rounds):
            for step in range(steps):
                failed += call(native, op, key + step * native.key_size, data, flags, cpu) != 0
        rcu_read_unlock()
    release_retired()
    return time.perf_counter() - start, failed


cdef struct collected:
    void *found
    uint64_t limit


cdef int64_t collect(bpf_map *map, void *key, void *value, void *arg) noexcept nogil:
    cdef collected *into = <collected *> arg
    with gil:
        (<list> into.found).append(((<char *> key)[:map.key_size], (<char *> value)[:map.value_size]))
        return into.limit and <uint64_t> len(<list> into.found) >= into.limit


def elements(Map map, uint32_t cpu=0, uint64_t limit=0):
    """(key, value) of the elements in the order of bpf_for_each_map_elem on a CPU; 0: no limit."""
    cdef collected into
    cdef int64_t visited
    found = []
    into.found = <void *> found
    into.limit = limit
    require(map.native.ops.for_each != NULL and cpu < map.native.ncpus, EINVAL,
            "for_each by a program")
    visited = map.native.ops.for_each(map.native, collect, &into, 0, cpu)
    if visited < 0:
        fail(visited, "for_each")
    return found
