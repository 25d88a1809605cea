"""The running kernel's verifier and ours on the same program: a backend that asks both."""

from __future__ import annotations

import ctypes
import errno
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf.fields import value_fields
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.errors import BpfError, NotSupported
from anybpf.isa.insn import Insn, decode
from anybpf.libbpf.bpf import btf_bytes
from anybpf.libbpf.kernel_btf import module_name
from anybpf.linux import Linux
from anybpf.proto.kfuncs import Kfunc
from anybpf.proto.progs import GPL_COMPATIBLE
from anybpf.proto.struct_ops import BY_NAME as STRUCT_OPS
from anybpf.proto.struct_ops import StructOps
from anybpf.syscall.attr import FIELDS
from anybpf.verifier import Facts, MapFacts, Options, verify
from anybpf.verifier.attr import facts
from anybpf.verifier.facts import ProgramFacts, TypesFacts
from kernel.verdicts import kernel_btf, kernel_symbols, lacking

LOG_SIZE = 1 << 24
ADDRESS = re.compile(r"0xffff[0-9a-f]{12}")
TIME = re.compile(r"verification time \d+ usec")


#: rows of kernel functions of modules that were brought in for a comparison
MODULE_KFUNCS: dict[str, Kfunc] = {}
#: and of structs of functions
MODULE_OPS: dict[str, StructOps] = {}
#: and their types
MODULE_TYPES: list[Btf] = []


class Answer(NamedTuple):
    """One verifier's verdict: the errno's name or OK, and the log with addresses masked."""

    verdict: str
    log: str


@dataclass(eq=False)
class Pair:
    """Both answers; ours is None where the verifier does not model something yet."""

    name: str
    kernel: Answer
    ours: Answer | None
    unsupported: str = ""

    @property
    def same_verdict(self) -> bool:
        return self.ours is not None and self.ours.verdict == self.kernel.verdict

    @property
    def first_difference(self) -> str:
        """The first line that differs, from both; empty if the logs are equal."""
        if self.ours is None:
            return f"not supported: {self.unsupported}"
        theirs, mine = self.kernel.log.splitlines(), self.ours.log.splitlines()
        for number, (a, b) in enumerate(zip(theirs, mine, strict=False), 1):
            if a != b:
                return f"line {number}\n  kernel: {a}\n  ours:   {b}"
        if len(theirs) != len(mine):
            return f"kernel has {len(theirs)} lines, ours {len(mine)}"
        return ""


def masked(log: str) -> str:
    """Without addresses and times, which differ from run to run."""
    return TIME.sub("verification time", ADDRESS.sub("ADDRESS", log))


def errno_name(number: int) -> str:
    return {0: "OK", 524: "ENOTSUPP"}.get(number) or errno.errorcode[number]


def address_of(memory: mmap.mmap) -> int:
    """Where the memory is mapped, in this process or in the guest's."""
    known: int | None = getattr(memory, "address", None)
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)) if known is None else known


@cache
def _log_buffer() -> ctypes.Array[ctypes.c_char]:
    """Kept: sixteen megabytes of zeros take longer than most programs."""
    return ctypes.create_string_buffer(LOG_SIZE)


def ask_kernel(kernel: Linux, attr: bytearray, level: int) -> Answer:
    """Load and close; the log has room for everything."""
    buffer = _log_buffer()
    buffer[0] = b"\0"
    mine = bytearray(attr)
    put(mine, log_level=level, log_size=LOG_SIZE, log_buf=ctypes.addressof(buffer))
    try:
        kernel.close(kernel.bpf(uapi.BPF_PROG_LOAD, mine))
        number = 0
    except BpfError as error:
        number = error.errno or 0
    return Answer(errno_name(number), masked(buffer.value.decode(errors="replace")))


def ask_ours(insns: list[Insn], facts: Facts, level: int) -> Answer:
    """Raises NotSupported."""
    verdict = verify(insns, facts, Options(level))
    return Answer(errno_name(verdict.errno), masked(verdict.log))


