"""The guest's kernel as a backend: what `Linux` does here, `Guest` does there (linux/syscall.py).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from types import TracebackType
from typing import NamedTuple

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.linux.syscall import KERNEL_BTF, find_symbols, parse_cpu_list
from guest import fetch, pointers, remote, vm
from guest.initramfs import NoGuest
from guest.marshal import Marshal, Struct, rows_of
from guest.pointers import MapShape
from guest.remote import Remote
from guest.wire import Answer, Call, Result, Segment

POSSIBLE_CPUS = "/sys/devices/system/cpu/possible"
MAP_FIXED_NOREPLACE = 0x100000
UTSNAME = 65
UNAME = 63
CLOEXEC_DUP = 1030
#: `config1` of a perf event of these sources points to a name
NAMED_EVENTS = ("kprobe", "uprobe")
EVENT_TYPE, EVENT_NAME = struct.Struct("<I"), (56, 64)
NO_MAP = MapShape()
#: programs that are judged with one question: their logs of 16 MiB must fit in the agent's area
AT_ONCE = 32


class GuestMemory:
    """`size` bytes of a map as the guest's process has them mapped, by slices as an `mmap`."""

    def __init__(self, there: Remote, address: int, size: int) -> None:
        self._there, self._address, self._size = there, address, size

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> GuestMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __getitem__(self, where: slice) -> bytes:
        start, end, _ = where.indices(self._size)
        return self._there.peek(self._checked + start, end - start)

    def __setitem__(self, where: slice, data: bytes) -> None:
        start, end, _ = where.indices(self._size)
        if end - start != len(data):
            raise IndexError("mmap slice assignment is wrong size")
        self._there.poke(self._checked + start, bytes(data))

    @property
    def address(self) -> int:
        """Where it is in the guest's process. Raises ValueError once it is unmapped."""
        return self._checked

    @property
    def _checked(self) -> int:
        if not self._address:
            raise ValueError("the memory is not mapped any more")
        return self._address

    def close(self) -> None:
        """Unmap; harmless if that is done."""
        if self._address:
            self._there.syscall(remote.MUNMAP, self._address, self._size)
            self._address = 0


class File(NamedTuple):
    """What a descriptor is: its name in /proc/self/fd, and the shape where it is a map."""

    kind: str
    shape: MapShape


class Prepared(NamedTuple):
    """A bpf(2) call with its memory."""

    marshal: Marshal
    mine: Segment
    attr: bytearray
    call: Call

    def finish(self, answer: Answer) -> int:
        """Write what came back into this process's memory; the call's result."""
        self.attr[:] = self.marshal.restored(self.mine, answer.memory[self.mine])
        self.marshal.write_back(answer)
        return answer.value


@cache
def possible_cpus(there: Remote) -> int:
    """How many CPUs the guest may ever have."""
    return parse_cpu_list(there.read_file(POSSIBLE_CPUS).decode())


