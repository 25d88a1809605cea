"""A backend that loads nothing: maps are facts, and programs go to the verifier.

With it the loader does all that it does on a kernel (externs, CO-RE, relocations, BTF), and what
BPF_PROG_LOAD would be given is verified. No map is created; nothing native is needed.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

from anybpf import uapi
from anybpf.btf import addresses
from anybpf.btf.check import BadBtf, check
from anybpf.btf.fields import value_fields
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.errors import ENOTSUPP, BpfError, NotSupported
from anybpf.isa.insn import decode
from anybpf.libbpf import bpf
from anybpf.libbpf.kernel_btf import ModuleBtf
from anybpf.proto.progs import GPL_COMPATIBLE
from anybpf.uapi_structs import STRUCTS
from anybpf.verifier import Facts, MapFacts, Options, Verdict, verify
from anybpf.verifier.attr import facts
from anybpf.verifier.facts import ProgramFacts, TypesFacts, map_address

Addresses = dict[str, list[int]]

_FIRST_FD = 100
#: the number of the first module's types; 1 is the kernel's own
_FIRST_MODULE = 2
#: programs' types have the program's descriptor on top of this
_FIRST_TYPES = 1 << 20
#: where user space is said to have mapped an arena
_USER_MEMORY = 0x7F00_0000_0000


class Host(Protocol):
    """A kernel that is only asked: `anybpf.linux.Linux` is one."""

    @property
    def kernel_version(self) -> tuple[int, int, int]: ...

    def kernel_config(self) -> str: ...

    def symbol_addresses(self, names: Iterable[str]) -> Addresses: ...


class Fields:
    """Members of a `union bpf_attr` by name; 0 where the caller's is shorter."""

    def __init__(self, attr: bytearray) -> None:
        self._data = bytes(attr).ljust(256, b"\0")

    def __getitem__(self, name: str) -> int:
        offset, size = bpf.ATTR[name]
        return int.from_bytes(self._data[offset:offset + size], "little")

    def name(self, member: str) -> str:
        offset, size = bpf.ATTR[member]
        return self._data[offset:offset + size].split(b"\0")[0].decode(errors="replace")


