"""Program types: return ranges, attach types, names that libbpf prints."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest

from anybpf import uapi
from anybpf.proto import attach, links, maps, progs


@pytest.mark.parametrize(("name", "where", "limits"), [
    ("cgroup_skb", uapi.BPF_CGROUP_INET_INGRESS, (0, 1)),
    ("cgroup_skb", uapi.BPF_CGROUP_INET_EGRESS, (0, 3)),
    ("cgroup_sock_addr", uapi.BPF_CGROUP_INET4_BIND, (0, 3)),
    ("cgroup_sock_addr", uapi.BPF_CGROUP_INET4_CONNECT, (0, 1)),
    ("cgroup_sock_addr", uapi.BPF_CGROUP_UDP4_RECVMSG, (1, 1)),
    ("xdp", 0, None),
    ("kprobe", 0, None),
    ("kprobe", uapi.BPF_TRACE_KPROBE_SESSION, (0, 1)),
])
def test_what_may_be_returned(name: str, where: int, limits: tuple[int, int] | None) -> None:
    found = progs.BY_NAME[name].returned(where)
    assert (found and (found.low, found.high)) == limits


def test_attach_types_accepted() -> None:
    assert progs.BY_NAME["xdp"].accepts(12345)
    assert progs.BY_NAME["sk_lookup"].accepts(uapi.BPF_SK_LOOKUP)
    assert not progs.BY_NAME["sk_lookup"].accepts(0)


def test_programs_that_run_in_a_test() -> None:
    assert progs.BY_NAME["xdp"].test_run
    assert not progs.BY_NAME["kprobe"].test_run


NAMES = {
    "libbpf_bpf_prog_type_str": {p.type: p.name for p in progs.PROGS},
    "libbpf_bpf_map_type_str": {m.type: m.name for m in maps.MAPS},
    "libbpf_bpf_attach_type_str": {a.type: a.name for a in attach.ATTACH_TYPES},
    "libbpf_bpf_link_type_str": {x.type: x.name for x in links.LINKS},
}


@pytest.mark.parametrize("function", NAMES)
def test_names_are_those_of_libbpf(function: str) -> None:
    path = ctypes.util.find_library("bpf")
    if path is None:
        pytest.skip("libbpf is not installed")
    name_of = getattr(ctypes.CDLL(path), function)
    name_of.restype = ctypes.c_char_p
    theirs = {n: name_of(n) for n in NAMES[function]}
    known = {n: text.decode() for n, text in theirs.items() if text}
    assert len(known) > 5
    assert known == {n: NAMES[function][n] for n in known}
