"""Program types: names, contexts, who may load them, what they may return (kernel/bpf/verifier.c).

The numbers are `uapi.BPF_PROG_TYPE_*`; the names are those of bpftool and libbpf.
"""

from __future__ import annotations

from typing import NamedTuple

from anybpf import uapi
from anybpf.proto import contexts
from anybpf.proto.access import CAP_BPF, CAP_PERFMON

CAP_NET_ADMIN = 8  # beside the bits of `access`
ANY_ATTACH: tuple[int, ...] = ()


class Returns(NamedTuple):
    """What r0 must lie in at exit, both ends included."""

    low: int
    high: int
    attach: tuple[int, ...] = ANY_ATTACH
    """Only under these expected attach types; empty: under any."""


class Prog(NamedTuple):
    """A program type."""

    type: int
    name: str
    """As bpftool prints it, such as `"sched_cls"`."""
    since: str
    """The first kernel version that has it."""
    context: str = ""
    """Key of `contexts.CONTEXTS`; empty: arguments by BTF (tracing, LSM, struct_ops, ext)."""
    needs: int = CAP_BPF
    """Capabilities that loading takes where unprivileged BPF is off."""
    returns: tuple[Returns, ...] = ()
    """The first that fits the expected attach type; none: any value."""
    attach: tuple[int, ...] = ANY_ATTACH
    """Expected attach types that BPF_PROG_LOAD accepts; empty: it does not look."""
    test_run: bool = False
    """BPF_PROG_TEST_RUN runs it (otherwise ENOTSUPP)."""
    sleepable: bool = False
    """May be loaded with BPF_F_SLEEPABLE (under conditions of its attach point)."""
    gpl: bool = False
    """Must be under a GPL-compatible licence."""
    config: str = ""
    """The kernel option without which the type is absent, if that is unusual."""
    btf_target: bool = False
    """`attach_btf_id` says what it is attached to."""
    prog_target: bool = False
    """`attach_prog_fd` may say that it is attached to another program."""
    default_attach: int = 0
    """What an expected attach type of 0 counts as (bpf_prog_load_fixup_attach_type())."""

    def returned(self, attach_type: int) -> Returns | None:
        """The range that r0 must lie in under `attach_type`, or None: any value."""
        return next((r for r in self.returns if not r.attach or attach_type in r.attach), None)

    def accepts(self, attach_type: int) -> bool:
        """True if BPF_PROG_LOAD takes `attach_type` as the expected attach type."""
        return not self.attach or attach_type in self.attach


_NET = CAP_BPF | CAP_NET_ADMIN
_PERF = CAP_BPF | CAP_PERFMON
_ZERO_ONE = (Returns(0, 1),)

_BINDS = (uapi.BPF_CGROUP_INET4_BIND, uapi.BPF_CGROUP_INET6_BIND)
_CONNECTS = (
    uapi.BPF_CGROUP_INET4_CONNECT, uapi.BPF_CGROUP_INET6_CONNECT, uapi.BPF_CGROUP_UNIX_CONNECT,
    uapi.BPF_CGROUP_UDP4_SENDMSG, uapi.BPF_CGROUP_UDP6_SENDMSG, uapi.BPF_CGROUP_UNIX_SENDMSG)
# hooks that come too late to refuse
_TOLD = (
    uapi.BPF_CGROUP_UDP4_RECVMSG, uapi.BPF_CGROUP_UDP6_RECVMSG, uapi.BPF_CGROUP_UNIX_RECVMSG,
    uapi.BPF_CGROUP_INET4_GETPEERNAME, uapi.BPF_CGROUP_INET6_GETPEERNAME,
    uapi.BPF_CGROUP_UNIX_GETPEERNAME, uapi.BPF_CGROUP_INET4_GETSOCKNAME,
    uapi.BPF_CGROUP_INET6_GETSOCKNAME, uapi.BPF_CGROUP_UNIX_GETSOCKNAME)
_SESSIONS = (uapi.BPF_TRACE_KPROBE_SESSION, uapi.BPF_TRACE_UPROBE_SESSION)
_UNSPEC = (0,)


def _row(name: str, since: str, needs: int = CAP_BPF, returns: tuple[Returns, ...] = (),
         attach: tuple[int, ...] = ANY_ATTACH, *, test_run: bool = False, sleepable: bool = False,
         gpl: bool = False, config: str = "", btf_target: bool = False, prog_target: bool = False,
         default_attach: int = 0) -> Prog:
    """The row of program type `name`; number and context follow from the name."""
    number: int = getattr(uapi, f"BPF_PROG_TYPE_{name.upper()}")
    view = contexts.VIEWS.get(number)
    return Prog(number, name, since, view.context if view else "", needs, returns, attach,
                test_run, sleepable, gpl, config, btf_target, prog_target, default_attach)


