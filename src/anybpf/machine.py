"""A Machine: one Linux kernel's BPF subsystem in memory (kernel/bpf/).

It answers bpf(2) as the kernel does, with clock, CPUs, random numbers and current task of its own.
There are no globals: two Machines never meet.
"""

from __future__ import annotations

import errno
import struct
import weakref
from functools import cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self

from anybpf import helpers, syscall, uapi
from anybpf.btf import addresses
from anybpf.btf.builtin import builtin
from anybpf.core.kernel import Kernel
from anybpf.errors import BpfError, NotSupported
from anybpf.maps.perf_event import PerfEvent
from anybpf.syscall.memory import OwnMemory, UserMemory
from anybpf.syscall.objects import BtfObject, MapObject, PerfEventObject, ProgObject
from anybpf.syscall.state import State, TraceLine

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Mapping

    from anybpf.attach.bpf_lirc import Receiver
    from anybpf.btf.parse import Btf
    from anybpf.core.prog import Prog
    from anybpf.core.run_ctx import RunCtx
    from anybpf.maps import Map

#: the beginning of struct perf_event_attr: type, size, config
_PERF_ATTR = struct.Struct("<IIQ")
_PERF_TYPE_SOFTWARE = 1
_PERF_COUNT_SW_BPF_OUTPUT = 10


@cache
def _helper_addresses() -> dict[int, int]:
    """Where the helpers' code lies: the same for every Machine of the process."""
    return helpers.addresses()


def _types(btf: Btf | str | None) -> Btf | None:
    if not isinstance(btf, str):
        return btf
    if btf != "builtin":
        raise ValueError(f'btf is a Btf, None or "builtin", not {btf!r}')
    return builtin()


def _let_go(state: State, programs: list[ProgObject]) -> None:
    with state.lock:
        for prog in programs:
            prog.put()


class Loaded(Protocol):
    """Whatever holds a descriptor, such as a program of `libbpf.Object`; None: not loaded."""

    @property
    def fd(self) -> int | None: ...


class Task(NamedTuple):
    """The task that programs see as current."""

    pid: int = 1
    tgid: int = 1
    uid: int = 0
    gid: int = 0
    comm: str = "anybpf"
    cgroup_id: int = 1


