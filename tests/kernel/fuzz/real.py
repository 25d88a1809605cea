"""Programs that other people wrote, as their loader loads them, ready to be changed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from anybpf import uapi
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.isa.insn import Insn, encode
from anybpf.libbpf import Map, Object
from anybpf.verifier import Facts, FuncInfo
from conftest import embedded
from kernel.both_verifiers import Answer, Both, Fields, Pair, ask_kernel, ask_ours, put
from kernel.calls import u32
from kernel.fuzz.world import Sample

DEMO = Path(__file__).resolve().parents[3] / "demo"
FOLDERS = (Path("/usr/lib/x86_64-linux-gnu/bpf"), DEMO)
#: where Debian's libbpf-tools are
TOOLS = Path("/usr/sbin")
MOST_BYTES = 1 << 20
#: longer ones are walked for too long
MOST = 700


@dataclass(eq=False)
class Taken:
    """One program: its sample, and all else that its loader gave."""

    sample: Sample
    attr: bytearray
    facts: Facts
    backend: Takes
    names: dict[str, FuncInfo]
    license: ctypes.Array[ctypes.c_char]

    def ask_kernel(self, of: Sample, level: int) -> Answer:
        code = encode(of.insns)
        insns = ctypes.create_string_buffer(code, len(code))
        records = u32(*(n for slot, name in of.funcs for n in (slot, int(name))))
        funcs = ctypes.create_string_buffer(records, max(len(records), 1))
        attr = bytearray(self.attr)
        put(attr, insns=ctypes.addressof(insns), insn_cnt=len(of.insns), prog_flags=of.flags,
            license=ctypes.addressof(self.license), func_info=ctypes.addressof(funcs),
            func_info_cnt=len(of.funcs), func_info_rec_size=8, line_info=0, line_info_cnt=0,
            line_info_rec_size=0, core_relos=0, core_relo_cnt=0, core_relo_rec_size=0)
        return ask_kernel(self.backend.kernel, attr, level)

    def question(self, of: Sample) -> tuple[list[Insn], Facts]:
        """What our verifier is asked."""
        funcs = tuple(self.names[name]._replace(insn=slot) for slot, name in of.funcs)
        return list(of.insns), replace(self.facts, funcs=funcs, lines=(), flags=of.flags)

    def ask(self, of: Sample, level: int) -> Pair:
        """Both answers."""
        kernel = self.ask_kernel(of, level)
        try:
            return Pair("", kernel, ask_ours(*self.question(of), level))
        except NotSupported as error:
            return Pair("", kernel, None, error.feature)


@dataclass(eq=False)
class Takes(Both):
    """A backend for the loader that keeps what it loads."""

    taken: list[Taken] = field(default_factory=list)

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """Programs are only kept; what the loader gets for one is a descriptor of nothing."""
        if cmd == uapi.BPF_PROG_LOAD:
            self._load(attr)
            return os.open(os.devnull, os.O_RDONLY)
        return super().bpf(cmd, attr)

    def _load(self, attr: bytearray) -> None:
        fields = Fields(attr)
        insns = self.insns(fields)
        if fields["log_level"] or len(insns) > MOST:
            return
        facts = self.facts(fields)
        names = {str(f.type_id): f for f in facts.funcs}
        funcs = tuple((f.insn, str(f.type_id)) for f in facts.funcs)
        sample = Sample(tuple(insns), facts.type, facts.attach_type, facts.flags, funcs)
        text = ctypes.create_string_buffer(ctypes.string_at(fields["license"]))
        self.taken.append(Taken(sample, bytearray(attr), facts, self, names, text))


def programs(folder: Path | None = None) -> Iterator[Taken]:
    """The programs of all objects found (in a folder); their maps stay."""
    for name, data in _objects() if folder is None else _files(folder):
        backend = Takes()
        try:
            opened = Object.open(data, name=name)
            if not all(map(_small, opened.maps.values())):
                continue
            for program in opened.programs.values():
                program.autoload = True
            opened.load(backend)
            KEPT.append(opened)
        except (BpfError, NotSupported, LoadError):
            continue
        yield from backend.taken


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*.o")):
        yield path.stem, path.read_bytes()


def _objects() -> Iterator[tuple[str, bytes]]:
    for path in sorted(p for folder in FOLDERS for p in folder.glob("*.o")):
        yield path.stem, path.read_bytes()
    yield from embedded(sorted(p for p in TOOLS.glob("*") if p.is_file()))


def _small(made: Map) -> bool:
    """The map takes little memory; one without a size gets a small one."""
    if not made.max_entries and made.type != uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
        made.max_entries = 128
    return (made.key_size + made.value_size) * made.max_entries < MOST_BYTES


KEPT: list[Object] = []
