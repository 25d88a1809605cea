"""Who may call which helper."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.proto import access, helpers
from anybpf.proto.access import CAP_BPF

XDP = uapi.BPF_PROG_TYPE_XDP
TC = uapi.BPF_PROG_TYPE_SCHED_CLS


@pytest.mark.parametrize(("name", "prog_type", "may"), [
    ("xdp_adjust_head", XDP, True),
    ("xdp_adjust_head", TC, False),
    ("skb_vlan_push", TC, True),
    ("skb_vlan_push", uapi.BPF_PROG_TYPE_SOCKET_FILTER, False),
    ("map_lookup_elem", uapi.BPF_PROG_TYPE_NETFILTER, True),
    ("rc_keydown", uapi.BPF_PROG_TYPE_LIRC_MODE2, True),
    ("ringbuf_output", uapi.BPF_PROG_TYPE_LIRC_MODE2, False),
    ("map_lookup_elem", uapi.BPF_PROG_TYPE_UNSPEC, False),
])
def test_by_program_type(name: str, prog_type: int, may: bool) -> None:
    assert (access.helper(helpers.BY_NAME[name].id, prog_type) is not None) == may


def test_by_attach_type() -> None:
    kind = uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR
    assert access.helper(uapi.BPF_FUNC_bind, kind, uapi.BPF_CGROUP_INET4_CONNECT)
    assert access.helper(uapi.BPF_FUNC_bind, kind, uapi.BPF_CGROUP_INET4_BIND) is None


def test_by_capability() -> None:
    assert access.helper(uapi.BPF_FUNC_trace_printk, XDP)
    assert access.helper(uapi.BPF_FUNC_trace_printk, XDP, caps=CAP_BPF) is None
    assert access.helper(uapi.BPF_FUNC_loop, XDP, caps=CAP_BPF)
    assert access.helper(uapi.BPF_FUNC_loop, XDP, caps=0) is None


def test_by_target() -> None:
    number, lsm = uapi.BPF_FUNC_setsockopt, uapi.BPF_PROG_TYPE_LSM
    attach = uapi.BPF_LSM_CGROUP
    assert access.helper(number, lsm, attach, target="bpf_lsm_socket_post_create")
    assert access.helper(number, lsm, attach, target="bpf_lsm_file_open") is None


def test_the_answer_is_the_variant() -> None:
    number = uapi.BPF_FUNC_sk_assign
    tc, lookup = access.helper(number, TC), access.helper(number, uapi.BPF_PROG_TYPE_SK_LOOKUP)
    assert tc
    assert lookup
    assert tc.args[1] == helpers.SK
    assert lookup.args[1] == helpers.SOCKET_OR_NULL


def test_callers() -> None:
    assert access.callers(uapi.BPF_FUNC_redirect_map) == (XDP,)
    assert access.callers(10_000) == ()
