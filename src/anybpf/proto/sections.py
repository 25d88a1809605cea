"""What a section name says about the programs in it (tools/lib/bpf/libbpf.c)."""

from __future__ import annotations

from typing import NamedTuple

from anybpf import uapi

# bits of `SectionDef.flags`
ATTACHABLE = 1  # the expected attach type is needed at load time
EXP_ATTACH_OPT = 2  # ... but may be left out for kernels that do not know it
ATTACH_BTF = 4  # needs the BTF id of what it attaches to
SLEEPABLE = 8  # loads with BPF_F_SLEEPABLE
XDP_FRAGS = 16  # loads with BPF_F_XDP_HAS_FRAGS
USDT = 32  # needs the loader's USDT maps
ATTACHABLE_OPT = ATTACHABLE | EXP_ATTACH_OPT


class SectionDef(NamedTuple):
    """One rule: a section name, or with a trailing `+` a name and `name/anything`."""

    pattern: str
    prog_type: int
    expected_attach_type: int = 0
    flags: int = 0
    attach: str = ""
    """How such a program attaches by itself (`"kprobe"`, `"tp"`, ...); empty: it cannot."""

    @property
    def name(self) -> str:
        """The pattern without its `+`."""
        return self.pattern.removesuffix("+")

    @property
    def prog_flags(self) -> int:
        """The BPF_PROG_LOAD flags that the section asks for."""
        return ((uapi.BPF_F_SLEEPABLE if self.flags & SLEEPABLE else 0)
                | (uapi.BPF_F_XDP_HAS_FRAGS if self.flags & XDP_FRAGS else 0))

    def matches(self, sec_name: str) -> bool:
        """True if programs in section `sec_name` follow this rule."""
        if sec_name == self.name:
            return True
        return self.pattern.endswith("+") and sec_name.startswith(self.name + "/")

    def extras(self, sec_name: str) -> str:
        """What follows the name: `"sys_nanosleep"` of `"kprobe/sys_nanosleep"`, or nothing."""
        return sec_name[len(self.name) + 1:]


