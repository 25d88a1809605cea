"""Case files: tiny programs with their verdict and the lines the verifier says.

    [case read past the end of a map value]
    [prog socket]
    r1 = array ll
    ...
    [reject EACCES]
    invalid access to map value, value_size=8 off=8 size=1

`[prog TYPE WORD ...]`: the type is bpftool's name (`socket` for short); words are flags (`strict`,
`freq`, `sleepable`, ... of `FLAGS`), `nogpl`, `attach=NUMBER` or `attach=NAME` (of `BPF_NAME`),
`target=NAME` or `target=MODULE:NAME` (of the kernel's types or a module's), `target=STRUCT.MEMBER`,
`guest` (only the guest can judge it: docs/guest.md), `fd_array=NAME,NAME*5,...` and `bound=N`
(fd_array_cnt). In the array, `module:NAME` are a module's types, whose functions can be called then
(`module.NAME.it` is the address of what is called so there), and `types` the program's own. A line
`5 x STATEMENTS` stands for five, with 0 .. 4 for every `$`.
`[accept]` may be followed by lines that the log has somewhere, in order, at level 2. A rejecting
text may go over several lines; `attach_btf_id {target}` in it means the target's number, `kfunc
NAME#{id}` the function's. In between there may be

* `[maps]`: the case's own maps, `NAME TYPE KEY_SIZE VALUE_SIZE ENTRIES WORD ...` each; words are
  map flags (`rdonly_prog`), `value=TYPE` (of `[types]`), `inner=NAME`, `content=HEX`, `frozen`,
  `extra=N` (map_extra), `exclusive=HEX` (excl_prog_hash), `copies=N` (NAME0, NAME1, ...);
* `[types]`: C declarations (`c_types`). The functions among them are the program's, in order: the
  first at slot 0, the others at the labels with their names;
* `[target_prog TYPE WORD ...]`, `[target_types]`: a program that is loaded before, and attached
  to: `target=NAME` then is one of its functions. It may have a target itself (`target_target_...`);
* `[func_info WORD ...]`: instead of those: `SLOT TYPE_NAME_OR_ID` each;
* `[line_info WORD ...]`: `SLOT FILE LINE TEXT` each. Words of both: `rec_size=N` and, for what a
  longer record ends in, `tail=N`. A file or text `@N` is offset N in the table of strings.

A case without an outcome gets one from `pytest --update`.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf.builtin import builtin
from anybpf.btf.fields import Field, value_fields
from anybpf.btf.parse import Btf
from anybpf.btf.types import Composite
from anybpf.isa.asm import Pseudo, parse
from anybpf.isa.insn import Insn, encode
from anybpf.proto import kfuncs, progs
from anybpf.verifier import Facts, MapFacts, verify
from anybpf.verifier.facts import ProgramFacts, Records, Table, TypesFacts
from kernel.verdicts import kernel_btf, kernel_module, kernel_symbols
from verifier.c_types import CTypes

HERE = Path(__file__).parent
HEADER = re.compile(r"\[(case|prog|maps|types|func_info|line_info|accept|reject"
                    r"|(?:target_)+(?:prog|types))\s*(.*?)\]$")
#: sections of the program that is attached to begin so
ABOUT_TARGET = "target_"
#: a member's offset in the kernel: `{task_struct.mm}`
MEMBER = re.compile(r"\{(\w+)\.(\w+)\}")
#: the number of a type of the program: `{struct node}`
TYPE = re.compile(r"\{(struct \w+)\}")
SHORT = {"socket": "socket_filter", "tc": "sched_cls"}
FLAGS = {
    "strict": uapi.BPF_F_STRICT_ALIGNMENT, "any_alignment": uapi.BPF_F_ANY_ALIGNMENT,
    "freq": uapi.BPF_F_TEST_STATE_FREQ, "sleepable": uapi.BPF_F_SLEEPABLE,
    "frags": uapi.BPF_F_XDP_HAS_FRAGS, "invariants": uapi.BPF_F_TEST_REG_INVARIANTS,
}


class MapKind(NamedTuple):
    """A map that cases may name: what MAP_CREATE takes, and what is done with it then."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    value_type: str = ""
    inner: str = ""
    content: bytes = b""
    frozen: bool = False
    extra: int = 0
    exclusive: bytes = b""
    copies: int = 0

    @property
    def user_memory(self) -> range:
        """What `map_extra` says of an arena."""
        size = self.max_entries * mmap.PAGESIZE
        placed = self.type == uapi.BPF_MAP_TYPE_ARENA and self.extra
        return range(self.extra, self.extra + size) if placed else range(0)


