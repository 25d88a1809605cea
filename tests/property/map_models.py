"""Maps in plain Python, for comparing ours with: dicts that answer with error numbers."""

from __future__ import annotations

import errno
from collections import deque

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.maps import MapAttr


def refuse(ok: bool, number: int) -> None:
    if not ok:
        raise BpfError(number)


class HashModel:
    """A hash table: no order is claimed."""

    def __init__(self, attr: MapAttr) -> None:
        self.attr = attr
        self.data: dict[bytes, bytes] = {}

    def lookup(self, key: bytes) -> bytes:
        refuse(key in self.data, errno.ENOENT)
        return self.data[key]

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(flags <= uapi.BPF_EXIST, errno.EINVAL)
        refuse(key not in self.data or flags != uapi.BPF_NOEXIST, errno.EEXIST)
        refuse(key in self.data or flags != uapi.BPF_EXIST, errno.ENOENT)
        refuse(key in self.data or len(self.data) < self.attr.max_entries, errno.E2BIG)
        self.data[key] = value

    def delete(self, key: bytes) -> None:
        refuse(self.data.pop(key, None) is not None, errno.ENOENT)

    def lookup_and_delete(self, key: bytes) -> bytes:
        value = self.lookup(key)
        del self.data[key]
        return value

    def keys(self) -> set[bytes]:
        return set(self.data)


class ArrayModel(HashModel):
    """An array: all keys below max_entries are there."""

    def __init__(self, attr: MapAttr, size: int) -> None:
        super().__init__(attr)
        self.data = {i.to_bytes(4, "little"): bytes(size) for i in range(attr.max_entries)}

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(flags <= uapi.BPF_EXIST, errno.EINVAL)
        refuse(key in self.data, errno.E2BIG)
        refuse(flags != uapi.BPF_NOEXIST, errno.EEXIST)
        self.data[key] = value

    def delete(self, key: bytes) -> None:
        raise BpfError(errno.EINVAL)

    def lookup_and_delete(self, key: bytes) -> bytes:
        raise BpfError(524)


class QueueModel:
    """A queue, or a stack."""

    def __init__(self, attr: MapAttr) -> None:
        self.attr = attr
        self.data: deque[bytes] = deque()

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(flags in (uapi.BPF_ANY, uapi.BPF_EXIST), errno.EINVAL)
        if len(self.data) == self.attr.max_entries:
            refuse(flags == uapi.BPF_EXIST, errno.E2BIG)
            self.data.popleft()
        self.data.append(value)

    def lookup(self, key: bytes) -> bytes:
        refuse(bool(self.data), errno.ENOENT)
        return self.data[-1 if self.attr.map_type == uapi.BPF_MAP_TYPE_STACK else 0]

    def lookup_and_delete(self, key: bytes) -> bytes:
        value = self.lookup(key)
        if self.attr.map_type == uapi.BPF_MAP_TYPE_STACK:
            self.data.pop()
        else:
            self.data.popleft()
        return value

    def delete(self, key: bytes) -> None:
        raise BpfError(errno.EINVAL)


class TrieModel:
    """A longest prefix match table that tries every prefix. Keys are (length, bits)."""

    def __init__(self, attr: MapAttr) -> None:
        self.attr = attr
        self.bits = 8 * (attr.key_size - 4)
        self.data: dict[str, bytes] = {}

    def split(self, key: bytes) -> str:
        length = int.from_bytes(key[:4], "little")
        return "".join(f"{x:08b}" for x in key[4:])[:length] if length <= self.bits else "too long"

    def lookup(self, key: bytes) -> bytes:
        bits = self.split(key)
        refuse(bits != "too long", errno.ENOENT)
        found = [p for p in self.data if bits.startswith(p)]
        refuse(bool(found), errno.ENOENT)
        return self.data[max(found, key=len)]

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        bits = self.split(key)
        refuse(flags <= uapi.BPF_EXIST and bits != "too long", errno.EINVAL)
        refuse(bits not in self.data or flags != uapi.BPF_NOEXIST, errno.EEXIST)
        refuse(bits in self.data or flags != uapi.BPF_EXIST, errno.ENOENT)
        refuse(bits in self.data or len(self.data) < self.attr.max_entries, errno.ENOSPC)
        self.data[bits] = value

    def delete(self, key: bytes) -> None:
        refuse(self.split(key) != "too long", errno.EINVAL)
        refuse(self.data.pop(self.split(key), None) is not None, errno.ENOENT)

    def lookup_and_delete(self, key: bytes) -> bytes:
        raise BpfError(524)

    def keys(self) -> set[str]:
        return set(self.data)