@dataclass
class Unread:
    """`size` bytes that are 0 whatever is written there."""

    size: int

    def __getitem__(self, where: slice) -> bytes:
        return bytes(len(range(self.size)[where]))

    def __setitem__(self, where: slice, data: bytes) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing was taken."""


@dataclass
class Outcome:
    """What became of one BPF_PROG_LOAD: a verdict, or the feature that is not modelled."""

    name: str
    facts: Facts
    insns: int
    fd: int
    verdict: Verdict | None = None
    unsupported: NotSupported | None = None


@dataclass(eq=False)
class Offline:
    """Answers bpf(2) for a loader, and keeps what the verifier says in `outcomes`.

    `types` are the kernel's, `modules` those of its modules, on top of them; `host` is asked for
    version, configuration and symbols.
    """

    types: Btf | None = None
    cpus: int = 1
    log_level: int = 0
    host: Host | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    name: str = "verifier"
    modules: Mapping[str, Btf] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._maps: dict[int, MapFacts] = {}
        self._btfs: dict[int, TypesFacts] = {}
        self._numbers = count(_FIRST_FD)
        self._checked: dict[bytes, BadBtf | Btf] = {}
        #: accepted programs, which others may attach to
        self._programs: dict[int, ProgramFacts] = {}

    # -- the backend protocol

    @property
    def num_possible_cpus(self) -> int:
        return self.cpus

    @property
    def kernel_version(self) -> tuple[int, int, int]:
        return self.host.kernel_version if self.host else (6, 18, 0)

    def kernel_types(self) -> Btf | None:
        """The kernel's own types, parsed."""
        return self.types

    def kernel_modules(self) -> list[ModuleBtf]:
        """The modules' types, with numbers that BPF_BTF_GET_FD_BY_ID takes."""
        return [ModuleBtf(name, number, btf)
                for number, (name, btf) in enumerate(self.modules.items(), _FIRST_MODULE)]

    def kernel_config(self) -> str:
        return self.host.kernel_config() if self.host else ""

    def symbol_addresses(self, names: Iterable[str]) -> Addresses:
        """Addresses of kernel symbols: the host's, or made up for those that BTF names."""
        wanted = list(names)
        found = self.host.symbol_addresses(wanted) if self.host else {}
        return addresses.made_up(wanted, (self.types, *self.modules.values())) | found

    def close(self, fd: int) -> None:
        self._maps.pop(fd, None)
        self._btfs.pop(fd, None)

    def dup(self, fd: int) -> int:
        raise NotSupported("maps of another kernel in a verification")

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """One command. Raises BpfError, NotSupported."""
        answer = _COMMANDS.get(cmd)
        if answer is None:
            raise NotSupported(f"bpf(2) command {cmd} in a verification")
        return answer(self, Fields(attr))

    # -- commands

    def _map_create(self, attr: Fields) -> int:
        fd = next(self._numbers)
        btf = self._btfs[attr["btf_fd"]].btf if attr["btf_fd"] in self._btfs else None
        self._maps[fd] = MapFacts(
            attr["map_type"], attr["key_size"], attr["value_size"],
            attr["max_entries"] or 1,               # a tool will say how many; veristat says one
            attr["map_flags"], attr.name("map_name"), map_address(fd),
            inner=self._maps.get(attr["inner_map_fd"]),
            fields=value_fields(btf, attr["btf_value_type_id"], self.types,
                                tuple(self.modules.values())),
            has_btf=btf is not None, btf=btf)
        return fd

    def mmap(self, fd: int, size: int, *, offset: int = 0, writable: bool = True) -> Unread:
        """Memory of a map, which no program will ever read; an arena must have some."""
        return self.mmap_at(fd, size, _USER_MEMORY)

    def mmap_at(self, fd: int, size: int, address: int) -> Unread:
        """The same at an address of the caller's choice."""
        self._maps[fd].user_memory = range(address, address + size)
        return Unread(size)

    def _map_update(self, attr: Fields) -> int:
        """Only data sections have content that is known: one value."""
        made = self._maps.get(attr["map_fd"])
        if made is None:
            raise BpfError(errno.EBADF)
        if made.type == uapi.BPF_MAP_TYPE_ARRAY and made.max_entries == 1:
            made.content = ctypes.string_at(attr["value"], made.value_size)
        return 0

    def _map_freeze(self, attr: Fields) -> int:
        made = self._maps[attr["map_fd"]]
        made.frozen = True
        if made.content is None and made.type == uapi.BPF_MAP_TYPE_ARRAY:
            made.content = bytes(made.value_size)
        return 0

    def _btf_load(self, attr: Fields) -> int:
        data = ctypes.string_at(attr["btf"], attr["btf_size"])
        known = self._checked.get(data)
        if known is None:
            known = self._checked[data] = _checked(data, self.types)
        if isinstance(known, BadBtf):
            raise BpfError(known.errno or errno.EINVAL)
        fd = next(self._numbers)
        self._btfs[fd] = TypesFacts(known)
        return fd

    def _types_by_id(self, attr: Fields) -> int:
        """A descriptor of a module's types, or of a program's."""
        number = attr["start_id"]
        known = {m.id: TypesFacts(m.btf, m.name) for m in self.kernel_modules()}
        known |= {_FIRST_TYPES + fd: TypesFacts(program.btf)
                  for fd, program in self._programs.items() if program.btf is not None}
        if number not in known:
            raise BpfError(errno.ENOENT)
        fd = next(self._numbers)
        self._btfs[fd] = known[number]
        return fd

    def _prog_load(self, attr: Fields) -> int:
        """Whatever the verdict is, the loader gets a descriptor and goes on."""
        insns = decode(ctypes.string_at(attr["insns"], 8 * attr["insn_cnt"]))
        facts = self._facts(attr)
        fd = next(self._numbers)
        outcome = Outcome(attr.name("prog_name"), facts, len(insns), fd)
        self.outcomes.append(outcome)
        try:
            outcome.verdict = verify(insns, facts, Options(self.log_level))
        except NotSupported as error:
            outcome.unsupported = error
        if outcome.verdict is not None and outcome.verdict.accepted:
            self._programs[fd] = ProgramFacts.of(facts, outcome.verdict)
        return fd

    def _facts(self, attr: Fields) -> Facts:
        licence = ctypes.string_at(attr["license"])
        return replace(facts(attr, self), gpl=licence in GPL_COMPATIBLE, maps=dict(self._maps),
                       btfs=self._btfs, cpus=self.cpus, kernel_btf=self.types,
                       modules=tuple(self.modules.values()))

    # -- what memory and descriptors hold (verifier.attr.Around)

    def read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)

    def types_of(self, fd: int) -> Btf:
        """A program's types. Raises BpfError."""
        if fd not in self._btfs:
            raise BpfError(errno.EBADF)
        return self._btfs[fd].btf

    def attached(self, fd: int) -> Btf | ProgramFacts:
        if fd in self._btfs and self._btfs[fd].module:
            return self._btfs[fd].btf
        if fd not in self._programs:
            raise BpfError(errno.EINVAL)
        return self._programs[fd]

    def target(self) -> Target | None:
        if self.types is None:
            return None
        return Target(self.types, lambda: tuple(self.modules.items()))

    def tell(self, member: str, value: int) -> None:
        """Nobody looks at what is written back."""

    def _nothing(self, attr: Fields) -> int:
        return 0

    def _no_more(self, attr: Fields) -> int:
        raise BpfError(errno.ENOENT)

    def _info(self, attr: Fields) -> int:
        """The number of a program's types, and types themselves: of nothing else."""
        fd, at = attr["info.bpf_fd"], attr["info.info"]
        program = self._programs.get(fd)
        if program is not None:
            number = _FIRST_TYPES + fd if program.btf is not None else 0
            _put(at, "bpf_prog_info", "btf_id", number)
        elif fd in self._btfs:
            _put_types(at, bytes(self._btfs[fd].btf.data))
        else:
            raise BpfError(ENOTSUPP)
        return 0