def put(attr: bytearray, **values: int) -> None:
    for name, value in values.items():
        codec = FIELDS[name].codec
        assert codec is not None
        codec.pack_into(attr, FIELDS[name].start, value)


class Maps(dict[int, MapFacts]):
    """Maps by descriptor; what is open and no map answers as the kernel does."""

    def __init__(self, kernel: Linux) -> None:
        super().__init__()
        self._kernel = kernel

    def __missing__(self, fd: int) -> MapFacts:
        try:
            self._kernel.close(self._kernel.dup(fd))
        except BpfError:
            raise KeyError(fd) from None
        raise BpfError(errno.EINVAL, "not a map")


@dataclass(eq=False)
class Both:
    """A backend for the loader: the kernel answers, and every program is put before both."""

    level: int = uapi.BPF_LOG_LEVEL2
    kernel: Linux = field(default_factory=Linux)
    maps: Maps = field(init=False)
    types: dict[int, Btf] = field(default_factory=dict)
    #: programs and modules' types that others may attach to, by descriptor
    programs: dict[int, Btf | ProgramFacts] = field(default_factory=dict)
    #: the types of modules by descriptor
    modules: dict[int, TypesFacts] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    name: str = "both"
    resolves_core_relos: bool = True

    def __post_init__(self) -> None:
        self.maps = Maps(self.kernel)

    def __getattr__(self, name: str) -> object:
        """What else the loader asks a backend for: the kernel's types, memory of maps."""
        return getattr(self.kernel, name)

    @property
    def types_of_kernel(self) -> Btf:
        """The running kernel's."""
        return kernel_btf()

    @property
    def num_possible_cpus(self) -> int:
        return self.kernel.num_possible_cpus

    def close(self, fd: int) -> None:
        self.kernel.close(fd)
        for known in (self.maps, self.types, self.programs, self.modules):
            known.pop(fd, None)

    def mmap(self, fd: int, size: int, *, offset: int = 0, writable: bool = True) -> mmap.mmap:
        """The kernel's memory; that of an arena has its address from here on."""
        memory = self.kernel.mmap(fd, size, offset=offset, writable=writable)
        known = self.maps.get(fd)
        if known is not None and known.type == uapi.BPF_MAP_TYPE_ARENA:
            start = address_of(memory)
            known.user_memory = range(start, start + size)
        return memory

    def bpf(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_PROG_LOAD:
            self._load(attr)
        answer = self.kernel.bpf(cmd, attr)
        note = _NOTES.get(cmd)
        if note is not None:
            note(self, Fields(attr), answer)
        return answer

    def _load(self, attr: bytearray) -> None:
        fields = Fields(attr)
        if fields["log_level"]:
            return
        insns = self.insns(fields)
        kernel = ask_kernel(self.kernel, attr, self.level)
        name = fields.text("prog_name")
        try:
            self.pairs.append(Pair(name, kernel, ask_ours(insns, self.facts(fields), self.level)))
        except NotSupported as error:
            self.pairs.append(Pair(name, kernel, None, error.feature))

    @staticmethod
    def insns(fields: Fields) -> list[Insn]:
        """The instructions of a program that is to be loaded."""
        return decode(ctypes.string_at(fields["insns"], 8 * fields["insn_cnt"]))

    def facts(self, fields: Fields) -> Facts:
        """What the verifier is told of it."""
        return replace(
            facts(fields, self), gpl=ctypes.string_at(fields["license"]) in GPL_COMPATIBLE,
            maps=self.maps, cpus=self.kernel.num_possible_cpus, lacks=lacking(),
            btfs=self.modules, kfuncs=MODULE_KFUNCS,
            struct_ops=STRUCT_OPS | MODULE_OPS, symbols=kernel_symbols(),
            kernel_btf=self.types_of_kernel, modules=tuple(MODULE_TYPES))

    # -- what memory and descriptors hold (anybpf.verifier.attr.Around)

    def read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)

    def types_of(self, fd: int) -> Btf:
        """A program's types. Raises BpfError."""
        if fd not in self.types:
            raise BpfError(errno.EBADF)
        return self.types[fd]

    def attached(self, fd: int) -> Btf | ProgramFacts:
        """A module's types, or a program."""
        if fd not in self.programs:
            raise NotSupported("attaching to what was not loaded here")
        return self.programs[fd]

    def target(self) -> Target | None:
        return Target(self.types_of_kernel)

    def tell(self, member: str, value: int) -> None:
        """Nobody looks at what is written back."""

    # -- what maps and types are

    def created(self, fields: Fields, fd: int) -> None:
        btf = self.types.get(fields["btf_fd"])
        special = value_fields(btf, fields["btf_value_type_id"], self.types_of_kernel,
                               MODULE_TYPES)
        inner = self.maps.get(fields["inner_map_fd"])
        size = fields["value_size"]
        self.maps[fd] = MapFacts(
            fields["map_type"], fields["key_size"], size, fields["max_entries"],
            fields["map_flags"], fields.text("map_name"), inner=inner, fields=special,
            has_btf=btf is not None, btf=btf,
            user_memory=_user_memory(fields),
            content=bytes(size) if fields["map_type"] == uapi.BPF_MAP_TYPE_ARRAY else None)

    def updated(self, fields: Fields, answer: int) -> None:
        known = self.maps.get(fields["map_fd"])
        if known is not None and known.content is not None and known.max_entries == 1:
            known.content = ctypes.string_at(fields["value"], known.value_size)

    def froze(self, fields: Fields, answer: int) -> None:
        if fields["map_fd"] in self.maps:
            self.maps[fields["map_fd"]].frozen = True

    def typed(self, fields: Fields, fd: int) -> None:
        self.types[fd] = Btf(ctypes.string_at(fields["btf"], fields["btf_size"]))

    def found_types(self, fields: Fields, fd: int) -> None:
        """Of the modules' types it is known what they are."""
        module = module_name(self.kernel, fd)
        if module is not None:
            self.programs[fd] = types = module_types(self.kernel, fd)
            self.modules[fd] = TypesFacts(types, module)


