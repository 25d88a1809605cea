"""Global variables of an object as attributes (tools/bpf/bpftool/gen.c, skeletons).

`obj.rodata.limit = 3` before loading changes what is loaded; after loading the same names read and
write the memory that the programs see: through a shared mapping where the backend and the map
allow one, else through bpf(2).
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterator
from typing import Any, Protocol

from anybpf import uapi
from anybpf.btf import values
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf.bpf import Memory
from anybpf.libbpf.map import Map, plain_bytes
from anybpf.libbpf.spec import DataSection, ObjectSpec, Variable

INDEX = bytes(4)                     #: the key of the one element


class Area(Protocol):
    """The memory of one data section."""

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...


class ContentArea:
    """Before loading: the section's initial value."""

    def __init__(self, data: DataSection) -> None:
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._data.content[offset:offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self._data.content[offset:offset + len(data)] = data


class MapArea:
    """After loading, by bpf(2): a write reads, changes and stores the whole value."""

    def __init__(self, map: Map) -> None:
        self._map = map

    def read(self, offset: int, size: int) -> bytes:
        return self._map.lookup(INDEX)[offset:offset + size]

    def write(self, offset: int, data: bytes) -> None:
        whole = bytearray(self._map.lookup(INDEX))
        whole[offset:offset + len(data)] = data
        self._map.update(INDEX, bytes(whole))


class MappedArea:
    """After loading, by mmap(2): the very bytes that programs use."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def read(self, offset: int, size: int) -> bytes:
        return self._memory[offset:offset + size]

    def write(self, offset: int, data: bytes) -> None:
        try:
            self._memory[offset:offset + len(data)] = data
        except TypeError:
            raise BpfError(errno.EPERM, "the section is read-only") from None


def area_of(map: Map, *, writable: bool) -> Area:
    """The memory of a loaded data map."""
    if map.memory is not None:
        return MappedArea(map.memory)
    open_mapping = getattr(map.backend, "mmap", None)
    if open_mapping is None or not map.spec.flags & uapi.BPF_F_MMAPABLE:
        return MapArea(map)
    size = -(-map.value_size // mmap.PAGESIZE) * mmap.PAGESIZE
    try:
        return MappedArea(open_mapping(map.fd, size, writable=writable))
    except BpfError:
        return MapArea(map)


class Globals:
    """The variables of one section, as attributes and as items (for names that are none).

    Values are Python objects by BTF; where the file has no BTF they are bytes, and numbers are
    taken too. AttributeError (KeyError) names a variable that does not exist.
    """

    _data: DataSection
    _owner: ObjectSpec
    _area: Area

    def __init__(self, data: DataSection, owner: ObjectSpec) -> None:
        object.__setattr__(self, "_data", data)
        object.__setattr__(self, "_owner", owner)
        object.__setattr__(self, "_area", ContentArea(data))

    def _use(self, area: Area | None) -> None:
        """Read and write other memory from now on (None: the initial value); for the loader."""
        object.__setattr__(self, "_area", area or ContentArea(self._data))

    @property
    def _btf(self) -> Btf | None:
        """The object's types, which resizing a section replaces."""
        return self._owner.btf

    def _variable(self, name: str) -> Variable:
        if name not in self._data.variables:
            raise KeyError(self._unknown(name))
        return self._data.variables[name]

    def _unknown(self, name: str) -> str:
        known = ", ".join(self._data.variables) or "none"
        return f"section '{self._data.name}' has no variable '{name}' (variables: {known})"

    def __getitem__(self, name: str) -> Any:
        var = self._variable(name)
        raw = self._area.read(var.offset, var.size)
        return values.decode(self._btf, var.type_id, raw) if self._btf and var.type_id else raw

    def __setitem__(self, name: str, value: Any) -> None:
        var = self._variable(name)
        self._area.write(var.offset, self._encode(var, value))

    def _encode(self, var: Variable, value: Any) -> bytes:
        if self._btf is not None and var.type_id:
            try:
                return values.encode(self._btf, var.type_id, value).ljust(var.size, b"\0")
            except values.ValueMismatch as e:
                dot = "." if e.path and not e.path.startswith("[") else ""
                raise values.ValueMismatch(f"{var.name}{dot}{e.path}", e.message) from None
        return plain_bytes(value, var.size)

    def __getattr__(self, name: str) -> Any:
        if name not in self._data.variables:
            raise AttributeError(self._unknown(name))
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._data.variables:
            raise AttributeError(self._unknown(name))
        self[name] = value

    def __dir__(self) -> list[str]:
        return sorted(self._data.variables)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.variables)

    def __len__(self) -> int:
        return len(self._data.variables)

    def __contains__(self, name: object) -> bool:
        return name in self._data.variables

    def __repr__(self) -> str:
        return f"<Globals {self._data.name!r} {', '.join(self._data.variables)}>"

    def as_dict(self) -> dict[str, Any]:
        """All variables with their values."""
        return {name: self[name] for name in self}

    @property
    def raw(self) -> bytes:
        """The bytes of the whole section."""
        return self._area.read(0, self._data.size)
