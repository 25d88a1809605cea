"""Case files: tiny programs with their verdict and the lines the verifier says.

    [case read past the end of a map value]
    [prog socket]
    r1 = array ll
    ...
    [reject EACCES]
    invalid access to map value, value_size=8 off=8 size=1

`[prog TYPE WORD ...]`: the type is bpftool's name (`socket` for short); words are `strict`
(alignment) and `nogpl`. `[accept]` may be followed by lines that the log has somewhere, in order,
at level 2. A rejecting text may go over several lines.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anybpf import uapi
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import Insn
from anybpf.proto import progs
from anybpf.verifier import Facts, MapFacts

HERE = Path(__file__).parent
HEADER = re.compile(r"\[(\w+)\s*(.*?)\]$")
SHORT = {"socket": "socket_filter", "tc": "sched_cls"}


class MapKind(NamedTuple):
    """A map that cases may name: what MAP_CREATE takes."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


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
FDS = {name: 100 + i for i, name in enumerate(MAPS)}


class Case(NamedTuple):
    """One program and what is expected of it."""

    file: Path
    name: str
    prog: str
    words: tuple[str, ...]
    source: str
    #: `"OK"` or the errno's name
    verdict: str
    text: tuple[str, ...]

    def insns(self, fds: dict[str, int]) -> list[Insn]:
        """The program, its maps by these descriptors; `NAME.value` is a value's address."""
        symbols = {name: Pseudo(uapi.BPF_PSEUDO_MAP_FD, fd) for name, fd in fds.items()}
        symbols |= {f"{name}.value": Pseudo(uapi.BPF_PSEUDO_MAP_VALUE, fd)
                    for name, fd in fds.items()}
        return assemble(self.source, symbols)

    def facts(self, fds: dict[str, int], cpus: int) -> Facts:
        """What the verifier is told."""
        maps = {fds[n]: MapFacts(k.type, k.key_size, k.value_size, k.max_entries, k.flags)
                for n, k in MAPS.items() if n in fds}
        return Facts(self.prog_type, self.attach, gpl="nogpl" not in self.words, flags=self.flags,
                     maps=maps, cpus=cpus)

    @property
    def prog_type(self) -> int:
        return progs.BY_NAME[SHORT.get(self.prog, self.prog)].type

    @property
    def attach(self) -> int:
        """The expected attach type, given as a word `attach=NUMBER`."""
        return next((int(w[7:]) for w in self.words if w.startswith("attach=")), 0)

    @property
    def flags(self) -> int:
        return uapi.BPF_F_STRICT_ALIGNMENT if "strict" in self.words else 0


def parse(path: Path) -> Iterator[Case]:
    """The cases of a file."""
    for block in re.split(r"(?m)^(?=\[case )", path.read_text()):
        if block.startswith("[case "):
            yield _parse(path, block)


def _parse(path: Path, block: str) -> Case:
    parts: dict[str, tuple[str, list[str]]] = {}
    body: list[str] = []
    for line in block.rstrip().splitlines():
        header = HEADER.match(line)
        if header:
            body = []
            parts[header[1]] = (header[2], body)
        else:
            body.append(line)
    prog, *words = parts["prog"][0].split()
    verdict, said = ("OK", parts["accept"][1]) if "accept" in parts else parts["reject"]
    return Case(path, parts["case"][0], prog, tuple(words), "\n".join(parts["prog"][1]), verdict,
                tuple(said))


def all_cases() -> list[Case]:
    """The cases of every file, in order."""
    return [case for path in sorted(HERE.glob("*.case")) for case in parse(path)]


def written(case: Case, verdict: str, text: tuple[str, ...]) -> str:
    """A case as it stands in its file, with this outcome."""
    outcome = "[accept]" if verdict == "OK" else f"[reject {verdict}]"
    prog = " ".join((case.prog, *case.words))
    return "\n".join((f"[case {case.name}]", f"[prog {prog}]", case.source, outcome, *text)) + "\n"


def errno_name(number: int) -> str:
    return {0: "OK", 524: "ENOTSUPP"}.get(number) or errno.errorcode[number]
