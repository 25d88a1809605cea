"""Programs, maps and BTF as the kernel holds them (include/linux/bpf.h).

Who holds whom: a descriptor or pin holds its object; a program its maps and its BTF; a map its
BTF; a slot of a prog array or map of maps what was put there, through `Held`.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from anybpf import uapi
from anybpf.syscall.ids import Ids, KernelObject
from anybpf.syscall.tags import tag
from anybpf.verifier.facts import MapFacts, ProgramFacts

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from anybpf.btf.ext import FuncInfo, LineInfo
    from anybpf.btf.parse import Btf
    from anybpf.core.prog import Prog
    from anybpf.maps import Map
    from anybpf.maps.perf_event import PerfEvent
    from anybpf.syscall.state import State


class BtfObject(KernelObject):
    """One BTF: the bytes as loaded and the parsed form."""

    def __init__(self, ids: Ids[BtfObject], btf: Btf, data: bytes, name: str = "") -> None:
        super().__init__()
        self.btf = btf
        self.data = data
        self.name = name
        #: the kernel's own, which user objects must not refer to as theirs
        self.kernel = bool(name)
        self._ids = ids
        self.id = ids.add(self)

    def free(self) -> None:
        self._ids.remove(self.id)


class MapBtf(NamedTuple):
    """What BTF says about a map: the object, and type ids of key and value (0: not said)."""

    object: BtfObject
    key: int
    value: int


class MapObject(KernelObject):
    """One map: the native map, and what bpf(2) alone knows about it."""

    def __init__(self, state: State, map: Map, name: str, btf: MapBtf | None,
                 exclusive: bytes, inner: MapFacts | None = None) -> None:
        """`exclusive` is the digest of the only program that may use the map, or empty.

        `inner` is what the maps in a map of maps are like.
        """
        super().__init__()
        self._state = state
        self.map = map
        self.name = name
        self.btf = btf
        self.exclusive = exclusive
        self.inner = inner
        self.id = state.maps.add(self)
        map.id = self.id
        if btf is not None:
            btf.object.get()

    @property
    def type(self) -> int:
        """BPF_MAP_TYPE_*."""
        return int(self.map.type)

    @property
    def frozen(self) -> bool:
        """User space may no longer write."""
        return bool(self.map.frozen)

    def unused(self) -> None:
        self.map.release_uref()

    def free(self) -> None:
        self._state.maps.remove(self.id)
        self._state.kernel.remove_map(self.map)
        if self.btf is not None:
            self.btf.object.put()


class MapRef(NamedTuple):
    """What an ld_imm64 stands for: a map, or (with an offset) a place in its only value."""

    map: MapObject
    offset: int | None


class ProgBtf(NamedTuple):
    """A program's BTF with the records that were loaded beside it, by instruction."""

    object: BtfObject
    funcs: tuple[FuncInfo, ...]
    lines: tuple[LineInfo, ...]

    def source(self, insn: int) -> str:
        """`file.bpf.c:31: text of the line` for an instruction, "" if no record is about it."""
        at = bisect_right(self.lines, insn, key=lambda line: line.insn_off) - 1
        if at < 0:
            return ""
        line, btf = self.lines[at], self.object.btf
        file = posixpath.basename(btf.string(line.file_name_off))
        return f"{file}:{line.line_col >> 10}: {btf.string(line.line_off).strip()}"


class ProgFacts(NamedTuple):
    """What PROG_LOAD was told about a program."""

    type: int
    name: str
    insns: bytes
    gpl: bool
    flags: int
    expected_attach_type: int
    attach_btf_id: int
    uid: int
    load_time: int
    #: how many instructions the verifier looked at
    verified_insns: int = 0
    #: how many bytes of its context it needs, as far as the verifier knows
    max_ctx_offset: int = 0
    #: what the verifier is told of it when another program attaches to it
    as_target: ProgramFacts | None = None


class ProgObject(KernelObject):
    """One program: the facts, what it holds, and its native form."""

    def __init__(self, state: State, facts: ProgFacts, maps: list[MapObject],
                 refs: dict[int, MapRef], btf: ProgBtf | None, native: Prog,
                 subprogs: tuple[int, ...], attached: ProgObject | None = None) -> None:
        super().__init__()
        self._state = state
        self.facts = facts
        self.maps = maps
        #: which ld_imm64 instruction means which map
        self.refs = refs
        self.btf = btf
        self.native = native
        #: first instruction of every function, beginning with 0
        self.subprogs = subprogs
        #: the program whose function this one attaches to
        self.attached = attached
        self.tag = tag(facts.insns)
        for used in maps:
            used.get()
        if btf is not None:
            btf.object.get()
        if attached is not None:
            attached.get()
        self.id = state.progs.add(self)
        native.id = self.id

    def bind(self, map: MapObject) -> None:
        """Hold one more map, unless it is held already."""
        if map not in self.maps:
            map.get()
            self.maps.append(map)

    def free(self) -> None:
        self._state.progs.remove(self.id)
        if self.attached is not None:
            self.attached.put()
        for used in self.maps:
            used.put()
        if self.btf is not None:
            self.btf.object.put()


class PerfEventObject(KernelObject):
    """An open perf event that programs can send records to."""

    def __init__(self, event: PerfEvent) -> None:
        super().__init__()
        self.event = event


class StatsObject(KernelObject):
    """While one is open, runs are counted and timed."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state
        state.enable_stats(1)

    def free(self) -> None:
        self._state.enable_stats(-1)


def tail_call_key(facts: ProgFacts) -> tuple[int, int, bool]:
    """What programs that call each other's tails must share."""
    frags = bool(facts.flags & uapi.BPF_F_XDP_HAS_FRAGS)
    return facts.type, facts.expected_attach_type, frags


class Held:
    """An object in a map's slot: a reference that ends when the map lets this Python object go.

    What else the map wants to know about a map it asks the native one.
    """

    def __init__(self, object: ProgObject | MapObject, native: Any,
                 lock: AbstractContextManager[Any]) -> None:
        object.get()
        self._lock = lock
        if isinstance(object, ProgObject):
            self.prog_type = tail_call_key(object.facts)
        self._object = object
        self.native = native
        self.address: int = native.address
        self.id: int = object.id

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    def __del__(self) -> None:
        with self._lock:                    # maps let slots go on whatever thread a run ends on
            self._object.put()
