"""Maps of an object come into being: created, adopted, pinned, filled (tools/lib/bpf/libbpf.c)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf import arena, bpf, ksyms, log, map_reuse, struct_ops
from anybpf.libbpf.bpf import Backend
from anybpf.libbpf.data_sections import READ_ONLY
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.map import HOLDS_FD, Map
from anybpf.libbpf.spec import DataKind, MapSpec, ObjectSpec

#: map types that refuse BTF types of key and value
NO_BTF = HOLDS_FD | frozenset({
    uapi.BPF_MAP_TYPE_STACK_TRACE, uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_DEVMAP_HASH,
    uapi.BPF_MAP_TYPE_CPUMAP, uapi.BPF_MAP_TYPE_XSKMAP, uapi.BPF_MAP_TYPE_SOCKMAP,
    uapi.BPF_MAP_TYPE_SOCKHASH, uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK,
    uapi.BPF_MAP_TYPE_ARENA,
})
INDEX = bytes(4)


class HasFd(Protocol):
    """A map or program: `fd` is None while it is not loaded."""

    @property
    def fd(self) -> int | None: ...


@dataclass
class MapLoader:
    """Creates the maps of one object on one backend."""

    backend: Backend
    spec: ObjectSpec
    maps: dict[str, Map]
    kernel: KernelBtf
    btf_fd: int = 0
    pin_root: str | None = None
    _extra: list[int] = field(default_factory=list)      #: descriptors needed only while loading

    def close(self) -> None:
        """Give back what was needed only while loading."""
        while self._extra:
            self.backend.close(self._extra.pop())

    @property
    def wanted(self) -> list[Map]:
        return [m for m in self.maps.values() if m.autocreate]

    def fit_struct_ops(self) -> None:
        """Lay struct_ops variables out as the kernel has them; programs depend on it."""
        for made in self.wanted:
            if made.spec.struct_ops is not None and self.spec.btf is not None:
                made.fitted = struct_ops.fit(made.spec, self.spec.btf, self.kernel)

    def create_all(self) -> None:
        """Create every map that is wanted, then link maps of maps. Raises BpfError."""
        for made in self.maps.values():
            if made.autocreate:
                self._bring(made)
            else:
                log.debug("map '%s': skipped auto-creating...", made.name)
        for made in self.wanted:
            if made.type != uapi.BPF_MAP_TYPE_PROG_ARRAY:
                self.fill_slots(made, self.maps)

    def _bring(self, made: Map) -> None:
        """Adopt, find pinned, or create one map; then its content and its pin."""
        self._settle_size(made.spec)
        pin_path = made.pin_path_in(self.pin_root)
        if made.adopted is not None:
            made.loaded(self.backend, self.backend_dup(map_reuse.fd_of(made.adopted)))
            map_reuse.take_over(made)
        elif pin_path is not None:
            map_reuse.find_pinned(self.backend, made, pin_path)
        if made.fd is not None:
            log.debug("map '%s': skipping creation (preset fd=%d)", made.name, made.fd)
        else:
            self._create(made)
        if pin_path is not None and not made.is_pinned:
            map_reuse.auto_pin(made, pin_path)

    def backend_dup(self, fd: int) -> int:
        """Another descriptor for the same map."""
        return bpf.dup(self.backend, fd)

    def _settle_size(self, spec: MapSpec) -> None:
        if spec.type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY and not spec.max_entries:
            spec.max_entries = self.backend.num_possible_cpus
            log.debug("map '%s': setting size to %d", spec.name, spec.max_entries)
        spec.settle()

    # creation

    def _create(self, made: Map) -> None:
        try:
            made.loaded(self.backend, self._create_map(made.spec, self._inner_fd(made), made))
        except BpfError as e:
            message = (f"map '{made.name}': failed to create: {log.reason(e)}({log.number(e)})")
            log.warning("%s", message)
            raise BpfError(e.errno or 0, message) from None
        log.debug("map '%s': created successfully, fd=%d", made.name, made.fd)
        if made.spec.data is not None:
            self._populate(made)
        if made.type == uapi.BPF_MAP_TYPE_ARENA:
            self._map_arena(made)

    def _inner_fd(self, made: Map) -> int:
        """The template that a map of maps needs while it is created."""
        if made.inner_map is not None:
            return map_reuse.fd_of(made.inner_map)
        spec = made.spec.inner
        if spec is None:
            return 0
        spec.settle()
        try:
            fd = self._create_map(spec, 0)
        except BpfError as e:
            log.warning("map '%s': failed to create inner map: %d", made.name, log.number(e))
            raise
        self._extra.append(fd)
        return fd

    def _create_map(self, spec: MapSpec, inner_fd: int, owner: Map | None = None) -> int:
        types = (0, 0) if spec.type in NO_BTF else (spec.key_type_id, spec.value_type_id)
        if self.btf_fd and any(types):
            try:
                return self._map_create(spec, inner_fd, owner, self.btf_fd, types)
            except BpfError as e:
                log.warning("Error in bpf_create_map_xattr(%s):%s(%d). Retrying without BTF.",
                            spec.name, log.reason(e), log.number(e))
        return self._map_create(spec, inner_fd, owner, 0, (0, 0))

    def _map_create(self, spec: MapSpec, inner_fd: int, owner: Map | None, btf_fd: int,
                    types: tuple[int, int]) -> int:
        value_size, flags, value_type, module_fd = spec.value_size, spec.flags, 0, 0
        fitted = owner.fitted if owner is not None else None
        if fitted is not None:
            value_size, value_type = len(fitted.value), fitted.value_type_id
            btf_fd = self.btf_fd                 # a must for these, though no type of it is named
            if fitted.module is not None:
                module_fd = self.kernel.fd_of(fitted.module)
                flags |= uapi.BPF_F_VTYPE_BTF_OBJ_FD
        return bpf.map_create(
            self.backend, spec.type, spec.key_size, value_size, spec.max_entries,
            name=spec.name, map_flags=flags, inner_map_fd=inner_fd, numa_node=spec.numa_node,
            map_extra=spec.map_extra, btf_fd=btf_fd, btf_key_type_id=types[0],
            btf_value_type_id=types[1], btf_vmlinux_value_type_id=value_type,
            value_type_btf_obj_fd=module_fd)

    # content

    def _populate(self, made: Map) -> None:
        data = made.spec.data
        if data is None:
            return
        if data.kind is DataKind.KCONFIG:
            ksyms.fill_kconfig(self.spec, data, self.backend)
        if data.kind is not DataKind.BSS or any(data.content):
            self._store(made, bytes(data.content))
        if data.kind in READ_ONLY:
            self._freeze(made)

    @staticmethod
    def _store(made: Map, content: bytes) -> None:
        try:
            made.update(INDEX, content)
        except BpfError as e:
            log.fail(e.errno or 0, f"Error setting initial map({made.name}) contents: "
                                   f"{log.reason(e)}")

    @staticmethod
    def _freeze(made: Map) -> None:
        try:
            made.freeze()
        except BpfError as e:
            log.fail(e.errno or 0, f"Error freezing map({made.name}) as read-only: "
                                   f"{log.reason(e)}")

    def _map_arena(self, made: Map) -> None:
        """Its address is decided by mapping it, which must be before programs are loaded."""
        try:
            memory = bpf.map_memory(self.backend, made.fd or 0, arena.map_size(made.spec),
                                    made.spec.map_extra)
        except BpfError as e:
            log.fail(e.errno or 0, f"map '{made.name}': failed to mmap arena: {log.number(e)}")
        if made.spec.arena is not None:
            content = made.spec.arena.content
            memory[:len(content)] = bytes(content)
        made.memory = memory

    def fill_slots(self, made: Map, targets: Mapping[str, HasFd]) -> None:
        """Put the initial maps of a map of maps, or programs of a program array, in."""
        kind = "prog" if made.type == uapi.BPF_MAP_TYPE_PROG_ARRAY else "map"
        for index, name in made.spec.values.items():
            target = targets.get(name)
            if target is None or target.fd is None:
                raise BpfError(errno.ENOENT, f"map '{made.name}': '{name}' is not loaded")
            key = bpf.to_bytes(index, 4).ljust(made.key_size, b"\0")[:made.key_size]
            try:
                made.update(key, bpf.to_bytes(target.fd, 4))
            except BpfError as e:
                log.fail(e.errno or 0, f"map '{made.name}': failed to initialize slot [{index}] "
                                       f"to {kind} '{name}' fd={target.fd}: {log.number(e)}")
            log.debug("map '%s': slot [%d] set to %s '%s' fd=%d", made.name, index, kind, name,
                      target.fd)