MAPS = {
    "array": MapKind(uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 4),
    "one": MapKind(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1),
    "hash": MapKind(uapi.BPF_MAP_TYPE_HASH, 4, 8, 8),
    "big": MapKind(uapi.BPF_MAP_TYPE_HASH, 8, 48, 8),
    "readonly": MapKind(uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 1, uapi.BPF_F_RDONLY_PROG),
    "writeonly": MapKind(uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 1, uapi.BPF_F_WRONLY_PROG),
    "progs": MapKind(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4),
    "events": MapKind(uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 4),
    "ring": MapKind(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096),
    "queue": MapKind(uapi.BPF_MAP_TYPE_QUEUE, 0, 8, 4),
    "devices": MapKind(uapi.BPF_MAP_TYPE_DEVMAP, 4, 4, 4),
}
#: descriptors that stand for the maps where there is no kernel
FIRST_FD = 100
LINE_SHIFT = 10
#: the number of a kernel function in messages
KFUNC_ID = re.compile(r"\b(kfunc \w+#)\d+")
#: in the array of descriptors: types of a module, and of the program
MODULE, OWN_TYPES = "module:", "types"
#: kinds of types that programs attach to
TARGETS = (uapi.BTF_KIND_FUNC, uapi.BTF_KIND_TYPEDEF, uapi.BTF_KIND_STRUCT)
#: what the kernel's types have for structs of functions that programs stand in for
OPS = "bpf_struct_ops_"
REPEATED = re.compile(r"(\d+) x (.*)")


