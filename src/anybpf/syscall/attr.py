"""union bpf_attr as one command reads it (include/uapi/linux/bpf.h, kernel/bpf/syscall.c).

Like the kernel, a call works on a copy of the caller's bytes, zero-filled to the full union, and
answers by writing single fields back into the caller's own buffer.
"""

from __future__ import annotations

import struct
from errno import E2BIG, EINVAL

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.syscall.record import fields
from anybpf.uapi_structs import STRUCTS

Buffer = bytes | bytearray | memoryview

#: the size of the whole union, in bytes
SIZE = STRUCTS["bpf_attr"].size
#: a caller's union may be so long at most, however many zeros it ends with
MAX_SIZE = 4096
FIELDS = fields("bpf_attr")

#: the last field that a command knows: everything behind it must be zero (CHECK_ATTR)
LAST_FIELD: dict[int, str] = {
    uapi.BPF_MAP_CREATE: "excl_prog_hash_size",
    uapi.BPF_MAP_LOOKUP_ELEM: "flags",
    uapi.BPF_MAP_UPDATE_ELEM: "flags",
    uapi.BPF_MAP_DELETE_ELEM: "key",
    uapi.BPF_MAP_GET_NEXT_KEY: "next_key",
    uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM: "flags",
    uapi.BPF_MAP_FREEZE: "map_fd",
    uapi.BPF_MAP_LOOKUP_BATCH: "batch.flags",
    uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH: "batch.flags",
    uapi.BPF_MAP_UPDATE_BATCH: "batch.flags",
    uapi.BPF_MAP_DELETE_BATCH: "batch.flags",
    uapi.BPF_PROG_LOAD: "keyring_id",
    uapi.BPF_OBJ_PIN: "path_fd",
    uapi.BPF_OBJ_GET: "path_fd",
    uapi.BPF_PROG_TEST_RUN: "test.batch_size",
    uapi.BPF_PROG_GET_NEXT_ID: "next_id",
    uapi.BPF_MAP_GET_NEXT_ID: "next_id",
    uapi.BPF_BTF_GET_NEXT_ID: "next_id",
    uapi.BPF_LINK_GET_NEXT_ID: "next_id",
    uapi.BPF_PROG_GET_FD_BY_ID: "prog_id",
    uapi.BPF_MAP_GET_FD_BY_ID: "open_flags",
    uapi.BPF_BTF_GET_FD_BY_ID: "fd_by_id_token_fd",
    uapi.BPF_LINK_GET_FD_BY_ID: "link_id",
    uapi.BPF_OBJ_GET_INFO_BY_FD: "info.info",
    uapi.BPF_BTF_LOAD: "btf_token_fd",
    uapi.BPF_ENABLE_STATS: "enable_stats.type",
    uapi.BPF_PROG_BIND_MAP: "prog_bind_map.flags",
}
#: the zeros behind that field
UNKNOWN = {cmd: bytes(SIZE - FIELDS[name].end) for cmd, name in LAST_FIELD.items()}


class Attr:
    """One call's union: `attr["field"]` reads the copy, `attr["field"] = x` answers the caller."""

    __slots__ = ("_buffer", "_copy", "size")

    def __init__(self, buffer: Buffer) -> None:
        """`buffer` is the caller's union of any length. Raises BpfError E2BIG on unknown bits."""
        data = bytes(buffer)
        self.size = len(data)
        if self.size > MAX_SIZE or any(data[SIZE:]):
            raise BpfError(E2BIG, "bpf_attr has unknown fields set")
        self._copy = data[:SIZE].ljust(SIZE, b"\0")
        read_only = memoryview(buffer).readonly
        self._buffer = None if read_only else buffer

    def check(self, cmd: int) -> None:
        """Raise EINVAL if a byte behind the command's last field is set."""
        if not self._copy.endswith(UNKNOWN[cmd]):
            raise BpfError(EINVAL, "bpf_attr has fields set that the command does not know")

    def __getitem__(self, name: str) -> int:
        field = FIELDS[name]
        assert field.codec is not None, name
        value: int = field.codec.unpack_from(self._copy, field.start)[0]
        return value

    def unpack(self, codec: struct.Struct) -> tuple[int, ...]:
        """Many fields at once, from the beginning of the union."""
        return codec.unpack_from(self._copy)

    def raw(self, name: str) -> bytes:
        """The field's bytes, such as a name's 16."""
        field = FIELDS[name]
        return self._copy[field.start:field.end]

    def has_room(self, name: str) -> bool:
        """Whether the caller's union is long enough to hold the field."""
        return self.size >= FIELDS[name].end

    def __setitem__(self, name: str, value: int) -> None:
        """Answer the caller; what does not fit into the caller's union is dropped."""
        field = FIELDS[name]
        assert field.codec is not None, name
        if self._buffer is not None and self.has_room(name):
            field.codec.pack_into(self._buffer, field.start, value)