class Machine:
    """One kernel in memory; a `Backend` for everything that talks bpf(2).

    `cpus` is the number of possible CPUs, `seed` fixes every random number, `btf` is the kernel's
    own BTF (None: it has none; "builtin": the few common types of `anybpf.btf.builtin`),
    `modules` the types of its modules by name, each `Btf(data, base=btf)`,
    `verify` refuses programs that the kernel's verifier refuses, in its words; `checked` runs
    programs with every memory access tested.
    `shutdown`, or the end of a `with` block, frees everything; a Machine that is just forgotten is
    freed like any other object.
    """

    name = "machine"
    #: the release that it answers like
    kernel_version = (6, 18, 0)

    def __init__(self, *, cpus: int = 4, seed: int = 0, btf: Btf | Literal["builtin"] | None = None,
                 checked: bool = True, verify: bool = True,
                 memory: UserMemory | None = None,
                 modules: Mapping[str, Btf] | None = None) -> None:
        self.kernel = Kernel(ncpus=cpus, seed=seed)
        for number, address in _helper_addresses().items():
            self.kernel.set_helper(number, address)
        self._state = State(self.kernel, memory or OwnMemory(), checked=checked, seed=seed,
                            verify=verify)
        self._task = Task()
        self._btf = _types(btf)
        if self._btf is not None:
            BtfObject(self._state.btfs, self._btf, self._btf.to_bytes(), "vmlinux").get()
        self._modules = dict(modules or {})
        for module, types in self._modules.items():
            if types.base is None or types.base is not self._btf:
                raise ValueError(f"the types of module {module} lie on top of others than `btf`")
            BtfObject(self._state.btfs, types, types.to_bytes(), module).get()

    # -- the backend protocol

    @property
    def num_possible_cpus(self) -> int:
        """How many copies a per-CPU value has."""
        return int(self.kernel.ncpus)

    def bpf(self, cmd: int, attr: bytes | bytearray | memoryview) -> int:
        """bpf(2): `attr` is the binary union, changed in place; pointers are real addresses.

        Returns what the system call returns. Raises BpfError with the kernel's errno, Fault where
        a program under test does what it must not, NotSupported for commands not modelled.
        """
        return syscall.bpf(self._state, cmd, attr)

    def close(self, fd: int) -> None:
        """Close a descriptor. Raises BpfError (EBADF)."""
        with self._state.lock:
            self._state.files.close(fd)

    def shutdown(self) -> None:
        """Close every descriptor and pin: nothing of this kernel is left. May be repeated."""
        with self._state.lock:
            self._state.close()

    def dup(self, fd: int) -> int:
        """Another descriptor for the same object."""
        with self._state.lock:
            return self._state.files.dup(fd)

    def mkdir(self, path: str) -> None:
        """A new directory in this Machine's bpffs, for pins. Raises BpfError."""
        with self._state.lock:
            self.bpffs.mkdir(path)

    def unlink(self, path: str) -> None:
        """Take a pin away. Raises BpfError (ENOENT)."""
        with self._state.lock:
            self.bpffs.unlink(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.shutdown()

    def kernel_btf(self) -> bytes | None:
        """This kernel's own BTF, None if it was given none."""
        return None if self._btf is None else self._btf.to_bytes()

    def symbol_addresses(self, names: Iterable[str]) -> dict[str, list[int]]:
        """Addresses of the kernel's functions and variables that its BTF names.

        Nothing lies there; they are the same in every Machine with this BTF.
        """
        return addresses.made_up(names, (self._btf, *self._modules.values()))

    def mmap(self, fd: int, size: int, *, offset: int = 0, writable: bool = True) -> mmap.mmap:
        """mmap(2) of a map with BPF_F_MMAPABLE or a ring buffer; BpfError as the kernel's."""
        mapped: mmap.mmap = self.map_of(fd).mmap(size, offset=offset, writable=writable)
        return mapped

    def perf_event_open(self, attr: bytes, pid: int, cpu: int) -> int:
        """perf_event_open(2) for what BPF programs send records to: a new descriptor.

        `attr` is struct perf_event_attr; only PERF_COUNT_SW_BPF_OUTPUT on one CPU is modelled.
        """
        if len(attr) < _PERF_ATTR.size:
            raise BpfError(errno.EINVAL, "struct perf_event_attr cut short")
        kind, _, config = _PERF_ATTR.unpack_from(attr)
        if (kind, config) != (_PERF_TYPE_SOFTWARE, _PERF_COUNT_SW_BPF_OUTPUT) or pid != -1:
            raise NotSupported("perf events that are not output of BPF programs on a CPU")
        if not 0 <= cpu < self.num_possible_cpus:
            raise BpfError(errno.EINVAL, f"no CPU {cpu}")
        with self._state.lock:
            return self._state.files.install(PerfEventObject(PerfEvent(cpu)))

    def perf_event_of(self, fd: int) -> PerfEvent:
        """The perf event behind a descriptor: `.records()`, `.lost`."""
        return self._state.object(fd, PerfEventObject).event

    # -- what is behind descriptors

    def map_of(self, fd: int) -> Map:
        """The map behind a descriptor. BpfError EBADF or EINVAL."""
        return self._state.object(fd, MapObject).map

    def perf_event(self, cpu: int) -> PerfEvent:
        """A new BPF output event of one CPU, for `map_of(fd).update_object(key, event)`."""
        return PerfEvent(cpu)

    def prog_of(self, fd: int) -> Prog:
        """The native program behind a descriptor. BpfError EBADF or EINVAL."""
        return self._state.object(fd, ProgObject).native

    @property
    def open_fds(self) -> tuple[int, ...]:
        """All open descriptors."""
        return tuple(self._state.files)

    @property
    def bpffs(self) -> syscall.BpfFs:
        """The bpf file system, mounted at /sys/fs/bpf for this Machine alone."""
        return self._state.bpffs

    # -- where programs are attached

    def lirc_receiver(self, *programs: Loaded) -> Receiver:
        """A new infrared receiver: `.receive(samples)` gives the keys that the programs decode.

        What they print is in `trace`. The receiver holds the programs: they may be closed.
        Raises BpfError as the receiver and `prog_of` do.
        """
        from anybpf.attach.bpf_lirc import Receiver
        from anybpf.syscall.test_run import observe

        state = self._state
        with state.lock:
            held = [state.object(-1 if p.fd is None else p.fd, ProgObject) for p in programs]
            receiver = Receiver(self.kernel, [prog.native for prog in held],
                                checked=state.checked, budget=state.budget,
                                observer=partial(observe, state))
            for prog in held:
                prog.get()
        weakref.finalize(receiver, _let_go, state, held).atexit = False
        return receiver

    # -- what programs see and say

    @property
    def trace(self) -> list[TraceLine]:
        """What programs printed with bpf_trace_printk, oldest first."""
        return self._state.trace

    def take_trace(self) -> list[TraceLine]:
        """The same, and forget it."""
        taken, self._state.trace = self._state.trace, []
        return taken

    @property
    def last_run(self) -> RunCtx | None:
        """The last test run: `.redirect`, `.perf`, `.tail_calls`."""
        return self._state.last_run

    @property
    def budget(self) -> int:
        """How many instructions one checked run may execute before it ends with a Fault."""
        return self._state.budget

    @budget.setter
    def budget(self, value: int) -> None:
        if not 0 <= value <= uapi.U64:
            raise ValueError(f"a budget of {value} instructions")
        self._state.budget = value

    @property
    def clock_ns(self) -> int:
        """CLOCK_MONOTONIC of this Machine, in nanoseconds; it moves with every reading only."""
        return int(self.kernel.clock_ns)

    @clock_ns.setter
    def clock_ns(self, value: int) -> None:
        self.kernel.clock_ns = value

    @property
    def task(self) -> Task:
        """The task that programs see as current; assign another one to change it."""
        return self._task

    @task.setter
    def task(self, task: Task) -> None:
        self.kernel.set_task(**task._asdict())
        self._task = task
        self._state.uid = task.uid
