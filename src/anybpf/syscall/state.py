"""What bpf(2) works on in one Machine: tables of objects, the caller, the native kernel."""

from __future__ import annotations

from errno import EINVAL
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from anybpf import uapi
from anybpf.core.interpreter import DEFAULT_BUDGET
from anybpf.errors import BpfError
from anybpf.syscall.fds import FileTable
from anybpf.syscall.ids import Ids, KernelObject
from anybpf.syscall.inode import BpfFs
from anybpf.syscall.memory import UserMemory
from anybpf.syscall.objects import BtfObject, MapObject, ProgObject

if TYPE_CHECKING:
    from anybpf.core.kernel import Kernel
    from anybpf.core.run_ctx import RunCtx

K = TypeVar("K", bound=KernelObject)


class TraceLine(NamedTuple):
    """One bpf_trace_printk: program name, text without newline at its end, time, CPU."""

    program: str
    text: str
    time_ns: int
    cpu: int


def refuse_token(state: State, fd: int) -> None:
    """Nobody can make a BPF token here: what a caller gives as one is closed or no token."""
    state.files[fd & uapi.U32]
    raise BpfError(EINVAL, "not a token")


class State:
    """One kernel's tables. `memory` is the caller's; `kernel` runs the programs."""

    def __init__(self, kernel: Kernel, memory: UserMemory, *, checked: bool, seed: int,
                 verify: bool = True) -> None:
        self.kernel = kernel
        self.seed = seed
        self.memory = memory
        self.checked = checked
        #: whether programs are verified when they are loaded
        self.verify = verify
        self.lock = RLock()
        self.files = FileTable()
        self.progs: Ids[ProgObject] = Ids()
        self.maps: Ids[MapObject] = Ids()
        self.btfs: Ids[BtfObject] = Ids()
        self.bpffs = BpfFs()
        #: user id of the caller
        self.uid = 0
        self.trace: list[TraceLine] = []
        #: the last test run, with what it redirected and sent
        self.last_run: RunCtx | None = None
        #: instructions that one checked run may execute
        self.budget = DEFAULT_BUDGET
        self._stats_users = 0

    def enable_stats(self, change: int) -> None:
        """One more (1) or less (-1) open descriptor of BPF_ENABLE_STATS."""
        self._stats_users += change
        self.kernel.stats_enabled = self._stats_users > 0

    def object(self, fd: int, kind: type[K]) -> K:
        """The open object; EBADF where the number is not open, EINVAL where it is another kind."""
        found = self.files[fd].object
        if not isinstance(found, kind):
            raise BpfError(EINVAL, f"file {fd} is a {type(found).__name__}, not a {kind.__name__}")
        return found

    def close(self) -> None:
        """Let everything go."""
        self.last_run = None
        self.files.close_all()
        self.bpffs.clear()
