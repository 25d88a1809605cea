"""The selftests' C programs (tools/testing/selftests/bpf/progs/*.c) before both verifiers.

They are compiled where they lie, with the running kernel's types. No program is really loaded for
the object's sake: each is compared, then taken for loaded, so that a refused one hides no other.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from anybpf import toolchain, uapi
from anybpf.btf import types as t
from anybpf.btf.dump import declaration
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.isa.build import exit_insn, mov64_imm
from anybpf.isa.insn import encode
from anybpf.libbpf.object import Object
from anybpf.syscall.attr import SIZE
from anybpf.toolchain import CompileError, vmlinux
from anybpf.toolchain.headers import INCLUDE
from kernel.both_verifiers import Both, Fields, put
from kernel.selftest_compare import Outcome, compare
from kernel.selftest_maps import LEFT_OUT, resize
from kernel.selftest_renames import definitions
from kernel.selftest_sources import SELFTESTS, Tree
from kernel.selftest_targets import Target, Targets, targets
from kernel.verdicts import GUEST, kernel_btf

RETURN_0 = (mov64_imm(0, 0), exit_insn())
FLAG_TAG = "comment:test_prog_flags="
INCLUDES = ("tools/lib", "tools/include/uapi", f"{SELFTESTS}/libarena/include")
#: our headers have the helpers' prototypes, which a kernel's build makes
OPTIONS = (f"-I{INCLUDE / 'bpf'}", "-Wno-everything", "-DENABLE_ATOMICS_TESTS")


def sources(tree: Tree) -> list[Path]:
    """All of a tree's programs."""
    return sorted(tree.selftests.glob("progs/*.c"))


def compiled(tree: Tree, source: Path, folder: Path, *, richer: bool = False) -> Path:
    """The object of a source, kept in `folder`; raises CompileError.

    It is made with the running kernel's types; where that fails, and where `richer` is asked for,
    with those of the guest, if it is the guest that is compared with.
    """
    usual, other = folder / f"{source.stem}.o", folder / "guest" / f"{source.stem}.o"
    if GUEST is None:
        return usual if usual.exists() else _compile(tree, source, usual)
    found = next((path for path in (other, usual) if path.exists()), None)
    if found is None or (richer and found == usual):
        return _compile(tree, source, other)
    return found


def _compile(tree: Tree, source: Path, made: Path) -> Path:
    made.parent.mkdir(parents=True, exist_ok=True)
    part = made.with_suffix(f".part{os.getpid()}")
    prototypes = [] if GUEST is None else [f"-I{_with_prototypes(made.parent)}"]
    toolchain.compile_file(
        source, part, prefer="own", warn=lambda said: None, btf=kernel_btf(),
        options=[*prototypes, *tree.includes(made.parent, INCLUDES), *OPTIONS,
                 *definitions(tree.name, source.stem),
                 "-idirafter", str(tree.path / "tools/include")])
    part.rename(made)
    return made


def _with_prototypes(folder: Path) -> Path:
    """A folder with a vmlinux.h that declares kernel functions, too, as newer bpftool writes it."""
    made = folder / "prototypes"
    if not (made / vmlinux.NAME).exists():
        made.mkdir(parents=True, exist_ok=True)
        types = vmlinux.cached(kernel_btf(), folder) / vmlinux.NAME
        (made / vmlinux.NAME).write_text("\n".join((
            "#pragma once", f'#include "{types}"', "#ifndef BPF_NO_KFUNC_PROTOTYPES",
            *_prototypes(kernel_btf()), "#endif", "")))
    return made


def _prototypes(btf: Btf) -> Iterator[str]:
    for tag in btf.find_all("bpf_kfunc", uapi.BTF_KIND_DECL_TAG):
        func = btf.expect(btf.expect(tag, t.DeclTag).type, t.Func)
        yield (f"extern {declaration(btf, func.type, func.name)} "
               '__attribute__((weak, section(".ksyms")));')


@dataclass(eq=False)
class Judge(Both):
    """A backend that compares every program it is given and loads none."""

    source: str = ""
    limit: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    flags: dict[str, int] = field(default_factory=dict)
    #: what a program is called in its outcome
    labels: dict[str, str] = field(default_factory=dict)
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
            resize(attr)
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
            called = self.labels.get(name, name)
            if self.wanted(called):
                self.outcomes.append(compare(self, self.source, called, attr, self.limit))
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


class Source(NamedTuple):
    """An object whose programs are compared, and how others of its tree are found."""

    path: Path
    name: str
    find: Callable[[str], Path]


def outcomes(source: Source, limit: int,
             wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Outcome]:
    """How both judge the programs of an object. An object that does not load gives one outcome."""
    judge = Judge(source=source.name, limit=limit, wanted=wanted)
    aims = Targets(judge, source.find)
    try:
        yield from _each(judge, source, aims)
    finally:
        aims.close()


def _each(judge: Judge, source: Source, aims: Targets) -> Iterator[Outcome]:
    names = [name for name in Object.open(source.path).programs if _any_wanted(judge, source, name)]
    single = [(name, target) for name in names for target in targets(source.name, name)[1:]]
    if _load(judge, source, aims, dict.fromkeys(names)):
        judge.outcomes.clear()
        single += [(name, None) for name in names]
    for name, target in single:
        failure = _load(judge, source, aims, {name: target})
        if failure:
            yield Outcome(source.name, label(source.name, name, target), "",
                          crash=f"not loaded: {failure}")
    yield from judge.outcomes


def _any_wanted(judge: Judge, source: Source, name: str) -> bool:
    several = targets(source.name, name) or (None,)
    return any(judge.wanted(label(source.name, name, target)) for target in several)


def label(source: str, name: str, target: Target | None) -> str:
    """A program's name, with what it attaches to where that is not one thing."""
    known = targets(source, name)
    if len(known) < 2:
        return name
    chosen = target or known[0]
    return f"{name} for {chosen.function} of {chosen.program} in {chosen.object}"


def _load(judge: Judge, source: Source, aims: Targets, some: dict[str, Target | None]) -> str:
    """Why the loader gave up, or nothing; `some` programs with their targets (None: the first).

    What a section's name does not tell is taken for a tc program, as most of these are.
    """
    opened = Object.open(source.path)
    judge.flags = test_flags(opened.btf)
    for unwanted in LEFT_OUT.get(source.name, ()):
        if unwanted in opened.maps:
            opened.maps[unwanted].autocreate = False
    for name, program in opened.programs.items():
        program.autoload = name in some
        if program.type == uapi.BPF_PROG_TYPE_UNSPEC:
            program.type = uapi.BPF_PROG_TYPE_SCHED_CLS
    try:
        for name, target in some.items():
            judge.labels[name] = label(source.name, name, target)
            for chosen in (target,) if target else targets(source.name, name)[:1]:
                aims.aim(opened, name, chosen)
        opened.load(judge)
    except (BpfError, LoadError, CompileError, NotSupported) as error:
        return str(error).splitlines()[0]
    finally:
        opened.close()
    return ""
