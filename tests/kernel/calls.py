"""bpf(2) by field names, the same for every backend, with the objects that a caller needs."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import struct
from collections.abc import Iterable
from typing import Any, Protocol

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.isa.build import exit_insn, mov64_imm
from anybpf.isa.insn import Insn, encode
from anybpf.syscall.attr import FIELDS, SIZE

#: an address that no process has mapped
BAD = 8
#: a descriptor that nobody has open
CLOSED = 999
RETURN_1 = (mov64_imm(0, 1), exit_insn())


class Backend(Protocol):
    """Answers bpf(2)."""

    def bpf(self, cmd: int, attr: bytearray) -> int: ...

    def close(self, fd: int) -> None: ...


class Calls:
    """One caller of one backend: keeps buffers alive and closes what it opened."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.buffers: list[Any] = []
        self.fds: list[int] = []
        self.attr = bytearray(SIZE)

    def close(self) -> None:
        """Close every descriptor that is still open."""
        for fd in self.fds:
            with contextlib.suppress(BpfError):
                self.backend.close(fd)

    # -- memory

    def buffer(self, data: bytes | int) -> Any:
        """A buffer with these bytes (or so many zeros) that lives as long as the caller."""
        size = data if isinstance(data, int) else len(data)
        made = ctypes.create_string_buffer(size)
        if isinstance(data, bytes):
            ctypes.memmove(made, data, size)
        self.buffers.append(made)
        return made

    def pointer(self, data: bytes | int) -> int:
        """The address of such a buffer."""
        return ctypes.addressof(self.buffer(data))

    def at_page_end(self, data: bytes) -> int:
        """An address whose bytes end where the next page is not mapped."""
        area = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(area))
        self.buffers.append(area)
        libc = ctypes.CDLL(None)
        libc.mprotect(ctypes.c_void_p(start + mmap.PAGESIZE), mmap.PAGESIZE, 0)
        address = start + mmap.PAGESIZE - len(data)
        ctypes.memmove(address, data, len(data))
        return address

    # -- calls

    def raw(self, cmd: int, attr: bytes | bytearray) -> int | str:
        """The answer to a binary attr: the value, or the name of the errno."""
        self.attr = bytearray(attr)
        try:
            return self.backend.bpf(cmd, self.attr)
        except BpfError as error:
            return error.name

    def packed(self, fields: dict[str, Any], size: int = SIZE) -> bytearray:
        """A union with these fields; bytes become pointers, or names where the field is one."""
        attr = bytearray(SIZE)
        for name, value in fields.items():
            field = FIELDS[name.replace("__", ".")]
            if field.codec is None:
                attr[field.start:field.start + len(value)] = value
            else:
                number = self.pointer(value) if isinstance(value, bytes) else int(value)
                mask = (1 << 8 * (field.end - field.start)) - 1
                data = (number & mask).to_bytes(field.end - field.start, "little")
                attr[field.start:field.end] = data
        return attr[:size]

    def call(self, cmd: int, size: int = SIZE, **fields: Any) -> int | str:
        """The answer to a command with these fields (`test__flags` for `test.flags`)."""
        return self.raw(cmd, self.packed(fields, size))

    def open(self, cmd: int, size: int = SIZE, **fields: Any) -> int | str:
        """The same where the answer is a descriptor: `"fd"`, and it is closed in the end."""
        answer = self.call(cmd, size, **fields)
        if isinstance(answer, int):
            self.fds.append(answer)
            return "fd"
        return answer

    def out(self, name: str) -> int:
        """A field of the union after the last call."""
        field = FIELDS[name]
        assert field.codec is not None
        return int(field.codec.unpack_from(self.attr, field.start)[0])

    def must(self, cmd: int, **fields: Any) -> int:
        """A descriptor that the test needs."""
        answer = self.call(cmd, **fields)
        assert isinstance(answer, int), (answer, fields)
        self.fds.append(answer)
        return answer

    # -- objects

    def map(self, map_type: int = uapi.BPF_MAP_TYPE_ARRAY, key_size: int = 4, value_size: int = 8,
            max_entries: int = 4, **fields: Any) -> int:
        """A new map's descriptor."""
        return self.must(uapi.BPF_MAP_CREATE, map_type=map_type, key_size=key_size,
                         value_size=value_size, max_entries=max_entries, **fields)

    def prog(self, code: Iterable[Insn] = RETURN_1, /, **fields: Any) -> int:
        """A new program's descriptor."""
        return self.must(uapi.BPF_PROG_LOAD, **self.prog_fields(code, **fields))

    def prog_fields(self, insns: Iterable[Insn] = RETURN_1, /, **fields: Any) -> dict[str, Any]:
        """The fields that load a socket filter, unless others are given."""
        code = encode(list(insns))
        return {"prog_type": uapi.BPF_PROG_TYPE_SOCKET_FILTER, "insns": code,
                "insn_cnt": len(code) // 8, "license": b"GPL\0", **fields}

    def btf(self, data: bytes) -> int:
        """The descriptor of loaded BTF."""
        return self.must(uapi.BPF_BTF_LOAD, btf=data, btf_size=len(data))


def u32(*numbers: int) -> bytes:
    """Little-endian 32-bit numbers."""
    return struct.pack(f"<{len(numbers)}I", *(n & uapi.U32 for n in numbers))


def u64(*numbers: int) -> bytes:
    """Little-endian 64-bit numbers."""
    return struct.pack(f"<{len(numbers)}Q", *numbers)
