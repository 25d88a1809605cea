"""BPF_PROG_LOAD (bpf_prog_load in kernel/bpf/syscall.c, bpf_check in kernel/bpf/verifier.c).

There is no verifier behind it yet: a program must be well formed, and runs in checked mode.
"""

from __future__ import annotations

from errno import E2BIG, EFAULT, EINVAL, EOPNOTSUPP
from typing import NamedTuple

from anybpf import uapi
from anybpf.core.prog import Prog
from anybpf.errors import ENOTSUPP, BpfError, NotSupported
from anybpf.isa.check import (
    BadInsn,
    check_insn,
    check_jumps_into_imm64,
    check_subprogs,
    subprog_starts,
)
from anybpf.isa.insn import Insn, decode, encode, is_helper_call, slots
from anybpf.net.context import context_table
from anybpf.proto import access
from anybpf.proto.helpers import BY_ID
from anybpf.proto.progs import BY_TYPE as PROGS
from anybpf.syscall import attach_type, check_btf, core_relo
from anybpf.syscall.attr import Attr
from anybpf.syscall.log import Log, Refused
from anybpf.syscall.memory import read_string
from anybpf.syscall.names import is_gpl_compatible, object_name
from anybpf.syscall.objects import BtfObject, ProgBtf, ProgFacts, ProgObject, tail_call_key
from anybpf.syscall.resolve import Resolver
from anybpf.syscall.state import State, refuse_token
from anybpf.syscall.tags import SLOT, digest

_FLAGS = (uapi.BPF_F_STRICT_ALIGNMENT | uapi.BPF_F_ANY_ALIGNMENT | uapi.BPF_F_TEST_STATE_FREQ
          | uapi.BPF_F_SLEEPABLE | uapi.BPF_F_TEST_RND_HI32 | uapi.BPF_F_XDP_HAS_FRAGS
          | uapi.BPF_F_XDP_DEV_BOUND_ONLY | uapi.BPF_F_TEST_REG_INVARIANTS | uapi.BPF_F_TOKEN_FD)
_LICENCE_SIZE = 128
#: what libbpf writes as helper number where code is dead: by CO-RE, for a map or kfunc left out
_POISON = (range(195_896_080, 195_896_081), range(2_001_000_000, 2_003_000_000))
_ON_DEVICES = (uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_XDP)
#: the last line of every log: no instruction is walked yet
_STATISTICS = ("processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 "
               "peak_states 0 mark_read 0\n")


class Source(NamedTuple):
    """What the caller gave: instructions as bytes and decoded, and the facts."""

    facts: ProgFacts
    insns: list[Insn]


class Checked(NamedTuple):
    """What the checks found out."""

    resolver: Resolver
    btf: ProgBtf | None
    starts: tuple[int, ...]
    insns: bytes


# -- what is checked before any instruction


def _check_target(state: State, attr: Attr) -> None:
    """The BTF or program that a program attaches to."""
    fd = attr["attach_prog_fd"]
    if not fd:
        return
    try:
        target = state.files[fd].object
    except BpfError:
        raise BpfError(EINVAL, "attach_prog_fd is not open") from None
    if isinstance(target, BtfObject) and not target.kernel:
        raise BpfError(ENOTSUPP, "attaching to BTF of user space")
    if not isinstance(target, (BtfObject, ProgObject)):
        raise BpfError(EINVAL, "attach_prog_fd is neither program nor BTF")


def _check_device(kind: int, attr: Attr) -> None:
    """Programs bound to a network device."""
    if not attr["prog_ifindex"]:
        return
    bound_only = attr["prog_flags"] & uapi.BPF_F_XDP_DEV_BOUND_ONLY
    if kind not in _ON_DEVICES or (bound_only and kind != uapi.BPF_PROG_TYPE_XDP):
        raise BpfError(EINVAL, "programs of this type are not bound to devices")
    raise BpfError(EOPNOTSUPP, "no device takes offloaded programs")


def _check_attr(state: State, attr: Attr) -> int:
    """Everything before memory is read; gives the expected attach type."""
    flags, kind = attr["prog_flags"], attr["prog_type"]
    if flags & ~_FLAGS:
        raise BpfError(EINVAL, f"unknown program flags {flags:#x}")
    expected = attach_type.fixed(kind, attr["expected_attach_type"])
    if flags & uapi.BPF_F_TOKEN_FD:
        refuse_token(state, attr["prog_token_fd"])
    if not 0 < attr["insn_cnt"] <= uapi.BPF_COMPLEXITY_LIMIT_INSNS:
        raise BpfError(E2BIG, "program of no or too many instructions")
    _check_target(state, attr)
    attach_type.check(kind, expected, attr["attach_btf_id"], bool(attr["attach_prog_fd"]))
    return expected


