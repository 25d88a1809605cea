"""Section names, as libbpf reads them."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable

import pytest

from anybpf import uapi
from anybpf.proto import sections


@pytest.mark.parametrize(("name", "pattern", "extras"), [
    ("xdp", "xdp", ""),
    ("xdp/devmap", "xdp/devmap", ""),
    ("xdp.frags/cpumap", "xdp.frags/cpumap", ""),
    ("kprobe", "kprobe+", ""),
    ("kprobe/do_unlinkat", "kprobe+", "do_unlinkat"),
    ("kprobe.multi/tcp_*", "kprobe.multi+", "tcp_*"),
    ("uprobe.multi.s//bin/sh:main", "uprobe.multi.s+", "/bin/sh:main"),
    ("tp/sched/sched_switch", "tp+", "sched/sched_switch"),
    ("iter.s/bpf_map_elem", "iter.s+", "bpf_map_elem"),
    ("lsm_cgroup/socket_bind", "lsm_cgroup+", "socket_bind"),
    ("struct_ops/init", "struct_ops+", "init"),
    ("usdt//usr/lib/libc.so:libc:setjmp", "usdt+", "/usr/lib/libc.so:libc:setjmp"),
    ("tcx/ingress", "tcx/ingress", ""),
    ("netkit/peer", "netkit/peer", ""),
    ("cgroup/sendmsg_unix", "cgroup/sendmsg_unix", ""),
])
def test_found(name: str, pattern: str, extras: str) -> None:
    rule = sections.find(name)
    assert rule
    assert rule.pattern == pattern
    assert rule.extras(name) == extras


@pytest.mark.parametrize("name", [
    "", "xdp_filter", "xdp/other", "kprobex", "?xdp", "socket1", "cgroup/dev/x", "+", "kprobe+",
    "tracepoint_x/y", "maps", ".text"])
def test_not_found(name: str) -> None:
    assert sections.find(name) is None


def test_flags_become_program_flags() -> None:
    assert sections.SectionDef("x", 1).prog_flags == 0
    frags, sleep = sections.find("xdp.frags"), sections.find("lsm.s/file_open")
    assert frags
    assert sleep
    assert frags.prog_flags == uapi.BPF_F_XDP_HAS_FRAGS
    assert sleep.prog_flags == uapi.BPF_F_SLEEPABLE


Ask = Callable[[str], tuple[int, int] | None]


@pytest.fixture
def libbpf() -> Ask:
    """libbpf_prog_type_by_name(): program and attach type of a section, or None."""
    path = ctypes.util.find_library("bpf")
    if path is None:
        pytest.skip("libbpf is not installed")
    library = ctypes.CDLL(path)
    library.libbpf_set_print(None)

    def ask(name: str) -> tuple[int, int] | None:
        prog_type, attach_type = ctypes.c_int(), ctypes.c_int()
        failed = library.libbpf_prog_type_by_name(
            name.encode(), ctypes.byref(prog_type), ctypes.byref(attach_type))
        return None if failed else (prog_type.value, attach_type.value)

    return ask


def test_the_same_as_libbpf(libbpf: Ask) -> None:
    compared = 0
    for row in sections.SECTIONS:
        if libbpf(row.name) is None:
            continue  # newer than the libbpf that is installed
        compared += 1
        for name in (row.name, f"{row.name}/", f"{row.name}/x/y", f"{row.name}x"):
            rule = sections.find(name)
            mine = rule and (rule.prog_type, rule.expected_attach_type)
            assert mine == libbpf(name), name
    assert compared > 50
