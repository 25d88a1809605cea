"""The types of a module on top of vmlinux's, and the lists of ids made of them (resolve_btfids).

gcc writes all types that a source uses. Those that vmlinux has, which the source has from it,
become vmlinux's; what remains is what pahole would write for the module.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.elf import find_section
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.proto.kfuncs import Kfunc, KfuncSet
from anybpf.proto.struct_ops import StructOps
from anybpf.proto.writes import Texts, Writes

PERCPU = ".data..percpu"
#: as the lists name kinds
KINDS = {"func": uapi.BTF_KIND_FUNC, "struct": uapi.BTF_KIND_STRUCT}
NAMED = (t.Int, t.Composite, t.AnyEnum, t.Typedef, t.Float)
#: in the source: what is registered for which programs, and the set behind it
REGISTERED = re.compile(r"register_btf_kfunc_id_set\(BPF_PROG_TYPE_(\w+),\s*&(\w+)\)")
BEHIND = re.compile(r"btf_kfunc_id_set\s+(\w+)\s*=\s*\{[^}]*\.set\s*=\s*&(\w+)")
#: structs of functions, and functions that stand for their members
OPERATIONS = re.compile(r"struct bpf_struct_ops \w+ = \{([^}]*)\}")
STUBS = re.compile(r"static struct \w+ (\w+) = \{([^}]*)\}")
MEMBER, NAME = re.compile(r"\.(\w+)\s*="), re.compile(r'\.name = "(\w+)"')
STUB = re.compile(r"\.cfi_stubs = &(\w+)")
#: a struct whose further members get their functions as the module begins
WIDE, TRAMPOLINES = "bpf_testmod_ops", frozenset(f"tramp_{n}" for n in range(1, 41))
NO_WRITES = Writes({}, Texts("only read is supported"))
#: what programs for a struct may write, and behind which of them code of the module's runs
WRITES = {"bpf_testmod_st_ops": Writes({"st_ops_args": ()}, Texts())}
EPILOGUES = {"bpf_testmod_st_ops": ("test_epilogue", "test_pro_epilogue")}
#: program types that share the functions of another
ALSO = {"TRACING": ("TRACEPOINT", "PERF_EVENT", "LSM")}
ID = struct.Struct("<I")
SET = struct.Struct("<2I")


class Module:
    """A module's object file, of which `types()` and `ids()` are what must be put into it."""

    def __init__(self, image: bytes, symbols: set[str], kernel: Btf) -> None:
        self._image = image
        self._symbols = symbols
        self._kernel = kernel
        self._all = Btf(self._section(".BTF"))
        self._builder = BtfBuilder(base=kernel)
        self._new: dict[int, int] = {}
        self._order: list[int] = []
        self._made: Btf | None = None
        #: set -> function -> flags, once there are ids
        self.sets: dict[str, dict[str, int]] = {}

    def _section(self, name: str) -> bytes:
        found = find_section(self._image, name)
        assert found is not None, name
        return found

    # -- types

    def types(self) -> bytes:
        """The module's own types."""
        for number, found in self._all.types():
            if self._is_root(found):
                self._take(number)
        for number in self._order:
            self._builder.add(self._renumbered(self._all.type(number)))
        self._add_percpu()
        self._made = self._builder.build()
        return self._builder.to_bytes()

    def _is_root(self, found: t.Type) -> bool:
        """It is there for its own sake."""
        if isinstance(found, t.Func):
            return found.name in self._symbols
        if isinstance(found, t.Var):
            return False
        return isinstance(found, NAMED) and bool(found.name) and not self._known(found)

    def _known(self, found: t.Type) -> int:
        """vmlinux's type of the same name."""
        if isinstance(found, t.Fwd):
            kind = uapi.BTF_KIND_UNION if found.is_union else uapi.BTF_KIND_STRUCT
            return self._kernel.find(found.name, kind)
        kinds = [found.kind]
        if isinstance(found, t.AnyEnum):
            kinds = [uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64]
        if not found.name or not isinstance(found, NAMED):
            return 0
        return next(filter(None, (self._kernel.find(found.name, kind) for kind in kinds)), 0)

    def _take(self, number: int) -> None:
        """Give a type, and all that it is made of, a number."""
        waiting = [number]
        while waiting:
            number = waiting.pop()
            if not number or number in self._new:
                continue
            found = self._all.type(number)
            known = self._known(found)
            if known:
                self._new[number] = known
                continue
            self._new[number] = len(self._kernel) + len(self._order)
            self._order.append(number)
            waiting += _parts(found)

    def _renumbered(self, found: t.Type) -> t.Type:
        new = self._new | {0: 0}
        if isinstance(found, t.Composite):
            return replace(found, members=tuple(
                m._replace(type=new[m.type]) for m in found.members))
        if isinstance(found, t.FuncProto):
            return replace(found, type=new[found.type], params=tuple(
                p._replace(type=new[p.type]) for p in found.params))
        if isinstance(found, t.Array):
            return replace(found, type=new[found.type], index_type=new[found.index_type])
        if isinstance(found, t.Ref | t.Typedef | t.Func):
            return replace(found, type=new[found.type])
        return found

    def _add_percpu(self) -> None:
        """Variables of which each CPU has its own."""
        section = next((s for _, s in self._all.types()
                        if isinstance(s, t.Datasec) and s.name == PERCPU), None)
        if section is None:
            return
        made: list[t.SecVar] = []
        for one in section.vars:
            var = self._all.type(one.type)
            assert isinstance(var, t.Var)
            known = self._known(self._all.type(var.type))
            start = sum(other.size for other in made)
            made.append(t.SecVar(self._builder.add(replace(var, type=known)), start,
                                 self._kernel.size_of(known)))
        self._builder.add(replace(section, vars=tuple(made), size=sum(v.size for v in made)))

    # -- ids

    def ids(self) -> bytes:
        """What goes into .BTF_ids."""
        blank = self._section(".BTF_ids")
        made, words = b"", self._words()
        for word in words:
            kind, _, name = word.partition(" ")
            if kind == "set":
                pairs = dict(self._pairs(words, blank, len(made)))
                self.sets[name] = pairs
                made += _sorted_set([(self._id(word), flags) for word, flags in pairs.items()])
            else:
                made += ID.pack(self._id(word))
        return made.ljust(len(blank), b"\0")

    def _words(self) -> Iterator[str]:
        return iter(self._section(".ids").decode().split("\0")[:-1])

    def _pairs(self, words: Iterator[str], blank: bytes, start: int) -> Iterator[tuple[str, int]]:
        """The functions and flags of a set that begins at `start`."""
        at = start + SET.size
        for word in words:
            if word == "end":
                return
            yield word, SET.unpack_from(blank, at)[1]
            at += SET.size

    def _id(self, word: str) -> int:
        kind, name = word.split()
        assert self._made is not None
        return self._made.find(name, KINDS[kind])