_COMMANDS: dict[int, Callable[[Offline, Fields], int]] = {
    uapi.BPF_MAP_CREATE: Offline._map_create,
    uapi.BPF_MAP_UPDATE_ELEM: Offline._map_update,
    uapi.BPF_MAP_FREEZE: Offline._map_freeze,
    uapi.BPF_BTF_LOAD: Offline._btf_load,
    uapi.BPF_PROG_LOAD: Offline._prog_load,
    uapi.BPF_PROG_BIND_MAP: Offline._nothing,
    uapi.BPF_BTF_GET_NEXT_ID: Offline._no_more,
    uapi.BPF_BTF_GET_FD_BY_ID: Offline._types_by_id,
    uapi.BPF_OBJ_GET_INFO_BY_FD: Offline._info,
}


def _put(address: int, struct: str, member: str, value: int) -> None:
    """Write a number of four bytes into a structure in memory."""
    offset = next(m.offset for m in STRUCTS[struct].members if m.name == member)
    ctypes.memmove(address + offset, value.to_bytes(4, sys.byteorder), 4)


def _put_types(address: int, data: bytes) -> None:
    """struct bpf_btf_info: the bytes where its first member says, as many as there is room for."""
    room = int.from_bytes(ctypes.string_at(address + 8, 4), sys.byteorder)
    into = int.from_bytes(ctypes.string_at(address, 8), sys.byteorder)
    if into:
        ctypes.memmove(into, data, min(room, len(data)))
    _put(address, "bpf_btf_info", "btf_size", len(data))


def _checked(data: bytes, kernel: Btf | None) -> BadBtf | Btf:
    """The types as BPF_BTF_LOAD takes them, or why it does not."""
    try:
        check(data, kernel=kernel)
    except BadBtf as error:
        return error
    return Btf(data)
