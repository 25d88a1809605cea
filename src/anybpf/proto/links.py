"""Link types: what BPF_LINK_CREATE and its relatives return (kernel/bpf/syscall.c)."""

from __future__ import annotations

from typing import NamedTuple

from anybpf import uapi


class Link(NamedTuple):
    """A kind of link."""

    type: int
    name: str
    """As bpftool prints it, such as `"raw_tracepoint"`."""
    since: str
    """The first kernel version that shows it."""
    updates: bool = False
    """BPF_LINK_UPDATE may put another program in its place."""
    detaches: bool = False
    """BPF_LINK_DETACH takes the program away and leaves the link."""


LINKS: tuple[Link, ...] = (
    Link(uapi.BPF_LINK_TYPE_RAW_TRACEPOINT, "raw_tracepoint", "5.8"),
    Link(uapi.BPF_LINK_TYPE_TRACING, "tracing", "5.8"),
    Link(uapi.BPF_LINK_TYPE_CGROUP, "cgroup", "5.8", updates=True, detaches=True),
    Link(uapi.BPF_LINK_TYPE_ITER, "iter", "5.8", updates=True),
    Link(uapi.BPF_LINK_TYPE_NETNS, "netns", "5.8", updates=True, detaches=True),
    Link(uapi.BPF_LINK_TYPE_XDP, "xdp", "5.9", updates=True, detaches=True),
    Link(uapi.BPF_LINK_TYPE_PERF_EVENT, "perf_event", "5.15"),
    Link(uapi.BPF_LINK_TYPE_KPROBE_MULTI, "kprobe_multi", "5.18"),
    Link(uapi.BPF_LINK_TYPE_STRUCT_OPS, "struct_ops", "6.4", updates=True, detaches=True),
    Link(uapi.BPF_LINK_TYPE_NETFILTER, "netfilter", "6.4", detaches=True),
    Link(uapi.BPF_LINK_TYPE_TCX, "tcx", "6.6", updates=True, detaches=True),
    Link(uapi.BPF_LINK_TYPE_UPROBE_MULTI, "uprobe_multi", "6.6"),
    Link(uapi.BPF_LINK_TYPE_NETKIT, "netkit", "6.7", updates=True, detaches=True),
    Link(uapi.BPF_LINK_TYPE_SOCKMAP, "sockmap", "6.10", updates=True),
)

BY_TYPE: dict[int, Link] = {x.type: x for x in LINKS}
BY_NAME: dict[str, Link] = {x.name: x for x in LINKS}
