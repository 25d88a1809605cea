"""bpf(2), mmap(2) and close(2) of the running kernel through ctypes (kernel/bpf/syscall.c)."""

from __future__ import annotations

import ctypes
import errno
import gzip
import mmap
import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from anybpf import uapi
from anybpf.errors import BpfError

#: the number of bpf(2) and of perf_event_open(2), by machine
SYSCALLS = {"x86_64": (321, 298), "aarch64": (280, 241), "arm64": (280, 241), "riscv64": (280, 241)}
POSSIBLE_CPUS = "/sys/devices/system/cpu/possible"
KERNEL_BTF = "/sys/kernel/btf/vmlinux"
PERF_FLAG_FD_CLOEXEC = 8
MAP_FIXED_NOREPLACE = 0x100000
#: the kernel's bpf_prog_load answers EAGAIN while a signal is pending; libbpf tries so often
ATTEMPTS = 5


def parse_cpu_list(text: str) -> int:
    """The number of CPUs in a list such as `"0-3,8"`: as many as its highest number plus one."""
    last = text.strip().split(",")[-1].split("-")[-1]
    return int(last) + 1


def possible_cpus() -> int:
    """How many CPUs this kernel may ever have: the length of a per-CPU value."""
    try:
        return parse_cpu_list(Path(POSSIBLE_CPUS).read_text())
    except (OSError, ValueError):
        return os.cpu_count() or 1


class FixedMemory:
    """`size` bytes of a map at a fixed address, by slices as an `mmap.mmap`; close it."""

    def __init__(self, libc: ctypes.CDLL, fd: int, size: int, address: int) -> None:
        self._libc, self._size = libc, size
        libc.mmap.restype, libc.munmap.restype = ctypes.c_void_p, ctypes.c_int
        ctypes.set_errno(0)
        flags = mmap.MAP_SHARED | MAP_FIXED_NOREPLACE
        found = libc.mmap(ctypes.c_void_p(address), ctypes.c_size_t(size),
                          mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, ctypes.c_long(0))
        if found != address:
            raise BpfError(ctypes.get_errno() or errno.EEXIST)
        self._address = address
        self._view: memoryview | None = memoryview(
            (ctypes.c_char * size).from_address(address)).cast("B")

    @property
    def _bytes(self) -> memoryview:
        if self._view is None:
            raise ValueError("the memory is not mapped any more")
        return self._view

    def __getitem__(self, where: slice) -> bytes:
        return bytes(self._bytes[where])

    def __setitem__(self, where: slice, data: bytes) -> None:
        self._bytes[where] = data

    def close(self) -> None:
        """Unmap; harmless if that is done."""
        if self._view is not None:
            self._view = None
            self._libc.munmap(ctypes.c_void_p(self._address), ctypes.c_size_t(self._size))