def read_source(state: State, attr: Attr) -> Source:
    """Copy the program in; the order of the checks is the kernel's."""
    expected, kind = _check_attr(state, attr), attr["prog_type"]
    insns = state.memory.read(attr["insns"], attr["insn_cnt"] * SLOT)
    licence = read_string(state.memory, attr["license"], _LICENCE_SIZE - 1)
    if attr["signature"]:
        raise NotSupported("signed programs", "6.18")
    _check_device(kind, attr)
    if kind not in PROGS:
        raise BpfError(EINVAL, f"no program type {kind}")
    name = object_name(attr.raw("prog_name"))
    facts = ProgFacts(
        type=kind, name=name, insns=insns, gpl=is_gpl_compatible(licence),
        flags=attr["prog_flags"], expected_attach_type=expected,
        attach_btf_id=attr["attach_btf_id"], uid=state.uid, load_time=state.kernel.clock_ns)
    return Source(facts, decode(insns))


# -- what is checked with a log


def _check_insns(source: Source) -> None:
    """Fields and registers of every instruction."""
    for index, insn in slots(source.insns):
        check_insn(insn, index)
        if is_helper_call(insn):
            _check_helper(source.facts, insn.imm)
    check_jumps_into_imm64(source.insns)


def _check_helper(facts: ProgFacts, number: int) -> None:
    """The helper exists, and type and licence of the program allow it."""
    if any(number in poison for poison in _POISON):
        return
    if number not in BY_ID:
        raise Refused(EINVAL, f"invalid func unknown#{number}\n")
    sleepable = bool(facts.flags & uapi.BPF_F_SLEEPABLE)
    helper = access.helper(number, facts.type, facts.expected_attach_type, sleepable=sleepable)
    if helper is None:
        raise Refused(EINVAL, "program of this type cannot use helper "
                              f"bpf_{BY_ID[number].name}#{number}\n")
    if helper.gpl and not facts.gpl:
        raise Refused(EINVAL, "cannot call GPL-restricted function from non-GPL compatible "
                              "program\n")


def _check_sleepable(facts: ProgFacts) -> None:
    """Who may sleep, and who must."""
    sleepable, row = bool(facts.flags & uapi.BPF_F_SLEEPABLE), PROGS[facts.type]
    if facts.type == uapi.BPF_PROG_TYPE_SYSCALL:
        if not sleepable:
            raise Refused(EINVAL, "Syscall programs can only be sleepable\n")
    elif sleepable and not row.sleepable:
        raise Refused(EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops "
                              "programs can be sleepable\n")
    if row.btf_target:
        raise NotSupported(f"programs of type {row.name}")


def _relocated(state: State, attr: Attr, source: Source, btf: ProgBtf | None, log: Log) -> bytes:
    """The instructions after CO-RE; without functions the kernel passes over the records."""
    if btf is None or not attr["core_relo_cnt"]:
        return source.facts.insns
    core_relo.apply(state, attr, btf.object.btf, source.insns, log)
    return encode(source.insns)


def check(state: State, attr: Attr, source: Source, log: Log) -> Checked:
    """The structural part of bpf_check, in its order. Raises Refused, BadInsn or BpfError."""
    resolver = Resolver(state, attr, digest(source.facts.insns))
    resolver.use_array(attr["fd_array_cnt"])
    btf = check_btf.read_funcs(state, attr)
    for number, start in enumerate(subprog_starts(source.insns)):
        log.write(f"func#{number} @{start}\n", uapi.BPF_LOG_LEVEL2)
    starts = check_subprogs(source.insns)
    if btf is not None:
        check_btf.check_funcs(btf, starts)
        btf = check_btf.read_lines(state, attr, btf, source.insns, starts)
    insns = _relocated(state, attr, source, btf, log)
    resolver.digest = digest(insns)
    resolver.resolve(source.insns)
    _check_insns(source)
    _check_sleepable(source.facts)
    return Checked(resolver, btf, tuple(starts), insns)


def _check_logged(state: State, attr: Attr, source: Source) -> Checked:
    """`check` with the caller's log: its failures win over the program's."""
    log = Log(attr["log_level"], attr["log_buf"], attr["log_size"])
    failure: BpfError | None = None
    try:
        checked = check(state, attr, source, log)
    except (Refused, BadInsn) as error:
        log.write(error.text if isinstance(error, Refused) else error.message + "\n")
        failure = error
    except BpfError as error:
        failure = error
    log.write(_STATISTICS)
    size, errno = log.finish(state.memory)
    attr["log_true_size"] = size
    if errno:
        raise BpfError(errno, "the log does not fit" if errno != EFAULT else "bad log_buf")
    if failure is not None:
        raise failure
    return checked


# -- the program


def _native(state: State, facts: ProgFacts, checked: Checked) -> Prog:
    """The runnable form."""
    for map in checked.resolver.maps:
        if map.map.holds == "prog":
            map.map.claim(tail_call_key(facts))
    return Prog(facts.insns, kernel=state.kernel, prog_type=facts.type, name=facts.name,
                maps={i: (r.map.map, r.offset) for i, r in checked.resolver.refs.items()},
                context=context_table(facts.type, facts.expected_attach_type), gpl=facts.gpl)


def prog_load(state: State, attr: Attr) -> int:
    """BPF_PROG_LOAD: a new program's descriptor."""
    source = read_source(state, attr)
    checked = _check_logged(state, attr, source)
    facts = source.facts._replace(insns=checked.insns)
    native = _native(state, facts, checked)
    prog = ProgObject(state, facts, checked.resolver.maps, checked.resolver.refs,
                      checked.btf, native, checked.starts)
    return state.files.install(prog)
