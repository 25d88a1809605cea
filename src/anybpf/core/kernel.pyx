"""What all runs of one machine share: clock, random state, helpers, memory (kernel/bpf/core.c).

Runs go on without the GIL, so nothing that they may touch is freed under them: what a Kernel gives
up (an old region table, a map, a program's code) it keeps until no run is active.
"""

import sys

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from anybpf.core.python_helper cimport python_helper
from anybpf cimport uapi
from anybpf.core.memory cimport KIND_MAP, KIND_MAP_VALUE, KIND_MEMORY
from anybpf.core.memory import Region
from anybpf.core.run_ctx cimport REGION_OPAQUE, REGION_READ, REGION_WRITE, bpf_helper_t, next_random
from anybpf.errors import NotSupported
from anybpf.maps.bpf_map cimport bpf_map

cdef enum:
    HELPERS = 256


cdef class Kernel:
    """One kernel in memory: `ncpus` CPUs, everything random drawn from `seed`.

    The clock is virtual: it stands still but for `clock_step_ns` at every reading.
    """

    def __cinit__(self, *, uint32_t ncpus=4, seed=0):
        if not 1 <= ncpus <= 8192:
            raise ValueError(f"{ncpus} CPUs")
        if sys.byteorder != "little":
            raise NotSupported("running programs on a big-endian host")
        memset(&self.c, 0, sizeof(kernel_state))
        memset(&self.task, 0, sizeof(task_info))
        self.c.ncpus = ncpus
        self.c.hz = 250
        self.c.random = seed & 0xFFFF_FFFF_FFFF_FFFF
        self.c.clock_ns = 1_000_000_000
        self.c.clock_step_ns = 100
        self.c.real_offset_ns = 1_700_000_000_000_000_000
        self.c.tai_offset_ns = self.c.real_offset_ns + 37_000_000_000
        self.set_task()
        self.regions = {}
        self.retired = []
        self.python_helpers = {}

    # --- memory ---

    def add_region(self, base, size, *, flags=REGION_READ | REGION_WRITE, kind=KIND_MEMORY,
                   name="", object=0, stride=0, value_off=0, value_size=0, owner=None):
        """Let programs touch [base, base + size); returns a token for remove_region()."""
        row = Region(base, size, stride, value_off, value_size, flags, kind, object, name, owner)
        token = (base, size, kind)
        self.regions[token] = row
        self._regions_changed()
        return token

    def remove_region(self, token):
        """Take a region away; runs that are active still see it."""
        self.retire(self.regions.pop(token, None))
        self._regions_changed()

    def add_map(self, map):
        """Let programs use `map` (a maps.Map): its native struct, and its values' area."""
        native = <bpf_map *> <uintptr_t> map.address
        self.add_region(map.address, sizeof(bpf_map), flags=REGION_OPAQUE, kind=KIND_MAP,
                        name=map.name, object=map.address, owner=map)
        area = native.area
        if area.size:
            self.add_region(area.base, area.size, stride=area.stride, value_off=area.value_off,
                            value_size=area.value_size, flags=program_rights(native.map_flags),
                            kind=KIND_MAP_VALUE, name=map.name, object=map.address, owner=map)

    def remove_map(self, map):
        """Forget `map`: its memory stays until no run is active."""
        native = <bpf_map *> <uintptr_t> map.address
        self.remove_region((map.address, sizeof(bpf_map), KIND_MAP))
        self.remove_region((native.area.base, native.area.size, KIND_MAP_VALUE))

    def _regions_changed(self):
        self.c.region_changes += 1
        self.retire(self.table)
        self.table = None

    cpdef RegionTable snapshot(self):
        """The sorted table of all regions, made when it is first needed; only runs ask for it.

        Making it lets other threads in: what they changed meanwhile must not be missing.
        """
        cdef RegionTable table = self.table
        cdef uint64_t changes
        while table is None:
            changes = self.c.region_changes
            table = RegionTable(self.regions.values(), changes)
            if changes == self.c.region_changes:
                self.table = table
            else:
                table = self.table
        return table

    # --- what runs may still touch ---

    def retire(self, object):
        """Keep `object` alive until no run is active."""
        if self.c.active_runs and object is not None:
            self.retired.append(object)

    cdef void begin_run(self) noexcept:
        self.c.active_runs += 1

    cdef void end_run(self):
        self.c.active_runs -= 1
        if not self.c.active_runs and self.retired:
            self.retired = []

    # --- helpers ---

    def set_helper(self, id, address):
        """Register the C function at `address` (a bpf_helper_t) as helper `id`; 0: none."""
        if not 0 < id < HELPERS:
            raise ValueError(f"helper id {id}")
        self.c.helpers[id] = <bpf_helper_t> <uintptr_t> address

    def set_python_helper(self, id, function):
        """Register `function(r1, r2, r3, r4, r5, run) -> int | None` as helper `id`."""
        if not 0 < id < HELPERS:
            raise ValueError(f"helper id {id}")
        self.python_helpers[id] = function
        self.c.helpers[id] = python_helper

    # --- clock, random numbers, task ---

    def random(self):
        """The next 64 random bits."""
        return next_random(&self.c)

    @property
    def state_address(self):
        """Address of the native kernel_state."""
        return <uint64_t> &self.c

    @property
    def task_address(self):
        """Address of the native task_info: the task that runs see as current."""
        return <uint64_t> &self.task

    @property
    def ncpus(self):
        """Number of possible CPUs."""
        return self.c.ncpus

    @property
    def clock_ns(self):
        """CLOCK_MONOTONIC of the virtual clock, in nanoseconds."""
        return self.c.clock_ns

    @clock_ns.setter
    def clock_ns(self, value):
        self.c.clock_ns = value

    @property
    def clock_step_ns(self):
        """How far every reading moves the clock, in nanoseconds."""
        return self.c.clock_step_ns

    @clock_step_ns.setter
    def clock_step_ns(self, value):
        self.c.clock_step_ns = value

    def set_clock_offsets(self, *, boot=None, real=None, tai=None):
        """Offsets of the other clocks from CLOCK_MONOTONIC, in nanoseconds."""
        if boot is not None:
            self.c.boot_offset_ns = boot
        if real is not None:
            self.c.real_offset_ns = real
        if tai is not None:
            self.c.tai_offset_ns = tai

    @property
    def stats_enabled(self):
        """Whether programs count their runs and time."""
        return bool(self.c.stats_enabled)

    @stats_enabled.setter
    def stats_enabled(self, value):
        self.c.stats_enabled = bool(value)

    def set_task(self, *, pid=1, tgid=1, uid=0, gid=0, comm="anybpf", cgroup_id=1):
        """The task that programs see as current; `comm` is cut to 15 bytes."""
        cdef bytes name = comm.encode()[:15]
        self.task.pid, self.task.tgid = pid, tgid
        self.task.uid, self.task.gid = uid, gid
        self.task.cgroup_id = cgroup_id
        memset(self.task.comm, 0, 16)
        memcpy(self.task.comm, <const char *> name, len(name))


cdef uint32_t program_rights(uint32_t map_flags):
    """What programs may do with a map's values (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG)."""
    if map_flags & uapi.BPF_F_RDONLY_PROG:
        return REGION_READ
    return REGION_WRITE if map_flags & uapi.BPF_F_WRONLY_PROG else REGION_READ | REGION_WRITE
