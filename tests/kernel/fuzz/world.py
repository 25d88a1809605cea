"""What made-up programs may name (maps, functions with types), and both verifiers' answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import NotSupported
from anybpf.isa.asm import Pseudo, parse
from anybpf.isa.insn import LD_IMM64, Insn, is_pseudo_call, is_pseudo_func, slots
from anybpf.linux import Linux
from anybpf.proto import kfuncs
from anybpf.verifier import Facts, FuncInfo, LineInfo, MapFacts, Options, verify
from kernel.both_verifiers import Answer, Pair, ask_kernel, errno_name, masked
from kernel.calls import Calls, u32
from kernel.verdicts import kernel_btf
from verifier.cases import FIRST_FD, MAPS, MapKind, map_symbols

MAPS_HERE = MAPS | {
    "frozen": MapKind(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1, uapi.BPF_F_RDONLY_PROG, frozen=True,
                      content=bytes.fromhex("0102030405060708fffffffffffffff0"))}
#: descriptors that stand for the maps
FDS = {name: FIRST_FD + i for i, name in enumerate(MAPS_HERE)}
#: two instructions make a line, and so many lines differ
LINES, FILE = 64, "made_up.c"

#: the text with which functions begin: `f_NAME:`; one row a name: what it takes, is it global
INT, STRUCT, CTX = "int", "struct", "ctx"
FUNCS: dict[str, tuple[tuple[str, ...], bool]] = {
    "main": ((CTX,), True),
    "f_number": ((INT, INT), False),
    "f_stack": ((STRUCT, INT), False),
    "f_packet": ((CTX, CTX), False),
    "f_deep": ((INT,), False),
    "f_callback": ((INT, CTX), False),
    "f_outer": ((INT, STRUCT), False),
    "f_each": ((CTX, CTX, CTX, CTX), False),
    "g_number": ((INT, INT), True),
    "g_struct": ((STRUCT,), True),
    "g_ctx": ((CTX, INT), True),
}
#: functions whose address is taken, so that they need types
CALLED_BACK = frozenset({"f_callback", "f_outer", "f_each"})
#: the type that a context argument must point to, by program type
CONTEXTS = {uapi.BPF_PROG_TYPE_XDP: "xdp_md"}
REFERS_TO_MAP = (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE)


class Sample(NamedTuple):
    """One program. Maps are named by the descriptors of `FDS`."""

    insns: tuple[Insn, ...]
    type: int
    attach: int = 0
    flags: int = 0
    #: (first slot, name in `FUNCS`) of each function; empty: no types are given
    funcs: tuple[tuple[int, str], ...] = ()
    #: source lines are given, too
    lines: bool = False


SYMBOLS = map_symbols(FDS)


@cache
def kernel_functions() -> dict[str, Pseudo]:
    """Kernel functions by name, as far as this kernel has them."""
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return {}
    found = {name: kernel_btf().find(name, uapi.BTF_KIND_FUNC) for name in kfuncs.BY_NAME}
    return {name: Pseudo(uapi.BPF_PSEUDO_KFUNC_CALL, number)
            for name, number in found.items() if number}


def sample(text: str, prog_type: int, flags: int = 0, lines: bool = False) -> Sample:
    """The program of an assembler text; functions get types if one of their names needs them."""
    made = parse(text, SYMBOLS | kernel_functions())
    found = [(slot, name) for name, slot in made.labels.items() if name in FUNCS]
    typed = lines or any(name[:2] == "g_" or name in CALLED_BACK for _, name in found)
    funcs = tuple(sorted([(0, "main"), *found])) if typed else ()
    return Sample(tuple(made.insns), prog_type, 0, flags, funcs, lines)


def with_types(of: Sample) -> Sample:
    """Only functions that something calls, and no types at all where one has none."""
    if not of.funcs:
        return of
    starts = {0} | {i + insn.imm + 1 for i, insn in enumerate(of.insns)
                    if is_pseudo_call(insn) or is_pseudo_func(insn)}
    kept = tuple((slot, name) for slot, name in of.funcs if slot in starts)
    known = len(kept) == len(starts)
    return of._replace(funcs=kept if known else (), lines=of.lines and known)


@cache
def types(prog_type: int) -> tuple[bytes, dict[str, int]]:
    """BTF that describes `FUNCS` and holds the source lines; ids and offsets by name."""
    b = BtfBuilder()
    integer = b.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    long = b.add(t.Int("long", 8, encoding=uapi.BTF_INT_SIGNED))
    record = b.add(t.Struct("pair", 16, (t.Member("a", long, 0), t.Member("b", long, 64))))
    context = b.add(t.Struct(CONTEXTS.get(prog_type, "__sk_buff"), 4,
                             (t.Member("len", integer, 0),)))
    kinds = {INT: integer, STRUCT: b.add(t.Ptr(record)), CTX: b.add(t.Ptr(context))}
    ids = {}
    for name, (args, is_global) in FUNCS.items():
        params = tuple(t.Param(f"a{i}", kinds[kind]) for i, kind in enumerate(args))
        proto = b.add(t.FuncProto(integer, params))
        ids[name] = b.add(t.Func(name, proto, int(is_global)))
    ids |= {text: b.string(text) for text in (FILE, *map(line_text, range(LINES)))}
    return b.to_bytes(), ids


def line_text(number: int) -> str:
    """The source of a line."""
    return f"statement {number % LINES};"


def lines(of: Sample) -> list[LineInfo]:
    """The source lines of a sample; the verifier's caller sees to it that each is of one."""
    found = ((slot, slot // 2) for slot, insn in slots(of.insns) if insn.code)
    return [LineInfo(slot, FILE, n + 1, line_text(n)) for slot, n in found] if of.lines else []


class Asks(Protocol):
    """What puts samples before the verifiers."""

    def ask_kernel(self, of: Sample, level: int) -> Answer: ...

    def ask(self, of: Sample, level: int) -> Pair: ...

    def question(self, of: Sample) -> tuple[list[Insn], Facts]: ...


class World:
    """The running kernel with the maps and types that samples name."""

    def __init__(self) -> None:
        self.kernel = Linux()
        self.calls = Calls(self.kernel)
        self.fds = {FDS[name]: self._map(k) for name, k in MAPS_HERE.items()}
        self.maps = {self.fds[FDS[name]]: _map_facts(k) for name, k in MAPS_HERE.items()}
        self.cpus = self.kernel.num_possible_cpus
        self.btf: dict[int, int] = {}
        self.progs: dict[int, int] = {}

    def _map(self, kind: MapKind) -> int:
        fd = self.calls.map(kind.type, kind.key_size, kind.value_size, kind.max_entries,
                            map_flags=kind.flags)
        if kind.content:
            self.calls.call(uapi.BPF_MAP_UPDATE_ELEM, map_fd=fd, key=u32(0), value=kind.content)
        if kind.frozen:
            self.calls.call(uapi.BPF_MAP_FREEZE, map_fd=fd)
        return fd

    def close(self) -> None:
        self.calls.close()

    def insns(self, of: Sample) -> list[Insn]:
        """The instructions with this kernel's descriptors."""
        return [insn._replace(imm=self._fd(insn.imm, of.type))
                if insn.code == LD_IMM64 and insn.src in REFERS_TO_MAP else insn
                for insn in of.insns]

    def _fd(self, number: int, prog_type: int) -> int:
        """The map's descriptor; arrays of programs belong to the type that used them first."""
        if number != FDS["progs"]:
            return self.fds.get(number, number)
        if prog_type not in self.progs:
            kind = MAPS["progs"]
            fd = self.calls.map(kind.type, kind.key_size, kind.value_size, kind.max_entries)
            self.progs[prog_type] = fd
            self.maps[fd] = self.maps[self.fds[number]]
        return self.progs[prog_type]

    def ask(self, of: Sample, level: int) -> Pair:
        """Both answers."""
        kernel = self.ask_kernel(of, level)
        try:
            return Pair("", kernel, self.ask_ours(of, level))
        except NotSupported as error:
            return Pair("", kernel, None, error.feature)

    def ask_kernel(self, of: Sample, level: int) -> Answer:
        calls = Calls(self.kernel)
        fields = calls.prog_fields(
            self.insns(of), prog_type=of.type, prog_flags=of.flags,
            expected_attach_type=of.attach)
        if of.funcs:
            ids = types(of.type)[1]
            records = u32(*(n for slot, name in of.funcs for n in (slot, ids[name])))
            fields |= {"prog_btf_fd": self._types(of.type), "func_info": records,
                       "func_info_cnt": len(of.funcs), "func_info_rec_size": 8}
        if of.lines:
            where = [n for line in lines(of)
                     for n in (line.insn, ids[FILE], ids[line.text], line.line << 10)]
            fields |= {"line_info": u32(*where), "line_info_cnt": len(where) // 4,
                       "line_info_rec_size": 16}
        return ask_kernel(self.kernel, calls.packed(fields), level)

    def _types(self, prog_type: int) -> int:
        if prog_type not in self.btf:
            self.btf[prog_type] = self.calls.btf(types(prog_type)[0])
        return self.btf[prog_type]

    def ask_ours(self, of: Sample, level: int) -> Answer:
        """Raises NotSupported."""
        verdict = verify(*self.question(of), Options(level))
        return Answer(errno_name(verdict.errno), masked(verdict.log))

    def question(self, of: Sample) -> tuple[list[Insn], Facts]:
        """What our verifier is asked."""
        return self.insns(of), self.facts(of)

    def facts(self, of: Sample) -> Facts:
        return Facts(of.type, of.attach, flags=of.flags,
                     sleepable=bool(of.flags & uapi.BPF_F_SLEEPABLE), maps=self.maps,
                     cpus=self.cpus, funcs=tuple(_func_info(of)), lines=tuple(lines(of)),
                     kernel_btf=kernel_btf(), btf=Btf(types(of.type)[0]) if of.funcs else None)


def _map_facts(kind: MapKind) -> MapFacts:
    return MapFacts(kind.type, kind.key_size, kind.value_size, kind.max_entries, kind.flags,
                    frozen=kind.frozen, content=kind.content or None)


def _func_info(of: Sample) -> list[FuncInfo]:
    if not of.funcs:
        return []
    ids = types(of.type)[1]
    return [FuncInfo(slot, name, FUNCS[name][1], ids[name]) for slot, name in of.funcs]


def alike(level: int, pair: Pair) -> bool:
    """Whether both said the same: the verdict, and every line of the log."""
    return pair.ours is not None and pair.same_verdict and pair.kernel.log == pair.ours.log
