"""What the passes share: the program, its facts, and what they learn (struct bpf_verifier_env)."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.isa.disasm import Callbacks, insn_text
from anybpf.isa.insn import LD_IMM64, Insn, imm64
from anybpf.proto import access, contexts, progs
from anybpf.proto.access import CAP_BPF, CAP_PERFMON
from anybpf.verifier.facts import (
    Attachment,
    Facts,
    FuncArg,
    LineInfo,
    MapFacts,
    Options,
    ProgramFacts,
    line_at,
)
from anybpf.verifier.log import MAX_PIECE, Log, Sink
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import Frame, Hop, Reg, State

if TYPE_CHECKING:
    from anybpf.proto.helpers import Helper
    from anybpf.verifier.decoded import Decoded
    from anybpf.verifier.kfuncs import Kfunc
    from anybpf.verifier.symbols import Symbol


class Subprog:
    """A function of the program: slots `start` up to `end`."""

    def __init__(self, start: int, end: int = 0, name: str = "", is_global: bool = False) -> None:
        self.start = start
        self.end = end
        self.name = name
        self.is_global = is_global
        #: the FUNC in the program's types, 0 without types
        self.type_id = 0
        #: what it takes, once that was asked for and could be told
        self.args: tuple[FuncArg, ...] | None = None
        #: its types say something else than its code
        self.unreliable = False
        #: a global function that something calls, so that it must be walked
        self.called = False
        self.verified = False
        self.stack_depth = 0
        self.changes_packet = False
        self.might_sleep = False
        #: the kernel calls it
        self.is_callback = False
        #: something calls it later, by itself
        self.is_async_callback = False
        #: the lowest offset that is not only for spills around calls that keep registers
        self.fastcall_off = 0
        self.keep_fastcall_stack = False
        self.has_tail_call = False
        self.has_ld_abs = False
        self.postorder: list[int] = []


#: helpers for programs that run around a function, which what extends one does not
_OF_TRAMPOLINES = frozenset({uapi.BPF_FUNC_get_func_arg, uapi.BPF_FUNC_get_func_arg_cnt,
                             uapi.BPF_FUNC_get_func_ret, uapi.BPF_FUNC_get_attach_cookie})
#: `Aux.loop_inline` of a call that was not walked yet, and of one that stays a call
LOOP_UNSEEN, LOOP_CALLED = -1, -2


class Aux:
    """What is known of one instruction; each pass writes its own fields."""

    def __init__(self) -> None:
        self.prune_point = False
        self.jump_point = False
        self.force_checkpoint = False
        self.calls_callback = False
        self.live_before = 0
        self.is_iter_next = False
        self.scc = 0
        self.seen = False
        #: kind of the pointer that a load or store goes through (the rewrites need one)
        self.kind = 0
        self.map: MapFacts | None = None
        self.map_offset = 0
        #: what of the kernel a 64-bit load means
        self.symbol: Symbol | None = None
        #: of a call: the helper, once it is known that the program may call it
        self.helper: Helper | None = None
        #: of a bpf_loop() that may become a loop in line: the function that it calls
        self.loop_inline = LOOP_UNSEEN
        #: a spill or fill around a call that keeps registers; of the call: how many there are
        self.fastcall_pattern = False
        self.fastcall_spills = 0
        self.alu_state = 0


#: above a call's number: the place of its types in the array of descriptors
KFUNC_PLACE = 32


def kfunc_key(insn: Insn) -> int:
    """What tells the functions of `Env.kfuncs` apart."""
    return insn.off << KFUNC_PLACE | insn.imm & uapi.U32


class Env:
    """One verification. Passes add to it in the order of `verifier.verify`."""

    def __init__(self, insns: Sequence[Insn], facts: Facts, options: Options,
                 sink: Sink | None = None) -> None:
        self._started = time.perf_counter_ns()
        self.insns = list(insns)
        self.facts = facts
        self.options = options
        self.log = Log(options.log_level, sink)
        self.prog = progs.BY_TYPE[facts.type]
        self.view = contexts.VIEWS.get(facts.type)
        self.aux = [Aux() for _ in self.insns]
        #: the instructions as the walk reads them, once maps have their addresses
        self.decoded: list[Decoded] = []
        self.insn_limit = options.insn_limit
        self.prog_type = facts.type
        self.strict_alignment = facts.strict_alignment
        #: for operands that are no registers
        self.scratch = Reg()
        self.subprogs: list[Subprog] = []
        self.bpf_capable = bool(facts.caps & CAP_BPF)
        self.perfmon = bool(facts.caps & CAP_PERFMON)
        self.used_maps: list[MapFacts] = []
        #: how far the program reaches into buffers of a kind, which its attachment checks
        self.buffer_reach: dict[str, int] = {}
        #: kernel functions that are called, by the number of their type and whose types those are
        self.kfuncs: dict[int, Kfunc] = {}
        #: what a tracing program attaches to
        self.target: Attachment | None = None
        #: the references of its arguments, by their numbers
        self.arg_refs: dict[int, int] = {}
        #: the program that an extension extends, whose type and attach type `facts` then have
        self.extends: ProgramFacts | None = None
        #: the function that the program's types say catches exceptions; 0: none
        self.exception_callback = 0
        #: some path ends by bpf_throw()
        self.throws = False
        #: some instruction belongs to a loop
        self.has_loops = False
        self.digest = b""
        #: the instructions behind CO-RE, before map references are filled in
        self.relocated: list[Insn] = []
        if not self.bpf_capable or not self.perfmon:
            raise NotSupported("the verifier's rules for unprivileged programs")
        # the walk
        self.state = State()
        self.idx = 0
        self.prev_idx = -1
        self.hop: Hop | None = None
        self.processed = 0
        self.jumps = 0
        #: both when a state was last remembered, in whatever function
        self.last_jumps = 0
        self.last_processed = 0
        self.ids = 0
        self.print_state = False
        self._line: LineInfo | None = None
        # the limits' counters
        self.max_states_per_insn = 0
        self.total_states = 0
        self.peak_states = 0
        self.explored_states = 0
        self.free_states = 0
        self.backedges = 0
        #: the end of what the program touches of its context
        self.max_ctx_offset = 0

    # -- shorthands of the walk

    @property
    def frame(self) -> Frame:
        """The innermost frame of the current state."""
        return self.state.innermost()

    @property
    def regs(self) -> list[Reg]:
        """The innermost frame's registers."""
        return self.state.innermost().regs

    def reg(self, number: int) -> Reg:
        """Register `number` of the innermost frame: the quick way."""
        return self.state.innermost().regs[number]

    def new_id(self) -> int:
        """A number that no register has yet."""
        self.ids += 1
        return self.ids

    def subprog_at(self, start: int) -> int:
        """The number of the function that begins at slot `start`."""
        return next(i for i, s in enumerate(self.subprogs) if s.start == start)

    def subprog_around(self, idx: int) -> Subprog:
        """The function that slot `idx` belongs to."""
        return self.subprogs[bisect_right(self.subprogs, idx, key=attrgetter("start")) - 1]

    @property
    def target_name(self) -> str:
        """The function, hook or tracepoint that the program attaches to."""
        return self.target.name if self.target is not None else ""

    def helper(self, number: int) -> Helper | None:
        """The helper as the program may call it; None: it may not, or the kernel has none."""
        facts = self.facts
        if self.extends is not None and facts.type == uapi.BPF_PROG_TYPE_TRACING \
                and number in _OF_TRAMPOLINES:
            return None
        target = self.target.helpers if self.target is not None else ""
        row = access.helper(number, facts.type, facts.attach_type, facts.caps, target)
        return row if row is not None and row.name not in facts.lacks else None

    def update_peak(self) -> None:
        self.peak_states = max(self.peak_states,
                               self.explored_states + self.free_states + self.backedges)

    # -- speech

    def microseconds(self) -> int:
        """How long it took so far."""
        return (time.perf_counter_ns() - self._started) // 1000

    def reject(self, errno: int, text: str) -> Reject:
        """The refusal of the current instruction; raise it."""
        return Reject(errno, text, self.idx)

    def reject_then_line(self, errno: int, text: str) -> Reject:
        """The same, with the source line behind it, where it was not written yet."""
        line = self._new_line(self.idx)
        return self.reject(errno, f"{text}\n; {line}" if line else text)

    def write_line(self, idx: int, prefix: str) -> None:
        """The source line of `idx`, where it is another than the last one written."""
        text = self._new_line(idx)
        if text:
            self.log.write(f"{prefix}{text}\n")

    def _new_line(self, idx: int) -> str:
        if not self.log.level or not self.facts.lines:
            return ""
        line = line_at(self.facts.lines, idx)
        if line is None or (self._line is not None and line.line == self._line.line
                            and line.file == self._line.file and line.text == self._line.text):
            return ""
        self._line = line
        name = line.file.rsplit("/", 1)[-1]
        return f"{line.text.lstrip()[:MAX_PIECE]} @ {name}:{line.line}"

    def forget_line(self) -> None:
        """The next source line is written whatever it is."""
        self._line = None

    def text_of(self, idx: int) -> str:
        """The instruction's text."""
        insn = self.insns[idx]
        hi = self.insns[idx + 1] if insn.code == LD_IMM64 else None
        return insn_text(insn, hi, Callbacks(self._call_text, self._imm_text))

    def _call_text(self, insn: Insn) -> str | None:
        """The name of the kernel function that is called."""
        if insn.src != uapi.BPF_PSEUDO_KFUNC_CALL:
            return None
        # a call that was left out names type 0, which has no name
        kfunc = self.kfuncs.get(kfunc_key(insn))
        name = kfunc.name if kfunc is not None else ""
        return f"{name}#{insn.imm}"

    def _imm_text(self, insn: Insn, number: int) -> str | None:
        """The address that a map's load gets, as the log prints it."""
        return None

    def address_of(self, idx: int) -> int:
        """What a 64-bit load at `idx` puts into its register, as printed."""
        return imm64(self.insns[idx], self.insns[idx + 1])


REFERS_TO_MAP = frozenset({uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_IDX,
                           uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE})