@dataclass(frozen=True)
class Case:
    """One program and what is expected of it."""

    file: Path
    name: str
    #: section -> (words behind its name, lines)
    parts: dict[str, tuple[str, tuple[str, ...]]]
    #: `"OK"` or the errno's name; empty if nothing is expected yet
    verdict: str
    text: tuple[str, ...]

    def words(self, part: str) -> list[str]:
        return self.parts[part][0].split() if part in self.parts else []

    def lines(self, part: str) -> tuple[str, ...]:
        return tuple(line for line in self.parts[part][1] if line) if part in self.parts else ()

    def option(self, part: str, name: str) -> str:
        """The value of the word `name=VALUE`, or nothing."""
        return next((w.partition("=")[2] for w in self.words(part) if w.startswith(name + "=")), "")

    # -- the program

    @property
    def prog_type(self) -> int:
        name = self.words("prog")[0]
        return progs.BY_NAME[SHORT.get(name, name)].type

    @property
    def attach(self) -> int:
        """The expected attach type; for a member of a struct its index."""
        if self._member:
            return _member_index(self.module_types() or kernel_types(), self.target, self._member)
        return _number(self.option("prog", "attach") or "0", "BPF_")

    @property
    def needs_guest(self) -> bool:
        """The running kernel refuses such programs by policy, or has no modules."""
        return "guest" in self.words("prog")

    @property
    def module(self) -> str:
        """The module whose function is attached to; empty: the kernel's own."""
        return self.option("prog", "target").rpartition(":")[0]

    @cached_property
    def attached(self) -> Case | None:
        """The program that this one attaches to."""
        parts = {name.removeprefix(ABOUT_TARGET): part for name, part in self.parts.items()
                 if name.startswith(ABOUT_TARGET)}
        return Case(self.file, self.name, parts, "", ()) if parts else None

    def _attached_facts(self, fds: dict[str, int], cpus: int) -> ProgramFacts | None:
        if self.attached is None:
            return None
        facts = self.attached.facts(fds, cpus)
        return ProgramFacts.of(facts, verify(self.attached.insns(fds), facts))

    @property
    def target(self) -> int:
        """The tracepoint or function that is attached to, in the kernel's or module's types."""
        name = self.option("prog", "target").rpartition(":")[2].partition(".")[0]
        if name.isdecimal() or not name:
            return int(name or 0)
        if self.attached is not None:
            return self.attached.types.ids[name]
        types = self.module_types() or kernel_types()
        number = next(filter(None, (types.find(name, kind) for kind in TARGETS)), 0)
        if not number or (self._member and self.needs_guest and not types.find(f"{OPS}{name}")):
            raise KeyError(name)
        return number

    @property
    def _member(self) -> str:
        """The member of a struct that is attached to."""
        return self.option("prog", "target").partition(".")[2]

    def anonymous(self, text: tuple[str, ...]) -> tuple[str, ...]:
        """Without the numbers of targets and functions, which each kernel has its own of."""
        text = tuple(KFUNC_ID.sub(r"\1{id}", line) for line in text)
        if not self.option("prog", "target"):
            return text
        return tuple(line.replace(f"attach_btf_id {self.target}", "attach_btf_id {target}")
                     for line in text)

    def module_types(self) -> Btf | None:
        """The types of the module that is attached to. Raises KeyError where it is not there."""
        return kernel_module(self.module) if self.module else None

    @property
    def flags(self) -> int:
        return sum(FLAGS.get(word, 0) for word in self.words("prog"))

    @property
    def gpl(self) -> bool:
        return "nogpl" not in self.words("prog")

    def insns(self, fds: dict[str, int]) -> list[Insn]:
        """The program, its maps by these descriptors; `NAME.value` is a value's address."""
        return self._assembled(fds)[0]

    def _assembled(self, fds: dict[str, int]) -> tuple[list[Insn], dict[str, int]]:
        symbols = map_symbols(fds)
        source = MEMBER.sub(lambda m: str(member_offset(*m.groups())),
                            "\n".join(map(_repeated, self.parts["prog"][1])))
        source = TYPE.sub(lambda m: str(self.types.ids[m[1]]), source)
        symbols |= dict(_kernel_symbols(source))
        symbols |= self._module_symbols(source, fds)
        symbols |= {name: Pseudo(uapi.BPF_PSEUDO_KFUNC_CALL, *found)
                    for name, found in kfunc_ids(source, self.modules).items()}
        return tuple(parse(source, symbols))

    @property
    def modules(self) -> dict[int, Btf]:
        """The types of modules by their places in the array. Raises KeyError."""
        words = self.option("prog", "fd_array").split(",")
        return {place: kernel_module(word.removeprefix(MODULE))
                for place, word in enumerate(words) if word.startswith(MODULE)}

    def load_modules(self) -> None:
        """The kernel has the modules of the array before maps with pointers to their structs."""
        assert all(types is not None for types in self.modules.values())

    def _module_symbols(self, source: str, fds: dict[str, int]) -> dict[str, Pseudo]:
        """Addresses of variables and functions of modules."""
        found = {}
        for name, symbol in re.findall(r"\bmodule\.(\w+)\.(\w+)", source):
            types = kernel_module(name)
            number = int(symbol) if symbol.isdecimal() else (
                types.find(symbol, uapi.BTF_KIND_VAR) or types.find(symbol, uapi.BTF_KIND_FUNC))
            found[f"module.{name}.{symbol}"] = Pseudo(
                uapi.BPF_PSEUDO_BTF_ID, number, fds[MODULE + name])
        return found

    def fd_array(self, fds: dict[str, int]) -> list[int]:
        """The descriptors that loads index; `NAME*5` is NAME0 to NAME4."""
        found: list[int] = []
        for word in filter(None, self.option("prog", "fd_array").split(",")):
            name, star, number = word.partition("*")
            names = [f"{name}{i}" for i in range(int(number))] if star else [name]
            found += [int(one) if one.isdecimal() else fds[one] for one in names]
        return found

    @property
    def bound(self) -> int:
        """How many of them are the program's in any case."""
        return int(self.option("prog", "bound") or 0)

    # -- maps

    @cached_property
    def own_maps(self) -> dict[str, MapKind]:
        return dict(pair for line in self.lines("maps") for pair in _maps(line))

    @property
    def maps(self) -> dict[str, MapKind]:
        return MAPS | self.own_maps

    def fds(self) -> dict[str, int]:
        """Descriptors that nothing stands behind."""
        return {name: FIRST_FD + i for i, name in enumerate((*self.maps, *self.types_in_array))}

    @property
    def types_in_array(self) -> list[str]:
        """The words of the array of descriptors that are types."""
        words = self.option("prog", "fd_array").split(",")
        return [word for word in words if word == OWN_TYPES or word.startswith(MODULE)]

    def _btfs(self, fds: dict[str, int]) -> dict[int, TypesFacts]:
        return {fds[word]: TypesFacts(self.types.parsed()) if word == OWN_TYPES else
                TypesFacts(kernel_module(name := word.removeprefix(MODULE)), name)
                for word in self.types_in_array}

    def _map_facts(self, fds: dict[str, int]) -> dict[int, MapFacts]:
        made: dict[str, MapFacts] = {}
        for name, kind in self.maps.items():
            content = kind.content.ljust(kind.value_size, b"\0")
            fields = self._fields(kind.value_type) if kind.value_type else ()
            made[name] = MapFacts(
                kind.type, kind.key_size, kind.value_size, kind.max_entries, kind.flags,
                name if name in self.own_maps else "", frozen=kind.frozen,
                inner=made.get(kind.inner), fields=fields, has_btf=bool(kind.value_type),
                btf=self.types.parsed() if kind.value_type else None,
                exclusive=kind.exclusive,
                user_memory=kind.user_memory,
                content=content if kind.type == uapi.BPF_MAP_TYPE_ARRAY else None)
        return {fds[name]: facts for name, facts in made.items()}

    def _fields(self, value_type: str) -> tuple[Field, ...]:
        """The special fields of values."""
        return value_fields(self.types.parsed(), self.types.ids[value_type], kernel_types(),
                            tuple(self.modules.values()))

    # -- types, functions, lines

    @cached_property
    def types(self) -> CTypes:
        return CTypes("\n".join(self.lines("types")))

    def func_info(self, fds: dict[str, int]) -> list[tuple[int, int]]:
        """(slot, type) of each record."""
        if "func_info" in self.parts:
            return [(int(slot), _type(self.types, name))
                    for slot, name in map(str.split, self.lines("func_info"))]
        labels = self._assembled(fds)[1]
        names = self.types.functions() if "types" in self.parts else []
        return [(labels.get(name, 0), self.types.ids[name]) for name in names
                if name in labels or name == names[0]]

    def line_info(self) -> list[tuple[int, int, int, int]]:
        """(slot, file, text, number and column) of each record."""
        found = []
        for line in self.lines("line_info"):
            slot, file, number, *text = line.split(None, 3)
            found.append((int(slot), self._string(file), self._string("".join(text)),
                          int(number) << LINE_SHIFT | 1))
        return found

    def _string(self, text: str) -> int:
        return int(text[1:]) if text.startswith("@") else self.types.string(text)

    def table(self, part: str, fds: dict[str, int]) -> tuple[int, int, bytes]:
        """(count, size, bytes) of the records of a section."""
        records = self.func_info(fds) if part == "func_info" else self.line_info()
        known = 4 * len(records[0]) if records else 0
        size = int(self.option(part, "rec_size") or known)
        tail = int(self.option(part, "tail") or 0).to_bytes(1, "little")
        raw = (struct.pack(f"<{len(record)}I", *record) for record in records)
        return len(records), size, b"".join((r + tail).ljust(size, b"\0")[:size] for r in raw)

    def facts(self, fds: dict[str, int], cpus: int) -> Facts:
        """What the verifier is told."""
        return Facts(self.prog_type, self.attach, gpl=self.gpl, flags=self.flags,
                     sleepable=bool(self.flags & uapi.BPF_F_SLEEPABLE),
                     maps=self._map_facts(fds), cpus=cpus, kernel_btf=kernel_types(),
                     modules=tuple(self.modules.values()),
                     symbols=kernel_symbols() if has_types() else None,
                     attach_btf_id=self.target, attach_module=self.module_types(),
                     attach_prog=self._attached_facts(fds, cpus),
                     fd_array=self.fd_array(fds) or None, bound=self.bound, btfs=self._btfs(fds),
                     digest=lambda insns: hashlib.sha256(encode(list(insns))).digest(),
                     records=self._records(fds) if "types" in self.parts else None)

    def _records(self, fds: dict[str, int]) -> Records:
        return Records(self.types.parsed, self._table("func_info", fds),
                       self._table("line_info", fds), Table(0, 0, _no_bytes, _tell),
                       lambda: None)

    def _table(self, part: str, fds: dict[str, int]) -> Table:
        count, size, data = self.table(part, fds)
        return Table(count, size, lambda offset, length: data[offset:offset + length], _tell)