class Linux:
    """The running kernel as a backend: the binary attr goes to syscall(2) unchanged.

    Raises OSError on a system that is not Linux or whose syscall numbers are not known here; ask
    `Linux.probe()` first for a reason in words.
    """

    name = "linux"

    def __init__(self) -> None:
        reason = self._unsupported()
        if reason:
            raise OSError(errno.ENOSYS, reason)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long
        self._bpf, self._perf_event_open = SYSCALLS[platform.machine()]
        self.num_possible_cpus = possible_cpus()

    @staticmethod
    def _unsupported() -> str | None:
        if sys.platform != "linux":
            return f"bpf(2) is Linux only, this is {sys.platform}"
        if platform.machine() not in SYSCALLS:
            return f"the number of bpf(2) on {platform.machine()} is not known"
        return None

    @classmethod
    def probe(cls) -> str | None:
        """Why bpf(2) cannot be used here, or None: creates and closes the smallest array map."""
        reason = cls._unsupported()
        if reason:
            return reason
        attr = bytearray(72)
        attr[0:16] = b"".join(x.to_bytes(4, sys.byteorder)
                              for x in (uapi.BPF_MAP_TYPE_ARRAY, 4, 4, 1))
        kernel = cls()
        try:
            kernel.close(kernel.bpf(uapi.BPF_MAP_CREATE, attr))
        except BpfError as e:
            return f"bpf(2) is refused: {e.strerror} ({e.name})"
        return None

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """Call bpf(2). `attr` is updated in place; the answer is what the call returns (>= 0).

        Raises BpfError with the kernel's error number.
        """
        buffer = (ctypes.c_char * len(attr)).from_buffer(attr)
        for _ in range(ATTEMPTS):
            answer = self._call(self._bpf, ctypes.c_long(cmd), buffer, ctypes.c_ulong(len(attr)))
            if answer != -errno.EAGAIN or cmd != uapi.BPF_PROG_LOAD:
                break
        if answer < 0:
            raise BpfError(-answer)
        return answer

    def _call(self, number: int, *args: object) -> int:
        """syscall(2): the answer, or the negative error number."""
        ctypes.set_errno(0)
        answer = int(self._libc.syscall(ctypes.c_long(number), *args))
        return -ctypes.get_errno() if answer < 0 else answer

    def close(self, fd: int) -> None:
        """Give the file descriptor back. Raises BpfError (EBADF)."""
        try:
            os.close(fd)
        except OSError as e:
            raise BpfError(e.errno or errno.EBADF) from None

    def dup(self, fd: int) -> int:
        """Another descriptor for the same object. Raises BpfError (EBADF)."""
        try:
            return os.dup(fd)
        except OSError as e:
            raise BpfError(e.errno or errno.EBADF) from None

    def mkdir(self, path: str) -> None:
        """A new directory in a bpffs, for pins. Raises BpfError."""
        try:
            os.mkdir(path, 0o700)
        except OSError as e:
            raise BpfError(e.errno or errno.EINVAL) from None

    def unlink(self, path: str) -> None:
        """Take a pin away. Raises BpfError (ENOENT, EPERM)."""
        try:
            os.unlink(path)
        except OSError as e:
            raise BpfError(e.errno or errno.EINVAL) from None

    def mmap(self, fd: int, size: int, *, offset: int = 0, writable: bool = True) -> mmap.mmap:
        """Map `size` bytes of a map (or perf event) into this process, shared.

        Raises BpfError with mmap(2)'s error number.
        """
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        try:
            return mmap.mmap(fd, size, mmap.MAP_SHARED, prot, offset=offset)
        except OSError as e:
            raise BpfError(e.errno or errno.EINVAL) from None

    def mmap_at(self, fd: int, size: int, address: int) -> FixedMemory:
        """Map a map's memory at an address of the caller's choice, shared and writable.

        Raises BpfError: EEXIST if something else is mapped there.
        """
        return FixedMemory(self._libc, fd, size, address)

    def perf_event_open(self, attr: bytes, pid: int, cpu: int) -> int:
        """perf_event_open(2) with a close-on-exec descriptor. Raises BpfError."""
        buffer = ctypes.create_string_buffer(attr, len(attr))
        answer = self._call(self._perf_event_open, buffer, ctypes.c_int(pid), ctypes.c_int(cpu),
                            ctypes.c_int(-1), ctypes.c_ulong(PERF_FLAG_FD_CLOEXEC))
        if answer < 0:
            raise BpfError(-answer)
        return answer

    # what the kernel says about itself

    def kernel_btf(self) -> bytes | None:
        """The kernel's own BTF, None if it has none."""
        return read_or_none(KERNEL_BTF)

    @property
    def kernel_version(self) -> tuple[int, int, int]:
        """Such as (6, 18, 0)."""
        numbers = [int(n) for n in re.findall(r"\d+", platform.release())[:3]]
        major, minor, patch = [*numbers, 0, 0, 0][:3]
        return major, minor, patch

    def kernel_config(self) -> str:
        """The kernel's configuration as text, "" where it is not published."""
        packed = read_or_none("/proc/config.gz")
        if packed is not None:
            return gzip.decompress(packed).decode("utf-8", "replace")
        return (read_or_none(f"/boot/config-{platform.release()}") or b"").decode("utf-8",
                                                                                "replace")

    def symbol_address(self, name: str) -> int | None:
        """The address of a kernel symbol, None if there is none; 0 where they are hidden."""
        found = self.symbol_addresses([name]).get(name)
        return found[0] if found else None

    def symbol_addresses(self, names: Iterable[str]) -> dict[str, list[int]]:
        """All addresses of each kernel symbol that there is; 0 where they are hidden.

        Linking by LLVM may add a number to the name of data, as in `name.llvm.123`.
        """
        return find_symbols(read_or_none("/proc/kallsyms") or b"", names)


def find_symbols(listing: bytes, names: Iterable[str]) -> dict[str, list[int]]:
    """All addresses of each of the `names` that /proc/kallsyms lists."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, list[int]] = {}
    for line in listing.splitlines():
        address, kind, symbol = line.split(None, 3)[:3]
        if kind == b"d" and b".llvm." in symbol:
            symbol = symbol.partition(b".llvm.")[0]
        name = wanted.get(symbol)
        if name is not None:
            found.setdefault(name, []).append(int(address, 16))
    return found


def read_or_none(path: str) -> bytes | None:
    """A file's bytes, None if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return None
