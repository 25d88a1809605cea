"""What is known of one call of a kernel function (struct bpf_kfunc_call_arg_meta)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.verifier.env import Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.kfuncs import Kfunc
from anybpf.verifier.region.slots import Place
from anybpf.verifier.state import Reg
from anybpf.verifier.walk import Walk

if TYPE_CHECKING:
    from anybpf.verifier.step.graph import Root


@dataclass
class Call:
    """What the arguments of one call tell."""

    walk: Walk
    kfunc: Kfunc
    ref: int = 0
    release: int = 0
    constant: int | None = None
    mem_size: int = 0
    rdonly: bool = False
    map: MapFacts | None = None
    map_uid: int = 0
    subprog: int = 0
    iterator: Place | None = None
    #: the list or tree that was passed, and the type of an object of the program
    root: Root | None = None
    arg_type: tuple[Btf, int] | None = None
    owning: bool = False
    #: the dynptr that was passed: its type, id and reference
    dynptr_type: int = 0
    dynptr_id: int = 0
    dynptr_ref: int = 0

    @property
    def env(self) -> Env:
        return self.walk.env


@dataclass
class Arg:
    """One argument: its number (from 0), register, and type."""

    number: int
    reg: Reg
    param: t.Param
    #: what it points to, typedefs followed, and its id
    target: t.Type
    target_id: int
    #: the register behind it is its size
    sized: bool = False

    @property
    def regno(self) -> int:
        return self.number + 1

    @property
    def name(self) -> str:
        return f"arg#{self.number}"
