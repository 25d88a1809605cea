"""Direct access to packets (check_packet_access, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES, EINVAL

from anybpf import uapi
from anybpf.verifier import regtype
from anybpf.verifier.env import Env
from anybpf.verifier.region import dynptrs
from anybpf.verifier.region.access import Access, check_fixed, negative
from anybpf.verifier.state import Reg, mark_unknown
from anybpf.verifier.step import regs

#: program types that may only read their packets
READ_ONLY = frozenset({
    uapi.BPF_PROG_TYPE_LWT_IN, uapi.BPF_PROG_TYPE_LWT_OUT, uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL,
    uapi.BPF_PROG_TYPE_SK_REUSEPORT, uapi.BPF_PROG_TYPE_FLOW_DISSECTOR,
    uapi.BPF_PROG_TYPE_CGROUP_SKB,
})
WRITABLE = frozenset({
    uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT, uapi.BPF_PROG_TYPE_XDP,
    uapi.BPF_PROG_TYPE_LWT_XMIT, uapi.BPF_PROG_TYPE_SK_SKB, uapi.BPF_PROG_TYPE_SK_MSG,
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT,
})


def may_write(env: Env) -> bool:
    """Whether programs of this type may store into their packet."""
    return env.prog_type in WRITABLE


def may_pass(env: Env, takes_packet: bool) -> bool:
    """Whether the program may hand packet pointers to a helper that does or does not take them."""
    if env.facts.type == uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT:
        # its packet is the option's value in memory
        return True
    return takes_packet and (env.facts.type in WRITABLE or env.facts.type in READ_ONLY)


def access(what: Access) -> None:
    """A load or store."""
    if what.write and not may_write(what.env):
        raise what.env.reject(EACCES, "cannot write into packet")
    check(what.env, what.reg, what.regno, what.off, what.size)
    if what.loads is not None:
        mark_unknown(what.loads)


def forget(env: Env) -> None:
    """The packet may have moved (clear_all_pkt_pointers)."""
    for reg in regs.every(env.state):
        if regtype.is_any_packet(reg.kind) or dynptrs.is_packet_slice(reg):
            mark_unknown(reg)


def check(env: Env, reg: Reg, regno: int, off: int, size: int, zero_ok: bool = False) -> None:
    """Only the fixed offset counts: the range was measured from where the register points."""
    if reg.smin < 0:
        raise env.reject(EACCES, negative(regno))
    if reg.packet_range < 0:
        raise env.reject(EINVAL, f"R{regno} offset is outside of the packet")
    check_fixed(env, reg, regno, off, size, reg.packet_range, zero_ok,
                "offset is outside of the packet")
