"""Clock, CPU, random numbers, current task, loops (kernel/bpf/helpers.c)."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from anybpf.core.run_ctx cimport next_random, run_ctx
from anybpf.helpers.abi cimport E2BIG, EINVAL, fail, strnlen

cdef extern from *:
    uint64_t __sync_fetch_and_add(uint64_t *at, uint64_t value) nogil

cdef enum:
    BPF_MAX_LOOPS = 8388608
    COMM_SIZE = 16
    NANOSECONDS = 1000000000
    # jiffies begin five minutes before they wrap
    INITIAL_JIFFIES = 4294667296


cdef inline uint64_t now(run_ctx *run) noexcept nogil:
    """CLOCK_MONOTONIC; reading it moves the virtual clock on."""
    return __sync_fetch_and_add(&run.kernel.clock_ns, run.kernel.clock_step_ns)


cdef uint64_t ktime_get_ns(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                           run_ctx *run) noexcept nogil:
    return now(run)


cdef uint64_t ktime_get_boot_ns(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                                run_ctx *run) noexcept nogil:
    return now(run) + run.kernel.boot_offset_ns


cdef uint64_t ktime_get_tai_ns(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                               run_ctx *run) noexcept nogil:
    return now(run) + run.kernel.tai_offset_ns


cdef uint64_t ktime_get_coarse_ns(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
                                  uint64_t r5, run_ctx *run) noexcept nogil:
    """The clock as of the last tick."""
    cdef uint64_t tick = NANOSECONDS // run.kernel.hz
    cdef uint64_t time = now(run)
    return time - time % tick


cdef uint64_t jiffies64(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                        run_ctx *run) noexcept nogil:
    return INITIAL_JIFFIES + now(run) // (NANOSECONDS // run.kernel.hz)


cdef uint64_t get_prandom_u32(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                              run_ctx *run) noexcept nogil:
    return <uint32_t> next_random(run.kernel)


cdef uint64_t get_smp_processor_id(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
                                   uint64_t r5, run_ctx *run) noexcept nogil:
    return run.cpu


cdef uint64_t get_numa_node_id(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                               run_ctx *run) noexcept nogil:
    """All CPUs are on node 0."""
    return 0


cdef uint64_t get_current_pid_tgid(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
                                   uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> run.task.tgid << 32 | run.task.pid


cdef uint64_t get_current_uid_gid(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
                                  uint64_t r5, run_ctx *run) noexcept nogil:
    return <uint64_t> run.task.gid << 32 | run.task.uid


cdef uint64_t get_current_comm(uint64_t buf, uint64_t size, uint64_t r3, uint64_t r4,
                               uint64_t r5, run_ctx *run) noexcept nogil:
    """The task's name, cut and NUL-terminated, the rest of the buffer zeroed."""
    cdef uint32_t room = <uint32_t> size
    cdef uint64_t length = strnlen(run.task.comm, COMM_SIZE)
    if room == 0:
        return fail(E2BIG)
    memset(<void *> buf, 0, room)
    memcpy(<void *> buf, run.task.comm, min(length, <uint64_t> (room - 1)))
    return 0


cdef uint64_t get_current_cgroup_id(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
                                    uint64_t r5, run_ctx *run) noexcept nogil:
    return run.task.cgroup_id


cdef uint64_t get_current_ancestor_cgroup_id(uint64_t level, uint64_t r2, uint64_t r3,
                                             uint64_t r4, uint64_t r5,
                                             run_ctx *run) noexcept nogil:
    """The task's cgroup is the root: it has no ancestor but itself, at level 0."""
    return 0 if <int32_t> level else run.task.cgroup_id


cdef uint64_t loop(uint64_t count, uint64_t callback, uint64_t ctx, uint64_t flags, uint64_t r5,
                   run_ctx *run) noexcept nogil:
    cdef uint32_t i = 0
    cdef uint32_t n = <uint32_t> count
    if flags:
        return fail(EINVAL)
    if n > BPF_MAX_LOOPS:
        return fail(E2BIG)
    while i < n:
        i += 1
        if run.callback(run, callback, i - 1, ctx, 0, 0, 0) or run.fault:
            break
    return i


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "ktime_get_ns": <uint64_t> ktime_get_ns,
        "ktime_get_boot_ns": <uint64_t> ktime_get_boot_ns,
        "ktime_get_tai_ns": <uint64_t> ktime_get_tai_ns,
        "ktime_get_coarse_ns": <uint64_t> ktime_get_coarse_ns,
        "jiffies64": <uint64_t> jiffies64,
        "get_prandom_u32": <uint64_t> get_prandom_u32,
        "get_smp_processor_id": <uint64_t> get_smp_processor_id,
        "get_numa_node_id": <uint64_t> get_numa_node_id,
        "get_current_pid_tgid": <uint64_t> get_current_pid_tgid,
        "get_current_uid_gid": <uint64_t> get_current_uid_gid,
        "get_current_comm": <uint64_t> get_current_comm,
        "get_current_cgroup_id": <uint64_t> get_current_cgroup_id,
        "get_current_ancestor_cgroup_id": <uint64_t> get_current_ancestor_cgroup_id,
        "loop": <uint64_t> loop,
    }