def module_types(kernel: Linux, fd: int) -> Btf:
    """A module's types by a descriptor."""
    return _split(btf_bytes(kernel, fd))


@lru_cache(8)
def _split(data: bytes) -> Btf:
    return Btf(data, kernel_btf())


def _user_memory(fields: Fields) -> range:
    """Where an arena is to be mapped, if its maker says so."""
    start = fields["map_extra"] if fields["map_type"] == uapi.BPF_MAP_TYPE_ARENA else 0
    return range(start, start + fields["max_entries"] * mmap.PAGESIZE) if start else range(0)


class Fields:
    """Members of an attr by name; 0 where the caller's union is shorter."""

    def __init__(self, attr: bytearray) -> None:
        self.data = bytes(attr).ljust(256, b"\0")

    def __getitem__(self, name: str) -> int:
        found = FIELDS[name]
        assert found.codec is not None
        return int(found.codec.unpack_from(self.data, found.start)[0])

    def text(self, name: str) -> str:
        found = FIELDS[name]
        return self.data[found.start:found.end].split(b"\0")[0].decode()

    def records(self, name: str, layout: str) -> Iterator[tuple[int, ...]]:
        size = self[f"{name}_rec_size"]
        for number in range(self[f"{name}_cnt"]):
            data = ctypes.string_at(self[name] + number * size, size)
            yield struct.unpack_from(layout, data)


_NOTES = {uapi.BPF_MAP_CREATE: Both.created, uapi.BPF_MAP_UPDATE_ELEM: Both.updated,
          uapi.BPF_MAP_FREEZE: Both.froze, uapi.BPF_BTF_LOAD: Both.typed,
          uapi.BPF_BTF_GET_FD_BY_ID: Both.found_types}