def map_symbols(fds: dict[str, int]) -> dict[str, Pseudo]:
    """What `NAME ll`, `NAME.value ll` and `NAME.types ll` (as if types were there) stand for."""
    return {name: Pseudo(uapi.BPF_PSEUDO_MAP_FD, fd) for name, fd in fds.items()} | {
        f"{name}.value": Pseudo(uapi.BPF_PSEUDO_MAP_VALUE, fd) for name, fd in fds.items()} | {
        f"{name}.types": Pseudo(uapi.BPF_PSEUDO_BTF_ID, 1, fd) for name, fd in fds.items()}


def _no_bytes(offset: int, size: int) -> bytes:
    return bytes(size)


def _tell(size: int) -> None:
    """Nobody wants to know which size would have been right."""


def _kernel_symbols(source: str) -> Iterator[tuple[str, Pseudo]]:
    """`kernel.NAME`: the address of a variable or function of the kernel."""
    types = kernel_types()
    for name in re.findall(r"\bkernel\.(\w+)", source):
        number = int(name) if name.isdecimal() else (
            types.find(name, uapi.BTF_KIND_VAR) or types.find(name, uapi.BTF_KIND_FUNC))
        yield f"kernel.{name}", Pseudo(uapi.BPF_PSEUDO_BTF_ID, number)


