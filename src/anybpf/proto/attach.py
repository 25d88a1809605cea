"""Attach types: which programs go there, by which kind of link (kernel/bpf/syscall.c)."""

from __future__ import annotations

from typing import NamedTuple

from anybpf import uapi
from anybpf.proto import progs


class Attach(NamedTuple):
    """An attach type."""

    type: int
    """`uapi.BPF_*` of enum bpf_attach_type."""
    name: str
    """As libbpf prints it, such as `"cgroup_inet4_bind"`."""
    since: str
    """The first kernel version that has it."""
    prog_types: tuple[int, ...]
    """The program types that attach there."""
    link: str = ""
    """The link that BPF_LINK_CREATE makes of it; empty: it makes none."""
    short: str = ""
    """What bpftool calls it on its command line, where that differs."""


def _row(name: str, since: str, prog_types: str, link: str = "", short: str = "") -> Attach:
    number: int = getattr(uapi, f"BPF_{name.upper()}")
    types = tuple(progs.BY_NAME[p].type for p in prog_types.split())
    return Attach(number, name, since, types, link, short)


ATTACH_TYPES: tuple[Attach, ...] = (
    _row("cgroup_inet_ingress", "4.10", "cgroup_skb", "cgroup", "ingress"),
    _row("cgroup_inet_egress", "4.10", "cgroup_skb", "cgroup", "egress"),
    _row("cgroup_inet_sock_create", "4.10", "cgroup_sock", "cgroup", "sock_create"),
    _row("cgroup_sock_ops", "4.13", "sock_ops", "cgroup", "sock_ops"),
    _row("sk_skb_stream_parser", "4.14", "sk_skb", "sockmap"),
    _row("sk_skb_stream_verdict", "4.14", "sk_skb", "sockmap"),
    _row("cgroup_device", "4.15", "cgroup_device", "cgroup", "device"),
    _row("sk_msg_verdict", "4.17", "sk_msg", "sockmap"),
    _row("cgroup_inet4_bind", "4.17", "cgroup_sock_addr", "cgroup", "bind4"),
    _row("cgroup_inet6_bind", "4.17", "cgroup_sock_addr", "cgroup", "bind6"),
    _row("cgroup_inet4_connect", "4.17", "cgroup_sock_addr", "cgroup", "connect4"),
    _row("cgroup_inet6_connect", "4.17", "cgroup_sock_addr", "cgroup", "connect6"),
    _row("cgroup_inet4_post_bind", "4.17", "cgroup_sock", "cgroup", "post_bind4"),
    _row("cgroup_inet6_post_bind", "4.17", "cgroup_sock", "cgroup", "post_bind6"),
    _row("cgroup_udp4_sendmsg", "4.18", "cgroup_sock_addr", "cgroup", "sendmsg4"),
    _row("cgroup_udp6_sendmsg", "4.18", "cgroup_sock_addr", "cgroup", "sendmsg6"),
    _row("lirc_mode2", "4.18", "lirc_mode2"),
    _row("flow_dissector", "4.20", "flow_dissector", "netns"),
    _row("cgroup_sysctl", "5.2", "cgroup_sysctl", "cgroup", "sysctl"),
    _row("cgroup_udp4_recvmsg", "5.2", "cgroup_sock_addr", "cgroup", "recvmsg4"),
    _row("cgroup_udp6_recvmsg", "5.2", "cgroup_sock_addr", "cgroup", "recvmsg6"),
    _row("cgroup_getsockopt", "5.3", "cgroup_sockopt", "cgroup", "getsockopt"),
    _row("cgroup_setsockopt", "5.3", "cgroup_sockopt", "cgroup", "setsockopt"),
    _row("trace_raw_tp", "5.5", "tracing", "tracing"),
    _row("trace_fentry", "5.5", "tracing", "tracing"),
    _row("trace_fexit", "5.5", "tracing", "tracing"),
    _row("modify_return", "5.7", "tracing", "tracing"),
    _row("lsm_mac", "5.7", "lsm", "tracing"),
    _row("trace_iter", "5.8", "tracing", "iter"),
    _row("cgroup_inet4_getpeername", "5.8", "cgroup_sock_addr", "cgroup", "getpeername4"),
    _row("cgroup_inet6_getpeername", "5.8", "cgroup_sock_addr", "cgroup", "getpeername6"),
    _row("cgroup_inet4_getsockname", "5.8", "cgroup_sock_addr", "cgroup", "getsockname4"),
    _row("cgroup_inet6_getsockname", "5.8", "cgroup_sock_addr", "cgroup", "getsockname6"),
    _row("xdp_devmap", "5.8", "xdp"),
    _row("cgroup_inet_sock_release", "5.9", "cgroup_sock", "cgroup", "sock_release"),
    _row("xdp_cpumap", "5.9", "xdp"),
    _row("sk_lookup", "5.9", "sk_lookup", "netns"),
    _row("xdp", "5.9", "xdp", "xdp"),
    _row("sk_skb_verdict", "5.13", "sk_skb", "sockmap"),
    _row("sk_reuseport_select", "5.14", "sk_reuseport"),
    _row("sk_reuseport_select_or_migrate", "5.14", "sk_reuseport"),
    _row("perf_event", "5.15", "perf_event kprobe tracepoint", "perf_event"),
    _row("trace_kprobe_multi", "5.18", "kprobe", "kprobe_multi"),
    _row("lsm_cgroup", "6.0", "lsm", "cgroup"),
    _row("struct_ops", "6.4", "struct_ops", "struct_ops"),
    _row("netfilter", "6.4", "netfilter", "netfilter"),
    _row("tcx_ingress", "6.6", "sched_cls", "tcx"),
    _row("tcx_egress", "6.6", "sched_cls", "tcx"),
    _row("trace_uprobe_multi", "6.6", "kprobe", "uprobe_multi"),
    _row("cgroup_unix_connect", "6.7", "cgroup_sock_addr", "cgroup", "connect_unix"),
    _row("cgroup_unix_sendmsg", "6.7", "cgroup_sock_addr", "cgroup", "sendmsg_unix"),
    _row("cgroup_unix_recvmsg", "6.7", "cgroup_sock_addr", "cgroup", "recvmsg_unix"),
    _row("cgroup_unix_getpeername", "6.7", "cgroup_sock_addr", "cgroup", "getpeername_unix"),
    _row("cgroup_unix_getsockname", "6.7", "cgroup_sock_addr", "cgroup", "getsockname_unix"),
    _row("netkit_primary", "6.7", "sched_cls", "netkit"),
    _row("netkit_peer", "6.7", "sched_cls", "netkit"),
    _row("trace_kprobe_session", "6.10", "kprobe", "kprobe_multi"),
    _row("trace_uprobe_session", "6.13", "kprobe", "uprobe_multi"),
)

BY_TYPE: dict[int, Attach] = {a.type: a for a in ATTACH_TYPES}
BY_NAME: dict[str, Attach] = {name: a for a in ATTACH_TYPES for name in (a.name, a.short) if name}


def of_prog(prog_type: int) -> tuple[Attach, ...]:
    """The attach types of programs of `prog_type`."""
    return tuple(a for a in ATTACH_TYPES if prog_type in a.prog_types)
