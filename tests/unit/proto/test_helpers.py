"""Rows of helpers: a few that everybody knows, and the ones that vary."""

from __future__ import annotations

from anybpf import uapi
from anybpf.proto import helpers, kinds
from anybpf.proto.helpers import Does


def test_map_lookup_elem() -> None:
    row = helpers.BY_ID[uapi.BPF_FUNC_map_lookup_elem]
    assert row.symbol == "bpf_map_lookup_elem"
    assert [a.kind for a in row.args] == [kinds.ARG_CONST_MAP_PTR, kinds.ARG_PTR_TO_MAP_KEY]
    assert row.ret == kinds.RET_PTR_TO_MAP_VALUE_OR_NULL
    assert not row.gpl


def test_trace_printk_reads_what_follows_its_arguments() -> None:
    row = helpers.BY_NAME["trace_printk"]
    assert row.varargs
    assert row.gpl
    assert [h.name for h in helpers.HELPERS if h.varargs] == ["trace_printk"]


def test_helpers_that_change_the_packet() -> None:
    changing = {h.name for h in helpers.HELPERS if h.does & Does.CHANGES_PACKET}
    assert {"xdp_adjust_head", "skb_pull_data", "skb_vlan_push"} <= changing
    assert not {"xdp_store_bytes", "skb_load_bytes", "skb_change_type", "tail_call"} & changing


def test_what_is_acquired_can_be_released() -> None:
    acquiring = {h.name for h in helpers.HELPERS if h.does & Does.ACQUIRES}
    releasing = {h.name for h in helpers.HELPERS if h.does & Does.RELEASES}
    assert {"sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp", "ringbuf_reserve"} <= acquiring
    for name in releasing:
        assert any(a.kind & kinds.OBJ_RELEASE for a in helpers.BY_NAME[name].args), name


def test_callbacks_take_a_function() -> None:
    for row in helpers.HELPERS:
        takes = any(kinds.base(a.kind) == kinds.ARG_PTR_TO_FUNC for a in row.args)
        assert takes == bool(row.does & (Does.CALLBACK | Does.ASYNC_CALLBACK)), row.name


def test_a_variant_is_chosen_by_program_type() -> None:
    number = uapi.BPF_FUNC_get_cgroup_classid
    assert helpers.proto_for(number, uapi.BPF_PROG_TYPE_XDP).args == ()
    assert helpers.proto_for(number, uapi.BPF_PROG_TYPE_SCHED_CLS).args == (helpers.CTX,)


def test_a_variant_is_chosen_by_attach_type() -> None:
    number, kprobe = uapi.BPF_FUNC_get_func_ip, uapi.BPF_PROG_TYPE_KPROBE
    assert helpers.proto_for(number, kprobe).gpl
    assert not helpers.proto_for(number, kprobe, uapi.BPF_TRACE_KPROBE_MULTI).gpl


def test_flags_of_a_kind() -> None:
    kind = kinds.ARG_PTR_TO_UNINIT_MEM
    assert kinds.base(kind) == kinds.ARG_PTR_TO_MEM
    assert kinds.flags(kind) == kinds.MEM_UNINIT | kinds.MEM_WRITE