def has_types() -> bool:
    """Whether the running kernel tells its types."""
    return Path("/sys/kernel/btf/vmlinux").exists()


def kernel_types() -> Btf:
    """The running kernel's types where it tells them, else the built-in ones."""
    return kernel_btf() if has_types() else builtin()


def kfunc_ids(source: str, modules: dict[int, Btf]) -> dict[str, tuple[int, int]]:
    """The kernel functions that a program calls by name: (number in the kernel's types, 0), or
    (number in a module's, place of the module).

    Raises KeyError where the types do not have one.
    """
    names = [name for name in re.findall(r"\bcall (\w+)", source) if name in kfuncs.BY_NAME]
    return {name: _kfunc_id(name, modules) for name in names}


def _kfunc_id(name: str, modules: dict[int, Btf]) -> tuple[int, int]:
    for place, types in ((0, kernel_types()), *modules.items()):
        number = types.find(name, uapi.BTF_KIND_FUNC)
        if number:
            return number, place
    raise KeyError(name)


def member_offset(struct: str, member: str) -> int:
    """Where a member lies in a struct of the kernel. Raises KeyError where there is none."""
    btf = kernel_types()
    number = btf.find(struct, uapi.BTF_KIND_STRUCT)
    todo = [(number, 0)] if number else []
    for type_id, base in todo:
        for one in btf.expect(btf.resolve(type_id), Composite).members:
            if one.name == member:
                return base + one.offset
            if not one.name and isinstance(btf.type(btf.resolve(one.type)), Composite):
                todo.append((one.type, base + one.offset))
    raise KeyError(f"{struct}.{member}")