PROGS: tuple[Prog, ...] = (
    _row("socket_filter", "3.19", test_run=True),
    _row("kprobe", "4.1", _PERF, (Returns(0, 1, _SESSIONS),), sleepable=True),
    _row("sched_cls", "4.1", _NET, test_run=True),
    _row("sched_act", "4.1", _NET, test_run=True),
    _row("tracepoint", "4.7", _PERF),
    _row("xdp", "4.8", _NET, test_run=True),
    _row("perf_event", "4.9", _PERF),
    _row("cgroup_skb", "4.10", CAP_BPF,
         (Returns(0, 3, (uapi.BPF_CGROUP_INET_EGRESS,)), Returns(0, 1)),
         (uapi.BPF_CGROUP_INET_INGRESS, uapi.BPF_CGROUP_INET_EGRESS), test_run=True),
    _row("cgroup_sock", "4.10", _NET, _ZERO_ONE,
         (*_UNSPEC, uapi.BPF_CGROUP_INET_SOCK_CREATE, uapi.BPF_CGROUP_INET_SOCK_RELEASE,
          uapi.BPF_CGROUP_INET4_POST_BIND, uapi.BPF_CGROUP_INET6_POST_BIND),
         default_attach=uapi.BPF_CGROUP_INET_SOCK_CREATE),
    _row("lwt_in", "4.10", _NET, test_run=True),
    _row("lwt_out", "4.10", _NET, test_run=True),
    _row("lwt_xmit", "4.10", _NET, test_run=True),
    _row("sock_ops", "4.13", _NET, _ZERO_ONE),
    _row("sk_skb", "4.14", _NET),
    _row("cgroup_device", "4.15", _NET, _ZERO_ONE),
    _row("sk_msg", "4.17", _NET),
    _row("raw_tracepoint", "4.17", _PERF, test_run=True),
    _row("cgroup_sock_addr", "4.17", _NET,
         (Returns(0, 3, _BINDS), Returns(1, 1, _TOLD), Returns(0, 1)),
         (*_BINDS, *_CONNECTS, *_TOLD)),
    _row("lwt_seg6local", "4.18", _NET),
    _row("lirc_mode2", "4.18", config="CONFIG_BPF_LIRC_MODE2"),
    _row("sk_reuseport", "4.19", CAP_BPF, (),
         (*_UNSPEC, uapi.BPF_SK_REUSEPORT_SELECT, uapi.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE),
         default_attach=uapi.BPF_SK_REUSEPORT_SELECT),
    _row("flow_dissector", "4.20", _NET, test_run=True),
    _row("cgroup_sysctl", "5.2", _NET, _ZERO_ONE),
    _row("raw_tracepoint_writable", "5.2", _PERF),
    _row("cgroup_sockopt", "5.3", _NET, _ZERO_ONE,
         (uapi.BPF_CGROUP_GETSOCKOPT, uapi.BPF_CGROUP_SETSOCKOPT)),
    _row("tracing", "5.5", _PERF,
         (Returns(0, 0, (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT)),
          Returns(0, 1, (uapi.BPF_TRACE_ITER,))), test_run=True, sleepable=True,
         btf_target=True, prog_target=True),
    _row("struct_ops", "5.6", _PERF, test_run=True, sleepable=True, gpl=True, btf_target=True),
    _row("ext", "5.6", _PERF | CAP_NET_ADMIN, (), _UNSPEC, btf_target=True, prog_target=True),
    _row("lsm", "5.7", _PERF, sleepable=True, gpl=True, btf_target=True),
    _row("sk_lookup", "5.9", CAP_BPF, _ZERO_ONE, (uapi.BPF_SK_LOOKUP,), test_run=True),
    _row("syscall", "5.14", CAP_BPF, (), _UNSPEC, test_run=True, sleepable=True),
    _row("netfilter", "6.4", _NET, _ZERO_ONE, (uapi.BPF_NETFILTER,), test_run=True),
)

BY_TYPE: dict[int, Prog] = {p.type: p for p in PROGS}
BY_NAME: dict[str, Prog] = {p.name: p for p in PROGS}


def fixed_attach(prog_type: int, expected: int) -> int:
    """The expected attach type, where 0 has the meaning it had before there were any."""
    row = BY_TYPE.get(prog_type)
    return expected if expected or row is None else row.default_attach


#: licences under which a program may call helpers marked GPL-only (license_is_gpl_compatible)
GPL_COMPATIBLE = frozenset((
    b"GPL", b"GPL v2", b"GPL and additional rights", b"Dual BSD/GPL", b"Dual MIT/GPL",
    b"Dual MPL/GPL",
))
