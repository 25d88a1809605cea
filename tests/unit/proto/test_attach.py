"""Attach types: names in both spellings, programs, links."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.proto import attach


@pytest.mark.parametrize(("name", "number"), [
    ("cgroup_inet4_bind", uapi.BPF_CGROUP_INET4_BIND), ("bind4", uapi.BPF_CGROUP_INET4_BIND),
    ("ingress", uapi.BPF_CGROUP_INET_INGRESS), ("sendmsg_unix", uapi.BPF_CGROUP_UNIX_SENDMSG),
    ("xdp", uapi.BPF_XDP), ("tcx_ingress", uapi.BPF_TCX_INGRESS)])
def test_by_name(name: str, number: int) -> None:
    assert attach.BY_NAME[name].type == number


def test_programs() -> None:
    row = attach.BY_TYPE[uapi.BPF_PERF_EVENT]
    assert row.prog_types == (uapi.BPF_PROG_TYPE_PERF_EVENT, uapi.BPF_PROG_TYPE_KPROBE,
                              uapi.BPF_PROG_TYPE_TRACEPOINT)


def test_of_prog() -> None:
    names = [a.name for a in attach.of_prog(uapi.BPF_PROG_TYPE_XDP)]
    assert names == ["xdp_devmap", "xdp_cpumap", "xdp"]
    assert attach.of_prog(uapi.BPF_PROG_TYPE_UNSPEC) == ()


@pytest.mark.parametrize(("name", "link"), [
    ("cgroup_device", "cgroup"), ("xdp", "xdp"), ("xdp_devmap", ""), ("netkit_peer", "netkit"),
    ("trace_fentry", "tracing"), ("trace_iter", "iter"), ("sk_msg_verdict", "sockmap"),
    ("lirc_mode2", "")])
def test_links(name: str, link: str) -> None:
    assert attach.BY_NAME[name].link == link