def _member_index(btf: Btf, struct: int, name: str) -> int:
    """Which member of the struct has the name. Raises KeyError."""
    names = [member.name for member in btf.expect(struct, Composite).members]
    if name.isdecimal():
        return int(name)
    if name not in names:
        raise KeyError(name)
    return names.index(name)


def _number(text: str, prefix: str) -> int:
    return int(text) if text.isdecimal() else int(getattr(uapi, prefix + text.upper()))


def _type(types: CTypes, name: str) -> int:
    return int(name) if name.isdecimal() else types.ids[name]


def _repeated(line: str) -> str:
    """`5 x TEXT` is TEXT five times, with 0 .. 4 for every `$`."""
    found = REPEATED.match(line)
    return line if found is None else "\n".join(
        found[2].replace("$", str(number)) for number in range(int(found[1])))


def _maps(line: str) -> Iterator[tuple[str, MapKind]]:
    """The map, or with `copies=N` so many of them, NAME0 and so on."""
    name, made = _map(line)
    if made.copies:
        yield from ((f"{name}{number}", made) for number in range(made.copies))
    else:
        yield name, made


def _map(line: str) -> tuple[str, MapKind]:
    name, kind, key, value, entries, *words = line.split()
    made = MapKind(_number(kind, "BPF_MAP_TYPE_"), int(key), int(value), int(entries))
    for word in words:
        option, _, text = word.partition("=")
        made = _OPTIONS[option](made, text) if option in _OPTIONS else made._replace(
            flags=made.flags | _number(word, "BPF_F_"))
    return name, made


_OPTIONS = {
    "value": lambda made, text: made._replace(value_type=text.replace("_", " ", 1)),
    "inner": lambda made, text: made._replace(inner=text),
    "content": lambda made, text: made._replace(content=bytes.fromhex(text)),
    "extra": lambda made, text: made._replace(extra=int(text, 0)),
    "exclusive": lambda made, text: made._replace(exclusive=bytes.fromhex(text)),
    "copies": lambda made, text: made._replace(copies=int(text)),
    "frozen": lambda made, text: made._replace(frozen=True),
}


def read(path: Path) -> Iterator[Case]:
    """The cases of a file."""
    for block in re.split(r"(?m)^(?=\[case )", path.read_text()):
        if block.startswith("[case "):
            yield _read(path, block)


def _read(path: Path, block: str) -> Case:
    parts: dict[str, tuple[str, list[str]]] = {}
    body: list[str] = []
    for line in block.rstrip().splitlines():
        header = HEADER.match(line)
        if header:
            body = []
            parts[header[1]] = (header[2], body)
        else:
            body.append(line)
    verdict, text = ("OK", parts.pop("accept")[1]) if "accept" in parts else parts.pop(
        "reject", ("", []))
    return Case(path, parts["case"][0], {k: (w, tuple(v)) for k, (w, v) in parts.items()}, verdict,
                tuple(text))


def all_cases() -> list[Case]:
    """The cases of every file, in order."""
    return [case for path in sorted(HERE.glob("*.case")) for case in read(path)]


def written(case: Case, verdict: str, text: tuple[str, ...]) -> str:
    """A case as it stands in its file, with this outcome."""
    lines: list[str] = []
    for part, (words, body) in case.parts.items():
        lines += [f"[{part} {words}]" if words else f"[{part}]", *body]
    if verdict:
        lines += ["[accept]" if verdict == "OK" else f"[reject {verdict}]", *text]
    return "\n".join(lines) + "\n"


def errno_name(number: int) -> str:
    return {0: "OK", 524: "ENOTSUPP"}.get(number) or errno.errorcode[number]
