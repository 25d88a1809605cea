"""The types of the kernel that a backend answers for: vmlinux's and its modules' (libbpf.c).

libbpf asks the kernel for every BTF that it holds (BPF_BTF_GET_NEXT_ID); those of the kernel itself
that are not called "vmlinux" belong to modules. One that is broken is warned of and passed over.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from anybpf import uapi, uapi_structs
from anybpf.btf import kernel
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf import bpf, log

VMLINUX = "vmlinux"
MODULE_NAME_SIZE = 64
_VMLINUX: WeakKeyDictionary[Any, Btf] = WeakKeyDictionary()


class ModuleBtf(NamedTuple):
    """A loaded module's types, on top of vmlinux's; `id` is the number of its BTF object."""

    name: str
    id: int
    btf: Btf


def kernel_types(backend: bpf.Backend, why: str) -> Btf:
    """vmlinux's types, parsed once for each backend. `why` names what needs them.

    Raises NotSupported if the backend has none, LoadError if they are broken.
    """
    known = _VMLINUX.get(backend)
    parsed: Callable[[], Btf | None] | None = getattr(backend, "kernel_types", None)
    if known is None and parsed is not None:
        known = parsed()
    if known is None:
        source: Callable[[], bytes | None] | None = getattr(backend, "kernel_btf", None)
        data = source() if source else None
        if not data:
            raise NotSupported(f"{why} (backend {backend.name} offers no kernel BTF)")
        known = _VMLINUX[backend] = kernel.shared(data)
    return known


class KernelBtf:
    """What one load looks up in the kernel's types.

    Modules are read when vmlinux lacks a name; `close()` gives their descriptors back.
    """

    def __init__(self, backend: bpf.Backend) -> None:
        self.backend = backend
        self._modules: list[ModuleBtf] | None = None
        self._fds: dict[int, int] = {}

    def close(self) -> None:
        while self._fds:
            self.backend.close(self._fds.popitem()[1])

    @property
    def has_types(self) -> bool:
        """Whether the backend offers the kernel's types."""
        try:
            self.vmlinux("")
        except NotSupported:
            return False
        return True

    def vmlinux(self, why: str) -> Btf:
        return kernel_types(self.backend, why)

    @property
    def modules(self) -> list[ModuleBtf]:
        """The modules' types, in the order of their ids."""
        if self._modules is None:
            self._modules = list(self._read_modules())
        return self._modules

    def find(self, name: str, kind: int, why: str) -> tuple[Btf, int, ModuleBtf | None]:
        """(types, id, module) of a name; id 0 if the kernel has none. vmlinux comes first."""
        vmlinux = self.vmlinux(why)
        found = vmlinux.find(name, kind)
        if found:
            return vmlinux, found, None
        for module in self.modules:
            found = own(module.btf, name, kind)
            if found:
                return module.btf, found, module
        return vmlinux, 0, None

    def fd_of(self, module: ModuleBtf) -> int:
        """A descriptor of a module's BTF object, kept until `close`."""
        if module.id not in self._fds:
            self._fds[module.id] = bpf.get_fd_by_id(self.backend, uapi.BPF_BTF_GET_FD_BY_ID,
                                                    module.id)
        return self._fds[module.id]

    def _read_modules(self) -> Iterator[ModuleBtf]:
        """What the backend has parsed already, or else all that it can be asked for."""
        known: Callable[[], Iterable[ModuleBtf]] | None = getattr(
            self.backend, "kernel_modules", None)
        yield from self._ask_for_modules() if known is None else known()

    def _ask_for_modules(self) -> Iterator[ModuleBtf]:
        for number in self._ids():
            try:
                found = self._read_module(number)
            except LoadError as e:
                log.warning("failed to load module BTF object #%d: %s", number, e)
                continue
            if found is not None:
                yield found

    def _ids(self) -> Iterator[int]:
        try:
            yield from bpf.ids(self.backend, uapi.BPF_BTF_GET_NEXT_ID)
        except BpfError as e:
            log.debug("failed to iterate BTF objects: %d", log.number(e))

    def _read_module(self, number: int) -> ModuleBtf | None:
        """None for what is no module's, or gone by now."""
        try:
            fd = bpf.get_fd_by_id(self.backend, uapi.BPF_BTF_GET_FD_BY_ID, number)
        except BpfError as e:
            if e.errno != errno.ENOENT:
                log.warning("failed to get BTF object #%d FD: %d", number, log.number(e))
            return None
        try:
            name = module_name(self.backend, fd)
            if name is None:
                return None
            base = self.vmlinux(f"module '{name}'")
            return ModuleBtf(name, number, Btf(bpf.btf_bytes(self.backend, fd), base))
        finally:
            self.backend.close(fd)


def own(btf: Btf, name: str, kind: int) -> int:
    """The id of a name among a split BTF's own types, 0 if there is none."""
    return next((i for i in btf.find_all(name, kind) if i >= btf.start_id), 0)


def module_name(backend: bpf.Backend, fd: int) -> str | None:
    """The module that a BTF object belongs to, None if it is user space's or vmlinux's."""
    layout = uapi_structs.STRUCTS["bpf_btf_info"]
    text = bpf.new_buffer(MODULE_NAME_SIZE)
    places = {m.name: m.offset for m in layout.members}
    fill = bytearray(layout.size)
    struct.pack_into("=Q", fill, places["name"], bpf.address_of(text))
    struct.pack_into("=I", fill, places["name_len"], MODULE_NAME_SIZE)
    answer = bpf.obj_get_info_by_fd(backend, fd, layout.size, bytes(fill))
    if len(answer) < layout.size:                     # kernels before 5.11 have no such BTF
        return None
    is_kernel = struct.unpack_from("=I", answer, places["kernel_btf"])[0]
    name = text.value.decode("utf-8", "replace")
    return name if is_kernel and name != VMLINUX else None
