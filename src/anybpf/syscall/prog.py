"""BPF_PROG_LOAD (bpf_prog_load in kernel/bpf/syscall.c).

Programs are verified, unless the Machine was made to skip that, and run in checked mode.
"""

from __future__ import annotations

from errno import E2BIG, EFAULT, EINVAL, EOPNOTSUPP
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf.ext import FuncInfo, LineInfo
from anybpf.core.prog import Prog
from anybpf.errors import ENOTSUPP, BpfError, NotSupported
from anybpf.isa.insn import Insn, decode, encode, is_ld_imm64
from anybpf.net.context import context_table
from anybpf.net.dev import devices_of
from anybpf.proto.progs import BY_TYPE as PROGS
from anybpf.proto.progs import fixed_attach
from anybpf.syscall import attach_type
from anybpf.syscall.attr import Attr
from anybpf.syscall.facts import Surroundings, kernel_types
from anybpf.syscall.log import Log
from anybpf.syscall.memory import read_string
from anybpf.syscall.names import is_gpl_compatible, object_name
from anybpf.syscall.objects import (
    BtfObject,
    MapObject,
    MapRef,
    ProgBtf,
    ProgFacts,
    ProgObject,
    tail_call_key,
)
from anybpf.syscall.state import State, refuse_token
from anybpf.syscall.tags import SLOT
from anybpf.verifier import Facts, Options, Verdict, verify
from anybpf.verifier.facts import ProgramFacts

_FLAGS = (uapi.BPF_F_STRICT_ALIGNMENT | uapi.BPF_F_ANY_ALIGNMENT | uapi.BPF_F_TEST_STATE_FREQ
          | uapi.BPF_F_SLEEPABLE | uapi.BPF_F_TEST_RND_HI32 | uapi.BPF_F_XDP_HAS_FRAGS
          | uapi.BPF_F_XDP_DEV_BOUND_ONLY | uapi.BPF_F_TEST_REG_INVARIANTS | uapi.BPF_F_TOKEN_FD)
_LICENCE_SIZE = 128
#: what to do where the verifier does not model something
WITHOUT = ("Machine(verify=False), or `anybpf run --checked`, runs programs that the verifier has "
           "not seen, and tests each access.")
#: program types that may be bound to a device, or offloaded to it: flags that go with that
_BOUND_FLAGS = {
    uapi.BPF_PROG_TYPE_SCHED_CLS: 0,
    uapi.BPF_PROG_TYPE_XDP: uapi.BPF_F_XDP_DEV_BOUND_ONLY | uapi.BPF_F_XDP_HAS_FRAGS,
}


class Source(NamedTuple):
    """What the caller gave: instructions as bytes and decoded, and the facts."""

    facts: ProgFacts
    insns: list[Insn]


# -- what is checked before any instruction


def _target(state: State, attr: Attr) -> BtfObject | ProgObject | None:
    """The BTF or program that a program attaches to; None: the kernel's own types."""
    fd = attr["attach_prog_fd"]
    if not fd:
        if attr["attach_btf_id"] and kernel_types(state) is None:
            raise BpfError(EINVAL, "this kernel does not tell its types")
        return None
    try:
        target = state.files[fd].object
    except BpfError:
        raise BpfError(EINVAL, "attach_prog_fd is not open") from None
    if isinstance(target, BtfObject) and not target.kernel:
        raise BpfError(ENOTSUPP, "attaching to BTF of user space")
    if not isinstance(target, (BtfObject, ProgObject)):
        raise BpfError(EINVAL, "attach_prog_fd is neither program nor BTF")
    return target


def _check_device(state: State, kind: int, attr: Attr) -> None:
    """Programs bound to a network device (bpf_prog_dev_bound_init, kernel/bpf/offload.c)."""
    if not attr["prog_ifindex"]:
        return
    flags = attr["prog_flags"]
    bound_only = flags & uapi.BPF_F_XDP_DEV_BOUND_ONLY
    allowed = _BOUND_FLAGS.get(kind)
    if allowed is None or flags & ~allowed or (flags and not bound_only):
        raise BpfError(EINVAL, "programs of this type and flags are not bound to devices")
    if attr["prog_ifindex"] not in devices_of(state.kernel):
        raise BpfError(EINVAL, f"no device {attr['prog_ifindex']}")
    raise BpfError(EOPNOTSUPP, "no device takes programs")


