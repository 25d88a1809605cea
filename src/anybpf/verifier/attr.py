"""Facts from what BPF_PROG_LOAD is given (bpf_prog_load, kernel/bpf/syscall.c).

Whoever answers bpf(2) says what memory and descriptors hold (`Around`); what each member of the
attr means for the verifier stands here alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.proto.progs import fixed_attach
from anybpf.verifier.facts import Descriptors, Facts, ProgramFacts, Records, Table

if TYPE_CHECKING:
    from anybpf.btf.relo_cands import Target


class Attr(Protocol):
    """Members of a `union bpf_attr` by name."""

    def __getitem__(self, name: str) -> int: ...


class Around(Protocol):
    """What memory and descriptors of the caller hold. All may raise BpfError."""

    def read(self, address: int, size: int) -> bytes: ...

    def types_of(self, fd: int) -> Btf:
        """A program's types."""

    def attached(self, fd: int) -> Btf | ProgramFacts:
        """A module's types, or a program, which others attach to."""

    def target(self) -> Target | None:
        """What CO-RE relocates against."""

    def tell(self, member: str, value: int) -> None:
        """Write a member of the attr back."""


def facts(attr: Attr, around: Around) -> Facts:
    """What the attr alone says; licence, maps and the kernel are the caller's to add."""
    kind, flags = attr["prog_type"], attr["prog_flags"]
    made = Facts(
        kind, fixed_attach(kind, attr["expected_attach_type"]), flags=flags,
        sleepable=bool(flags & uapi.BPF_F_SLEEPABLE),
        fd_array=Descriptors.of(attr["fd_array"], around.read), bound=attr["fd_array_cnt"],
        attach_btf_id=attr["attach_btf_id"], records=_records(attr, around))
    if attr["attach_prog_fd"]:
        _attach(made, around.attached(attr["attach_prog_fd"]))
    return made


def _attach(made: Facts, to: Btf | ProgramFacts) -> None:
    if isinstance(to, ProgramFacts):
        made.attach_prog = to
    else:
        made.attach_module = to


def _records(attr: Attr, around: Around) -> Records:
    def table(pointer: str, stem: str) -> Table:
        return Table(attr[f"{stem}_cnt"], attr[f"{stem}_rec_size"],
                     lambda offset, size: around.read(attr[pointer] + offset, size),
                     lambda size: around.tell(f"{stem}_rec_size", size))

    return Records(lambda: around.types_of(attr["prog_btf_fd"]), table("func_info", "func_info"),
                   table("line_info", "line_info"), table("core_relos", "core_relo"),
                   around.target)