def rows(source: str, sets: dict[str, dict[str, int]]) -> dict[str, Kfunc]:
    """The kernel functions of a module by name, with the program types that may call them."""
    behind = dict(BEHIND.findall(source))
    types: dict[str, list[str]] = {}
    for kind, name in REGISTERED.findall(source):
        types.setdefault(behind[name], []).append(kind)
    found: dict[str, Kfunc] = {}
    for name, kinds in types.items():
        row = _kfunc_set(name, kinds)
        for word, flags in sets[name].items():
            function = word.split()[1]
            found[function] = Kfunc(function, "", (), flags, (row,), "")
    return found


def operations(source: str) -> dict[str, StructOps]:
    """The structs of functions that a module registers, by name."""
    stubs = {name: frozenset(MEMBER.findall(body)) for name, body in STUBS.findall(source)}
    found = {}
    for body in OPERATIONS.findall(source):
        name = NAME.findall(body)[0]
        members = stubs[STUB.findall(body)[0]] | (TRAMPOLINES if name == WIDE else frozenset())
        found[name] = StructOps(name, members, WRITES.get(name, NO_WRITES),
                                epilogues=EPILOGUES.get(name, ()))
    return found


def _kfunc_set(name: str, kinds: list[str]) -> KfuncSet:
    if "UNSPEC" in kinds:
        return KfuncSet(name, (), ())
    every = [word for kind in kinds for word in (kind, *ALSO.get(kind, ()))]
    return KfuncSet(name, tuple(getattr(uapi, f"BPF_PROG_TYPE_{word}") for word in every), ())


def _sorted_set(pairs: list[tuple[int, int]]) -> bytes:
    return b"".join(SET.pack(*pair) for pair in [(len(pairs), 1), *sorted(pairs)])


def _parts(found: t.Type) -> list[int]:
    """The types that a type is made of."""
    if isinstance(found, t.Composite):
        return [m.type for m in found.members]
    if isinstance(found, t.FuncProto):
        return [found.type, *(p.type for p in found.params)]
    if isinstance(found, t.Array):
        return [found.type, found.index_type]
    return [found.type] if isinstance(found, t.Ref | t.Typedef | t.Func) else []