def _check_attr(state: State, attr: Attr) -> int:
    """Everything before memory is read; gives the expected attach type."""
    flags, kind = attr["prog_flags"], attr["prog_type"]
    if flags & ~_FLAGS:
        raise BpfError(EINVAL, f"unknown program flags {flags:#x}")
    expected = fixed_attach(kind, attr["expected_attach_type"])
    if flags & uapi.BPF_F_TOKEN_FD:
        refuse_token(state, attr["prog_token_fd"])
    if not 0 < attr["insn_cnt"] <= uapi.BPF_COMPLEXITY_LIMIT_INSNS:
        raise BpfError(E2BIG, "program of no or too many instructions")
    target = _target(state, attr)
    if isinstance(target, BtfObject) and not attr["attach_btf_id"]:
        raise BpfError(EINVAL, "no attach_btf_id in the types of attach_btf_obj_fd")
    attach_type.check(kind, expected, attr["attach_btf_id"], isinstance(target, ProgObject))
    return expected


def read_source(state: State, attr: Attr) -> Source:
    """Copy the program in; the order of the checks is the kernel's."""
    expected, kind = _check_attr(state, attr), attr["prog_type"]
    insns = state.memory.read(attr["insns"], attr["insn_cnt"] * SLOT)
    licence = read_string(state.memory, attr["license"], _LICENCE_SIZE - 1)
    if attr["signature"]:
        raise NotSupported("signed programs", "6.18")
    _check_device(state, kind, attr)
    if kind not in PROGS:
        raise BpfError(EINVAL, f"no program type {kind}")
    name = object_name(attr.raw("prog_name"))
    facts = ProgFacts(
        type=kind, name=name, insns=insns, gpl=is_gpl_compatible(licence),
        flags=attr["prog_flags"], expected_attach_type=expected,
        attach_btf_id=attr["attach_btf_id"], uid=state.uid, load_time=state.kernel.clock_ns)
    return Source(facts, decode(insns))


# -- the verifier


def _verified(state: State, attr: Attr, insns: list[Insn], facts: Facts) -> Verdict:
    """An accepting verdict, with the caller's log: its failures win over the program's."""
    log = Log(attr["log_level"], attr["log_buf"], attr["log_size"])
    try:
        verdict = verify(insns, facts, Options(log.level), log, walk=state.verify)
    except NotSupported as error:
        if state.verify:
            error.add_note(WITHOUT)
        raise
    size, errno = log.finish(state.memory)
    attr["log_true_size"] = size
    if errno:
        raise BpfError(errno, "the log does not fit" if errno != EFAULT else "bad log_buf")
    if not verdict.accepted:
        raise BpfError(verdict.errno, verdict.message.strip())
    return verdict


# -- the program


def _native(state: State, facts: ProgFacts, maps: list[MapObject],
            refs: dict[int, MapRef]) -> Prog:
    """The runnable form."""
    if any(is_ld_imm64(x) and x.src == uapi.BPF_PSEUDO_BTF_ID for x in decode(facts.insns)):
        raise NotSupported("kernel variables in ld_imm64 (BPF_PSEUDO_BTF_ID)", "5.6")
    for map in maps:
        if map.map.holds == "prog":
            map.map.claim(tail_call_key(facts))
    return Prog(facts.insns, kernel=state.kernel, prog_type=facts.type, name=facts.name,
                maps={i: (r.map.map, r.offset) for i, r in refs.items()},
                context=context_table(facts.type, facts.expected_attach_type), gpl=facts.gpl)


def _program_btf(types: BtfObject | None, facts: Facts) -> ProgBtf | None:
    """The program's types with the records that were given."""
    if types is None:
        return None
    return ProgBtf(types, tuple(FuncInfo(f.insn, f.type_id) for f in facts.funcs),
                   tuple(LineInfo(*line.record) for line in facts.lines))


def prog_load(state: State, attr: Attr) -> int:
    """BPF_PROG_LOAD: a new program's descriptor."""
    source = read_source(state, attr)
    around = Surroundings(state, attr)
    told = around.facts(source.facts)
    verdict = _verified(state, attr, source.insns, told)
    facts = source.facts._replace(insns=encode(verdict.program), verified_insns=verdict.insns,
                                  max_ctx_offset=verdict.max_ctx_offset,
                                  as_target=ProgramFacts.of(told, verdict))
    maps, refs = around.used(verdict), around.references(verdict)
    prog = ProgObject(state, facts, maps, refs, _program_btf(around.btf, told),
                      _native(state, facts, maps, refs), verdict.starts, around.program)
    return state.files.install(prog)
