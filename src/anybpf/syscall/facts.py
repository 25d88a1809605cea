"""What the verifier is told of a program's surroundings: the tables of bpf(2) as plain facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from errno import EACCES

from anybpf import uapi
from anybpf.btf.fields import Field, value_fields
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.isa.insn import Insn, encode, is_ld_imm64
from anybpf.syscall.attr import Attr
from anybpf.syscall.objects import BtfObject, MapObject, MapRef, ProgFacts, ProgObject
from anybpf.syscall.state import State
from anybpf.syscall.tags import digest
from anybpf.verifier import Facts, MapFacts, Verdict
from anybpf.verifier.attr import facts
from anybpf.verifier.core_relo import KernelTarget
from anybpf.verifier.facts import ProgramFacts, TypesFacts, map_address

#: the name of the kernel's own types, beside which modules have theirs
VMLINUX = "vmlinux"
_BY_INDEX = (uapi.BPF_PSEUDO_MAP_IDX, uapi.BPF_PSEUDO_MAP_IDX_VALUE)
_TO_MAP = (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_IDX)
_TO_VALUE = (uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE)


class Maps(dict[int, MapFacts]):
    """Facts of maps by descriptor; `objects` has the maps themselves. Looks each up once."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state
        self.objects: dict[int, MapObject] = {}
        self._facts: dict[int, MapFacts] = {}

    def __missing__(self, fd: int) -> MapFacts:
        """Raises BpfError for what is no map."""
        found = self._state.object(fd, MapObject)
        if found.id not in self._facts:
            self._facts[found.id] = map_facts(
                found, kernel_types(self._state), module_types(self._state))
        self.objects[fd] = found
        self[fd] = self._facts[found.id]
        return self[fd]

    def object_of(self, facts: MapFacts) -> MapObject:
        """The map that the facts are about."""
        return next(self.objects[fd] for fd, one in self.items() if one is facts)


class Types(dict[int, TypesFacts]):
    """The descriptors that are types."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def __missing__(self, fd: int) -> TypesFacts:
        """Raises BpfError for what is no BTF."""
        found = self._state.object(fd, BtfObject)
        module = found.name if found.kernel and found.name != VMLINUX else ""
        self[fd] = TypesFacts(found.btf, module)
        return self[fd]

    def __contains__(self, fd: object) -> bool:
        try:
            return isinstance(fd, int) and bool(self[fd])
        except BpfError:
            return False


def map_facts(map: MapObject, kernel: Btf | None, modules: Sequence[Btf] = ()) -> MapFacts:
    """One map as the verifier sees it."""
    native = map.map
    return MapFacts(
        map.type, native.key_size, native.value_size, native.max_entries, native.flags, map.name,
        map_address(map.id), _content(map), map.frozen, map.inner,
        special_fields(map, kernel, modules), map.btf is not None, map.exclusive,
        btf=map.btf.object.btf if map.btf is not None else None)


def _content(map: MapObject) -> bytes | None:
    """What loads from a read-only map's one value give."""
    whole = map.type == uapi.BPF_MAP_TYPE_ARRAY and map.map.max_entries == 1
    if not (whole and map.frozen and map.map.flags & uapi.BPF_F_RDONLY_PROG):
        return None
    return bytes(map.map.lookup(bytes(map.map.key_size)))


def special_fields(map: MapObject, kernel: Btf | None,
                   modules: Sequence[Btf]) -> tuple[Field, ...]:
    """Locks, timers and the like in the map's value."""
    if map.btf is None:
        return ()
    return value_fields(map.btf.object.btf, map.btf.value, kernel, modules)


def kernel_types(state: State) -> Btf | None:
    """The kernel's own types, if it has any."""
    return next((one.btf for one in state.btfs if one.name == VMLINUX), None)


def module_types(state: State) -> tuple[Btf, ...]:
    """The types of the kernel's modules."""
    return tuple(one.btf for one in state.btfs if one.kernel and one.name != VMLINUX)


class Surroundings:
    """What surrounds one program that is being loaded."""

    def __init__(self, state: State, attr: Attr) -> None:
        self._state = state
        self._attr = attr
        self.maps = Maps(state)
        self._fd_array: Sequence[int] | Mapping[int, int] | None = None
        #: the program's types, once they were asked for
        self.btf: BtfObject | None = None
        #: the program that this one attaches to
        self.program: ProgObject | None = None

    def facts(self, prog: ProgFacts) -> Facts:
        """All that the verifier is told."""
        state = self._state
        made = facts(self._attr, self)
        self._fd_array = made.fd_array
        return replace(made, gpl=prog.gpl, maps=self.maps, btfs=Types(state),
                       cpus=state.kernel.ncpus, kernel_btf=kernel_types(state),
                       modules=module_types(state),
                       digest=lambda insns: digest(encode(insns)))

    # -- what memory and descriptors hold (verifier.attr.Around)

    def read(self, address: int, size: int) -> bytes:
        return self._state.memory.read(address, size)

    def types_of(self, fd: int) -> Btf:
        """The program's own types. Raises BpfError."""
        self.btf = self._state.object(fd, BtfObject)
        if self.btf.kernel:
            raise BpfError(EACCES, "a program's types come from user BTF")
        return self.btf.btf

    def attached(self, fd: int) -> Btf | ProgramFacts:
        """What `attach_prog_fd` is, which was looked at before."""
        target = self._state.files[fd].object
        if isinstance(target, BtfObject):
            return target.btf
        assert isinstance(target, ProgObject)
        assert target.facts.as_target is not None
        self.program = target
        return target.facts.as_target

    def tell(self, member: str, value: int) -> None:
        self._attr[member] = value

    def target(self) -> KernelTarget | None:
        """vmlinux's types and the modules'; None for a kernel without types."""
        types = {one.name: one.btf for one in self._state.btfs if one.kernel}
        vmlinux = types.pop(VMLINUX, None)
        return None if vmlinux is None else KernelTarget(vmlinux, lambda: tuple(types.items()))

    # -- what the verdict means here

    def used(self, verdict: Verdict) -> list[MapObject]:
        """The maps that the program uses, in the order in which it names them."""
        return [self.maps.object_of(facts) for facts in verdict.maps]

    def references(self, verdict: Verdict) -> dict[int, MapRef]:
        """Which 64-bit load means which map."""
        return dict(self._references(verdict.program))

    def _references(self, insns: Sequence[Insn]) -> Iterator[tuple[int, MapRef]]:
        for index, insn in enumerate(insns):
            if not is_ld_imm64(insn) or insn.src not in _TO_MAP + _TO_VALUE:
                continue
            fd = insn.imm
            if insn.src in _BY_INDEX and self._fd_array is not None:
                fd = self._fd_array[insn.imm]
            offset = insns[index + 1].imm & uapi.U32 if insn.src in _TO_VALUE else None
            yield index, MapRef(self.maps.objects[fd], offset)
