"""The selftests' C programs (tools/testing/selftests/bpf/progs/*.c) before both verifiers.

They are compiled where they lie, with the running kernel's types. No program is really loaded for
the object's sake: each is compared, then taken for loaded, so that a refused one hides no other.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anybpf import toolchain, uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.isa.build import exit_insn, mov64_imm
from anybpf.isa.insn import encode
from anybpf.libbpf.object import Object
from anybpf.syscall.attr import SIZE
from anybpf.toolchain.headers import INCLUDE
from kernel.both_verifiers import Both, Fields, put
from kernel.selftest_compare import Outcome, compare
from kernel.selftest_sources import Tree

#: no map of the comparison takes more memory than this
MAX_MAP_BYTES = 1 << 21
RETURN_0 = (mov64_imm(0, 0), exit_insn())
FLAG_TAG = "comment:test_prog_flags="
INCLUDES = ("tools/lib", "tools/include/uapi")
#: our headers have the helpers' prototypes, which a kernel's build makes
OPTIONS = (f"-I{INCLUDE / 'bpf'}", "-Wno-everything", "-DENABLE_ATOMICS_TESTS")


def sources(tree: Tree) -> list[Path]:
    """All of a tree's programs."""
    return sorted(tree.selftests.glob("progs/*.c"))


def compiled(tree: Tree, source: Path, folder: Path) -> Path:
    """The object of a source, kept in `folder`; raises CompileError."""
    made = folder / (source.stem + ".o")
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(".part")
        toolchain.compile_file(source, part, options=[*tree.includes(folder, INCLUDES), *OPTIONS],
                               prefer="own", warn=lambda said: None)
        part.rename(made)
    return made


@dataclass(eq=False)
class Judge(Both):
    """A backend that compares every program it is given and loads none."""

    source: str = ""
    limit: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    flags: dict[str, int] = field(default_factory=dict)
    #: called before a program is compared: False leaves it out
    wanted: Callable[[str], bool] = lambda name: True

    def bpf(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_PROG_LOAD:
            return self._judge(attr)
        if cmd in _NOTHING:
            return 0
        if cmd not in _ALLOWED:
            raise BpfError(errno.EPERM, "not in this comparison")
        if cmd == uapi.BPF_MAP_CREATE:
            _resize(attr)
        try:
            return super().bpf(cmd, attr)
        except BpfError:
            if cmd == uapi.BPF_MAP_UPDATE_ELEM:     # of a program array, by what is no program
                return 0
            raise

    def _judge(self, attr: bytearray) -> int:
        fields = Fields(attr)
        if not fields["log_level"]:
            name = self._name(fields)
            put(attr, prog_flags=fields["prog_flags"] | self.flags.get(name, 0))
            if self.wanted(name):
                self.outcomes.append(compare(self, self.source, name, attr, self.limit))
        return self._stand_in()

    def _stand_in(self) -> int:
        """A descriptor of some program; what is compared is not kept."""
        insns = ctypes.create_string_buffer(encode(RETURN_0))
        text = ctypes.create_string_buffer(b"GPL")
        attr = bytearray(SIZE)
        put(attr, prog_type=uapi.BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt=len(RETURN_0),
            insns=ctypes.addressof(insns), license=ctypes.addressof(text))
        return self.kernel.bpf(uapi.BPF_PROG_LOAD, attr)

    def _name(self, fields: Fields) -> str:
        """The program's whole name: the kernel is told 15 letters of it."""
        btf = self.types.get(fields["prog_btf_fd"])
        first = next(fields.records("func_info", "<2I"), None)
        if btf is None or first is None:
            return fields.text("prog_name")
        return btf.type(first[1]).name


#: what the loader does besides making maps, which is not needed to verify
_NOTHING = frozenset({uapi.BPF_PROG_BIND_MAP, uapi.BPF_OBJ_PIN})
_ALLOWED = frozenset({
    uapi.BPF_MAP_CREATE, uapi.BPF_MAP_UPDATE_ELEM, uapi.BPF_MAP_LOOKUP_ELEM, uapi.BPF_MAP_FREEZE,
    uapi.BPF_BTF_LOAD, uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.BPF_BTF_GET_NEXT_ID,
    uapi.BPF_BTF_GET_FD_BY_ID})


def _resize(attr: bytearray) -> None:
    """Fewer entries where a map would take much memory, some where the test sets how many.

    Verdicts rarely depend on them.
    """
    fields = Fields(attr)
    entries, kind = fields["max_entries"], fields["map_type"]
    each = 1 if kind in _RINGS else max(8, fields["key_size"] + fields["value_size"])
    if not entries and kind not in _WITHOUT_ENTRIES:
        put(attr, max_entries=4096 if kind in _RINGS else 4)
    if kind != uapi.BPF_MAP_TYPE_ARENA and entries > 1 and entries * each > MAX_MAP_BYTES:
        put(attr, max_entries=1 << 16 if kind in _RINGS else max(2, MAX_MAP_BYTES // each))


_RINGS = frozenset({uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_USER_RINGBUF})
_WITHOUT_ENTRIES = frozenset({
    uapi.BPF_MAP_TYPE_SK_STORAGE, uapi.BPF_MAP_TYPE_INODE_STORAGE, uapi.BPF_MAP_TYPE_TASK_STORAGE,
    uapi.BPF_MAP_TYPE_CGRP_STORAGE, uapi.BPF_MAP_TYPE_CGROUP_STORAGE,
    uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE})


def test_flags(btf: Btf | None) -> dict[str, int]:
    """The load flags that functions ask for by tags."""
    flags: dict[str, int] = {}
    for _, found in btf.types() if btf else ():
        if isinstance(found, t.DeclTag) and found.name.startswith(FLAG_TAG):
            name = btf.type(found.type).name if btf else ""
            flags[name] = flags.get(name, 0) | _flag(found.name[len(FLAG_TAG):])
    return flags


def _flag(word: str) -> int:
    if word.startswith("!"):
        return 0
    return int(word, 0) if word[0].isdigit() else int(getattr(uapi, word))


def outcomes(path: Path, source: str, limit: int,
             wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Outcome]:
    """How both judge the programs of an object. An object that does not load gives one outcome."""
    judge = Judge(source=source, limit=limit, wanted=wanted)
    failure = _load(judge, path, None)
    if failure:
        judge.outcomes.clear()
        for name in filter(wanted, Object.open(path).programs):
            failure = _load(judge, path, name)
            if failure:
                yield Outcome(source, name, "", crash=f"not loaded: {failure}")
    yield from judge.outcomes


def _load(judge: Judge, path: Path, only: str | None) -> str:
    """Why the loader gave up, or nothing; with `only`, that program alone.

    What a section's name does not tell is taken for a tc program, as most of these are.
    """
    opened = Object.open(path)
    judge.flags = test_flags(opened.btf)
    for name, program in opened.programs.items():
        program.autoload = only is None or name == only
        if program.type == uapi.BPF_PROG_TYPE_UNSPEC:
            program.type = uapi.BPF_PROG_TYPE_SCHED_CLS
    try:
        opened.load(judge)
    except (BpfError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    finally:
        opened.close()
    return ""