SECTIONS: tuple[SectionDef, ...] = (
    SectionDef("socket", uapi.BPF_PROG_TYPE_SOCKET_FILTER),
    SectionDef("sk_reuseport/migrate", uapi.BPF_PROG_TYPE_SK_REUSEPORT,
               uapi.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE, ATTACHABLE),
    SectionDef("sk_reuseport", uapi.BPF_PROG_TYPE_SK_REUSEPORT,
               uapi.BPF_SK_REUSEPORT_SELECT, ATTACHABLE),
    SectionDef("kprobe+", uapi.BPF_PROG_TYPE_KPROBE, 0, attach="kprobe"),
    SectionDef("uprobe+", uapi.BPF_PROG_TYPE_KPROBE, 0, attach="uprobe"),
    SectionDef("uprobe.s+", uapi.BPF_PROG_TYPE_KPROBE, 0, SLEEPABLE, attach="uprobe"),
    SectionDef("kretprobe+", uapi.BPF_PROG_TYPE_KPROBE, 0, attach="kprobe"),
    SectionDef("uretprobe+", uapi.BPF_PROG_TYPE_KPROBE, 0, attach="uprobe"),
    SectionDef("uretprobe.s+", uapi.BPF_PROG_TYPE_KPROBE, 0, SLEEPABLE, attach="uprobe"),
    SectionDef("kprobe.multi+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_KPROBE_MULTI, attach="kprobe_multi"),
    SectionDef("kretprobe.multi+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_KPROBE_MULTI, attach="kprobe_multi"),
    SectionDef("kprobe.session+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_KPROBE_SESSION, attach="kprobe_session"),
    SectionDef("uprobe.multi+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_UPROBE_MULTI, attach="uprobe_multi"),
    SectionDef("uretprobe.multi+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_UPROBE_MULTI, attach="uprobe_multi"),
    SectionDef("uprobe.session+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_UPROBE_SESSION, attach="uprobe_multi"),
    SectionDef("uprobe.multi.s+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_UPROBE_MULTI, SLEEPABLE, attach="uprobe_multi"),
    SectionDef("uretprobe.multi.s+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_UPROBE_MULTI, SLEEPABLE, attach="uprobe_multi"),
    SectionDef("uprobe.session.s+", uapi.BPF_PROG_TYPE_KPROBE,
               uapi.BPF_TRACE_UPROBE_SESSION, SLEEPABLE, attach="uprobe_multi"),
    SectionDef("ksyscall+", uapi.BPF_PROG_TYPE_KPROBE, 0, attach="ksyscall"),
    SectionDef("kretsyscall+", uapi.BPF_PROG_TYPE_KPROBE, 0, attach="ksyscall"),
    SectionDef("usdt+", uapi.BPF_PROG_TYPE_KPROBE, 0, USDT, attach="usdt"),
    SectionDef("usdt.s+", uapi.BPF_PROG_TYPE_KPROBE, 0, USDT | SLEEPABLE, attach="usdt"),
    SectionDef("tc/ingress", uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_TCX_INGRESS),
    SectionDef("tc/egress", uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_TCX_EGRESS),
    SectionDef("tcx/ingress", uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_TCX_INGRESS),
    SectionDef("tcx/egress", uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_TCX_EGRESS),
    SectionDef("tc", uapi.BPF_PROG_TYPE_SCHED_CLS),
    SectionDef("classifier", uapi.BPF_PROG_TYPE_SCHED_CLS),
    SectionDef("action", uapi.BPF_PROG_TYPE_SCHED_ACT),
    SectionDef("netkit/primary", uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_NETKIT_PRIMARY),
    SectionDef("netkit/peer", uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_NETKIT_PEER),
    SectionDef("tracepoint+", uapi.BPF_PROG_TYPE_TRACEPOINT, 0, attach="tp"),
    SectionDef("tp+", uapi.BPF_PROG_TYPE_TRACEPOINT, 0, attach="tp"),
    SectionDef("raw_tracepoint+", uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, attach="raw_tp"),
    SectionDef("raw_tp+", uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, attach="raw_tp"),
    SectionDef("raw_tracepoint.w+", uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, attach="raw_tp"),
    SectionDef("raw_tp.w+", uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, attach="raw_tp"),
    SectionDef("tp_btf+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_TRACE_RAW_TP, ATTACH_BTF, attach="trace"),
    SectionDef("fentry+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_TRACE_FENTRY, ATTACH_BTF, attach="trace"),
    SectionDef("fmod_ret+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_MODIFY_RETURN, ATTACH_BTF, attach="trace"),
    SectionDef("fexit+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_TRACE_FEXIT, ATTACH_BTF, attach="trace"),
    SectionDef("fentry.s+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_TRACE_FENTRY, ATTACH_BTF | SLEEPABLE, attach="trace"),
    SectionDef("fmod_ret.s+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_MODIFY_RETURN, ATTACH_BTF | SLEEPABLE, attach="trace"),
    SectionDef("fexit.s+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_TRACE_FEXIT, ATTACH_BTF | SLEEPABLE, attach="trace"),
    SectionDef("freplace+", uapi.BPF_PROG_TYPE_EXT, 0, ATTACH_BTF, attach="trace"),
    SectionDef("lsm+", uapi.BPF_PROG_TYPE_LSM, uapi.BPF_LSM_MAC, ATTACH_BTF, attach="lsm"),
    SectionDef("lsm.s+", uapi.BPF_PROG_TYPE_LSM,
               uapi.BPF_LSM_MAC, ATTACH_BTF | SLEEPABLE, attach="lsm"),
    SectionDef("lsm_cgroup+", uapi.BPF_PROG_TYPE_LSM, uapi.BPF_LSM_CGROUP, ATTACH_BTF),
    SectionDef("iter+", uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_TRACE_ITER, ATTACH_BTF, attach="iter"),
    SectionDef("iter.s+", uapi.BPF_PROG_TYPE_TRACING,
               uapi.BPF_TRACE_ITER, ATTACH_BTF | SLEEPABLE, attach="iter"),
    SectionDef("syscall", uapi.BPF_PROG_TYPE_SYSCALL, 0, SLEEPABLE),
    SectionDef("xdp.frags/devmap", uapi.BPF_PROG_TYPE_XDP, uapi.BPF_XDP_DEVMAP, XDP_FRAGS),
    SectionDef("xdp/devmap", uapi.BPF_PROG_TYPE_XDP, uapi.BPF_XDP_DEVMAP, ATTACHABLE),
    SectionDef("xdp.frags/cpumap", uapi.BPF_PROG_TYPE_XDP, uapi.BPF_XDP_CPUMAP, XDP_FRAGS),
    SectionDef("xdp/cpumap", uapi.BPF_PROG_TYPE_XDP, uapi.BPF_XDP_CPUMAP, ATTACHABLE),
    SectionDef("xdp.frags", uapi.BPF_PROG_TYPE_XDP, uapi.BPF_XDP, XDP_FRAGS),
    SectionDef("xdp", uapi.BPF_PROG_TYPE_XDP, uapi.BPF_XDP, ATTACHABLE_OPT),
    SectionDef("perf_event", uapi.BPF_PROG_TYPE_PERF_EVENT),
    SectionDef("lwt_in", uapi.BPF_PROG_TYPE_LWT_IN),
    SectionDef("lwt_out", uapi.BPF_PROG_TYPE_LWT_OUT),
    SectionDef("lwt_xmit", uapi.BPF_PROG_TYPE_LWT_XMIT),
    SectionDef("lwt_seg6local", uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL),
    SectionDef("sockops", uapi.BPF_PROG_TYPE_SOCK_OPS, uapi.BPF_CGROUP_SOCK_OPS, ATTACHABLE_OPT),
    SectionDef("sk_skb/stream_parser", uapi.BPF_PROG_TYPE_SK_SKB,
               uapi.BPF_SK_SKB_STREAM_PARSER, ATTACHABLE_OPT),
    SectionDef("sk_skb/stream_verdict", uapi.BPF_PROG_TYPE_SK_SKB,
               uapi.BPF_SK_SKB_STREAM_VERDICT, ATTACHABLE_OPT),
    SectionDef("sk_skb/verdict", uapi.BPF_PROG_TYPE_SK_SKB,
               uapi.BPF_SK_SKB_VERDICT, ATTACHABLE_OPT),
    SectionDef("sk_skb", uapi.BPF_PROG_TYPE_SK_SKB),
    SectionDef("sk_msg", uapi.BPF_PROG_TYPE_SK_MSG, uapi.BPF_SK_MSG_VERDICT, ATTACHABLE_OPT),
    SectionDef("lirc_mode2", uapi.BPF_PROG_TYPE_LIRC_MODE2, uapi.BPF_LIRC_MODE2, ATTACHABLE_OPT),
    SectionDef("flow_dissector", uapi.BPF_PROG_TYPE_FLOW_DISSECTOR,
               uapi.BPF_FLOW_DISSECTOR, ATTACHABLE_OPT),
    SectionDef("cgroup_skb/ingress", uapi.BPF_PROG_TYPE_CGROUP_SKB,
               uapi.BPF_CGROUP_INET_INGRESS, ATTACHABLE_OPT),
    SectionDef("cgroup_skb/egress", uapi.BPF_PROG_TYPE_CGROUP_SKB,
               uapi.BPF_CGROUP_INET_EGRESS, ATTACHABLE_OPT),
    SectionDef("cgroup/skb", uapi.BPF_PROG_TYPE_CGROUP_SKB),
    SectionDef("cgroup/sock_create", uapi.BPF_PROG_TYPE_CGROUP_SOCK,
               uapi.BPF_CGROUP_INET_SOCK_CREATE, ATTACHABLE),
    SectionDef("cgroup/sock_release", uapi.BPF_PROG_TYPE_CGROUP_SOCK,
               uapi.BPF_CGROUP_INET_SOCK_RELEASE, ATTACHABLE),
    SectionDef("cgroup/sock", uapi.BPF_PROG_TYPE_CGROUP_SOCK,
               uapi.BPF_CGROUP_INET_SOCK_CREATE, ATTACHABLE_OPT),
    SectionDef("cgroup/post_bind4", uapi.BPF_PROG_TYPE_CGROUP_SOCK,
               uapi.BPF_CGROUP_INET4_POST_BIND, ATTACHABLE),
    SectionDef("cgroup/post_bind6", uapi.BPF_PROG_TYPE_CGROUP_SOCK,
               uapi.BPF_CGROUP_INET6_POST_BIND, ATTACHABLE),
    SectionDef("cgroup/bind4", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET4_BIND, ATTACHABLE),
    SectionDef("cgroup/bind6", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET6_BIND, ATTACHABLE),
    SectionDef("cgroup/connect4", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET4_CONNECT, ATTACHABLE),
    SectionDef("cgroup/connect6", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET6_CONNECT, ATTACHABLE),
    SectionDef("cgroup/connect_unix", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UNIX_CONNECT, ATTACHABLE),
    SectionDef("cgroup/sendmsg4", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UDP4_SENDMSG, ATTACHABLE),
    SectionDef("cgroup/sendmsg6", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UDP6_SENDMSG, ATTACHABLE),
    SectionDef("cgroup/sendmsg_unix", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UNIX_SENDMSG, ATTACHABLE),
    SectionDef("cgroup/recvmsg4", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UDP4_RECVMSG, ATTACHABLE),
    SectionDef("cgroup/recvmsg6", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UDP6_RECVMSG, ATTACHABLE),
    SectionDef("cgroup/recvmsg_unix", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UNIX_RECVMSG, ATTACHABLE),
    SectionDef("cgroup/getpeername4", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET4_GETPEERNAME, ATTACHABLE),
    SectionDef("cgroup/getpeername6", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET6_GETPEERNAME, ATTACHABLE),
    SectionDef("cgroup/getpeername_unix", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UNIX_GETPEERNAME, ATTACHABLE),
    SectionDef("cgroup/getsockname4", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET4_GETSOCKNAME, ATTACHABLE),
    SectionDef("cgroup/getsockname6", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_INET6_GETSOCKNAME, ATTACHABLE),
    SectionDef("cgroup/getsockname_unix", uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
               uapi.BPF_CGROUP_UNIX_GETSOCKNAME, ATTACHABLE),
    SectionDef("cgroup/sysctl", uapi.BPF_PROG_TYPE_CGROUP_SYSCTL,
               uapi.BPF_CGROUP_SYSCTL, ATTACHABLE),
    SectionDef("cgroup/getsockopt", uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT,
               uapi.BPF_CGROUP_GETSOCKOPT, ATTACHABLE),
    SectionDef("cgroup/setsockopt", uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT,
               uapi.BPF_CGROUP_SETSOCKOPT, ATTACHABLE),
    SectionDef("cgroup/dev", uapi.BPF_PROG_TYPE_CGROUP_DEVICE,
               uapi.BPF_CGROUP_DEVICE, ATTACHABLE_OPT),
    SectionDef("struct_ops+", uapi.BPF_PROG_TYPE_STRUCT_OPS, 0, attach="struct_ops"),
    SectionDef("struct_ops.s+", uapi.BPF_PROG_TYPE_STRUCT_OPS, 0, SLEEPABLE, attach="struct_ops"),
    SectionDef("sk_lookup", uapi.BPF_PROG_TYPE_SK_LOOKUP, uapi.BPF_SK_LOOKUP, ATTACHABLE),
    SectionDef("netfilter", uapi.BPF_PROG_TYPE_NETFILTER, uapi.BPF_NETFILTER),
)

_BY_NAME: dict[str, SectionDef] = {s.name: s for s in SECTIONS}


def find(sec_name: str) -> SectionDef | None:
    """The rule for section `sec_name` (without a leading `?`), or None if no rule knows it."""
    exact = _BY_NAME.get(sec_name)
    if exact is not None:
        return exact
    head, slash, _ = sec_name.partition("/")
    rule = _BY_NAME.get(head)
    return rule if slash and rule is not None and rule.matches(sec_name) else None
