"""Maps of the running kernel behind the methods of `anybpf.maps.Map`, for comparing the two."""

from __future__ import annotations

import ctypes
import errno

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.maps import Batch, MapAttr
from kernel.verdicts import LINUX, packed


def address(buffer: bytearray | None) -> int:
    """Where the bytes lie, as long as the caller keeps them; 0 for none."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if buffer else 0


def possible_cpus() -> int:
    return LINUX.num_possible_cpus


class KernelMap:
    """One map of the running kernel."""

    def __init__(self, attr: MapAttr, inner_fd: int = 0) -> None:
        self.attr = attr
        percpu = attr.map_type in (5, 6, 10, 21)
        size = attr.value_size
        self.user_value_size = -(-size // 8) * 8 * possible_cpus() if percpu else size
        self.fd = LINUX.bpf(uapi.BPF_MAP_CREATE, packed(
            (attr.map_type, 4), (attr.key_size, 4), (attr.value_size, 4), (attr.max_entries, 4),
            (attr.map_flags, 4), (inner_fd, 4), (attr.numa_node, 4), (0, 16), (0, 4), (0, 4),
            (0, 4), (0, 4), (0, 4), (attr.map_extra, 8)))

    def close(self) -> None:
        if self.fd >= 0:
            LINUX.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            self.close()

    def _elem(self, cmd: int, key: bytearray | None, value: bytearray | None, flags: int) -> None:
        LINUX.bpf(cmd, packed((self.fd, 4), (0, 4), (address(key), 8), (address(value), 8),
                              (flags, 8)))

    @staticmethod
    def _key(key: bytes | None) -> bytearray | None:
        return bytearray(key) if key else None

    def lookup(self, key: bytes = b"", flags: int = 0, value: bytes | None = None) -> bytes:
        out = bytearray(value or bytes(self.user_value_size))
        self._elem(uapi.BPF_MAP_LOOKUP_ELEM, self._key(key), out, flags)
        return bytes(out)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        self._elem(uapi.BPF_MAP_UPDATE_ELEM, self._key(key), bytearray(value), flags)

    def delete(self, key: bytes) -> None:
        self._elem(uapi.BPF_MAP_DELETE_ELEM, self._key(key), None, 0)

    def next_key(self, key: bytes | None = None) -> bytes:
        out = bytearray(self.attr.key_size)
        self._elem(uapi.BPF_MAP_GET_NEXT_KEY, self._key(key), out, 0)
        return bytes(out)

    def lookup_and_delete(self, key: bytes = b"", flags: int = 0) -> bytes:
        out = bytearray(self.user_value_size)
        self._elem(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, self._key(key), out, flags)
        return bytes(out)

    def freeze(self) -> None:
        LINUX.bpf(uapi.BPF_MAP_FREEZE, packed((self.fd, 4)))

    # -- batches

    def _batch(self, cmd: int, start: bytearray | None, out: bytearray | None, keys: bytearray,
               values: bytearray | None, count: int, elem_flags: int, flags: int) -> Batch:
        attr = packed((address(start), 8), (address(out), 8), (address(keys), 8),
                    (address(values), 8), (count, 4), (self.fd, 4), (elem_flags, 8), (flags, 8))
        number = 0
        try:
            LINUX.bpf(cmd, attr)
        except BpfError as error:
            number = error.errno or 0
        done = int.from_bytes(attr[32:36], "little")
        if number and number != errno.ENOENT and done == count:
            raise BpfError(number)      # refused before it began
        return Batch(number, done, bytes(keys), bytes(values or b""), bytes(out or b""))

    def _lookup_batch(self, cmd: int, start: bytes | None, count: int, elem_flags: int,
                      flags: int) -> Batch:
        keys = bytearray(count * self.attr.key_size)
        values = bytearray(count * self.user_value_size)
        out = bytearray(max(self.attr.key_size, 4))
        got = self._batch(cmd, None if start is None else bytearray(start), out, keys, values,
                          count, elem_flags, flags)
        return got._replace(keys=got.keys[:got.count * self.attr.key_size],
                            values=got.values[:got.count * self.user_value_size])

    def lookup_batch(self, start: bytes | None = None, count: int = 0, elem_flags: int = 0,
                     flags: int = 0) -> Batch:
        return self._lookup_batch(uapi.BPF_MAP_LOOKUP_BATCH, start, count, elem_flags, flags)

    def lookup_and_delete_batch(self, start: bytes | None = None, count: int = 0,
                                elem_flags: int = 0, flags: int = 0) -> Batch:
        return self._lookup_batch(uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH, start, count, elem_flags,
                                  flags)

    def update_batch(self, keys: bytes, values: bytes, count: int, elem_flags: int = 0) -> Batch:
        return self._batch(uapi.BPF_MAP_UPDATE_BATCH, None, None, bytearray(keys),
                           bytearray(values), count, elem_flags, 0)._replace(keys=b"", values=b"")

    def delete_batch(self, keys: bytes, count: int, elem_flags: int = 0) -> Batch:
        return self._batch(uapi.BPF_MAP_DELETE_BATCH, None, None, bytearray(keys), None, count,
                           elem_flags, 0)._replace(keys=b"", values=b"")