class Guest:
    """A kernel in a guest as a backend; file descriptors and ids are the guest's.

    Boots a guest for this process, or uses the one that `guest start` left running. Raises
    NoGuest with the reason where there is none.
    """

    name = "guest"

    def __init__(self, there: Remote | None = None) -> None:
        self.there = there or shared()
        self.num_possible_cpus = possible_cpus(self.there)

    @classmethod
    def probe(cls) -> str | None:
        """Why there is no guest, or None."""
        try:
            shared()
        except NoGuest as e:
            return str(e)
        return None

    # -- bpf(2)

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """Call bpf(2) in the guest: what `attr` points to goes there and what it wrote comes back.

        Raises BpfError with the guest's error number.
        """
        prepared = self._prepare(cmd, attr)
        value = prepared.finish(self.there.calls([prepared.call])[0])
        if value < 0:
            raise BpfError(-value)
        return self.opened(value) if cmd in pointers.OPENS else value

    def judge(self, attrs: Iterable[bytearray]) -> Iterator[int]:
        """Load programs and close them again, many with one question to the guest.

        Gives each one's error number, 0 where it loads; `attrs` are as for BPF_PROG_LOAD, and
        their logs are written.
        """
        waiting = iter(attrs)
        while some := list(islice(waiting, AT_ONCE)):
            prepared = [self._prepare(uapi.BPF_PROG_LOAD, attr) for attr in some]
            calls = [call for number, one in enumerate(prepared)
                     for call in (one.call, Call(remote.CLOSE, [Result(2 * number)]))]
            answers = self.there.calls(calls)[::2]
            yield from (max(-one.finish(answer), 0)
                        for one, answer in zip(prepared, answers, strict=True))

    def _prepare(self, cmd: int, attr: bytearray) -> Prepared:
        marshal, mine = Marshal(), Segment(bytes(attr), answered=True)
        marshal.segment(mine)
        given = self._struct("bpf_attr", bytes(attr))
        if cmd == uapi.BPF_OBJ_GET_INFO_BY_FD:
            self._info(marshal, mine, given)
        marshal.follow(mine, given, rows_of(cmd, given))
        return Prepared(marshal, mine, attr, marshal.call(cmd, mine))

    def _struct(self, name: str, data: bytes) -> Struct:
        return Struct(name, data, self._shape, self.num_possible_cpus)

    def _info(self, marshal: Marshal, attr: Segment, given: Struct) -> None:
        """The info goes along, with what it points to."""
        fd, address = given["info.bpf_fd"], given["info.info"]
        where = given.place("info.info")[0]
        info = marshal.take_inout(address, given["info.info_len"])
        if info is None:
            if address:
                marshal.forbid(attr, where)
            return
        marshal.point(attr, where, info)
        kind, rows = pointers.INFO.get(self._file(fd).kind, ("", ()))
        if kind == "bpf_link_info":
            rows = pointers.LINK_INFO.get(self._own_info(fd)[0], ())
        if kind:
            marshal.follow(info, self._struct(kind, info.data), rows)

    def _own_info(self, fd: int) -> tuple[int, ...]:
        """The first numbers of an object's info; zeros where it cannot be had."""
        info = Segment(bytes(64), answered=True)
        attr = Segment(struct.pack("<IIQ", fd, info.size, 0))
        marshal = Marshal()
        marshal.segment(attr)
        marshal.point(attr, 8, marshal.segment(info))
        answer = self.there.calls([marshal.call(uapi.BPF_OBJ_GET_INFO_BY_FD, attr)])[0]
        return struct.unpack("<16I", answer.memory[info] if not answer.value else bytes(64))

    def _file(self, fd: int) -> File:
        """What a descriptor is."""
        found = self.there.files.get(fd)
        if not isinstance(found, File):
            found = self._ask_file(fd)
            if fd in self.there.files:          # else it may become another file unseen
                self.there.files[fd] = found
        return found

    def _ask_file(self, fd: int) -> File:
        kind = self.there.readlink(f"/proc/self/fd/{fd}")
        kind = kind.removeprefix("anon_inode:").strip("[]")
        if kind != "bpf-map":
            return File(kind, NO_MAP)
        map_type, _, key_size, value_size = self._own_info(fd)[:4]
        return File(kind, MapShape(map_type, key_size, value_size))

    def _shape(self, fd: int) -> MapShape:
        return self._file(fd).shape

    # -- descriptors and files

    def close(self, fd: int) -> None:
        """Give the file descriptor back. Raises BpfError (EBADF)."""
        if fd in self.there.files:              # closing cannot fail, and can wait
            del self.there.files[fd]
            self.there.later(Call(remote.CLOSE, [fd]))
        else:
            self.there.syscall(remote.CLOSE, fd)

    def dup(self, fd: int) -> int:
        """Another descriptor for the same object. Raises BpfError (EBADF)."""
        return self.opened(self.there.syscall(remote.FCNTL, fd, CLOEXEC_DUP, 0))

    def opened(self, fd: int) -> int:
        """Take a descriptor that was just opened in the guest as this backend's."""
        self.there.files[fd] = None
        return fd

    def mkdir(self, path: str) -> None:
        """A new directory in the guest's bpffs, for pins. Raises BpfError."""
        self.there.syscall(remote.MKDIR, remote.text(path), 0o700)

    def unlink(self, path: str) -> None:
        """Take a pin away. Raises BpfError (ENOENT, EPERM)."""
        self.there.syscall(remote.UNLINK, remote.text(path))

    # -- memory and events

    def mmap(self, fd: int, size: int, *, offset: int = 0, writable: bool = True) -> GuestMemory:
        """Map `size` bytes of a map (or perf event), shared. Raises BpfError."""
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        address = self.there.syscall(remote.MMAP, 0, size, prot, mmap.MAP_SHARED, fd, offset)
        return GuestMemory(self.there, address, size)

    def mmap_at(self, fd: int, size: int, address: int) -> GuestMemory:
        """Map a map's memory at an address of the caller's choice, shared and writable.

        Raises BpfError: EEXIST if something else is mapped there.
        """
        found = self.there.syscall(remote.MMAP, address, size, mmap.PROT_READ | mmap.PROT_WRITE,
                                   mmap.MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0)
        if found != address:
            raise BpfError(errno.EEXIST)
        return GuestMemory(self.there, address, size)

    def perf_event_open(self, attr: bytes, pid: int, cpu: int) -> int:
        """perf_event_open(2) with a close-on-exec descriptor. Raises BpfError."""
        marshal, mine = Marshal(), Segment(bytes(attr))
        marshal.segment(mine)
        name = int.from_bytes(attr[slice(*EVENT_NAME)], "little")
        if name and EVENT_TYPE.unpack_from(attr)[0] in self._named_events():
            marshal.point_at(mine, EVENT_NAME[0], name, pointers.PATH_MAX, pointers.STRING)
        call = Call(remote.PERF_EVENT_OPEN, [mine, pid, cpu, -1, 8], marshal.segments,
                    marshal.patches)
        return self.opened(self.there.ask(call).value)

    def _named_events(self) -> set[int]:
        found = set()
        for name in NAMED_EVENTS:
            with contextlib.suppress(BpfError):
                found.add(int(self._text(f"/sys/bus/event_source/devices/{name}/type")))
        return found

    # -- what the kernel says about itself

    def _text(self, path: str) -> str:
        return self.there.read_file(path).decode("utf-8", "replace")

    @property
    def release(self) -> str:
        """What `uname -r` says in the guest."""
        names = Segment(size=6 * UTSNAME, answered=True)
        answer = self.there.ask(Call(UNAME, [names]))
        return answer.memory[names][2 * UTSNAME:3 * UTSNAME].rstrip(b"\0").decode()

    @property
    def kernel_version(self) -> tuple[int, int, int]:
        """Such as (6, 18, 15)."""
        major, minor, patch = [*fetch.numbers(self.release)[:3], 0, 0, 0][:3]
        return major, minor, patch

    @property
    def kernel(self) -> fetch.Kernel:
        """The package that the guest was booted from."""
        return fetch.Kernel(fetch.cache() / "kernels" / self.release, self.release)

    def kernel_btf(self) -> bytes:
        """The guest kernel's BTF; kept in the cache once it was read."""
        kept = self.kernel.btf
        if not kept.exists():
            content = self.there.read_file(KERNEL_BTF)
            spare = kept.with_name(f"{kept.name}.{os.getpid()}")
            spare.write_bytes(content)
            spare.replace(kept)
        return kept.read_bytes()

    def kernel_config(self) -> str:
        """The kernel's configuration as text."""
        return self.kernel.config.read_text()

    def symbol_address(self, name: str) -> int | None:
        """The address of a kernel symbol, None if there is none."""
        found = self.symbol_addresses([name]).get(name)
        return found[0] if found else None

    def symbol_addresses(self, names: Iterable[str]) -> dict[str, list[int]]:
        """All addresses of each kernel symbol that there is."""
        return find_symbols(self.there.read_file("/proc/kallsyms"), names)


# -- the guest of this process

_shared: list[Remote] = []


def shared() -> Remote:
    """The one connection of this process; the guest is booted for it unless one runs.

    Raises NoGuest.
    """
    if not _shared:
        place = vm.default_place()
        stack = contextlib.ExitStack()
        stack.enter_context(vm.locked(place))
        if not place.pid:
            vm.start(place)
            stack.callback(vm.stop, place)
        _shared.append(vm.connect(place))
        stack.callback(_shared[0].close)
        atexit.register(stack.close)
    return _shared[0]
