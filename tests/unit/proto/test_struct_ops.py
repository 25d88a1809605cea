"""Rows of structs of functions: their members, targets and filters."""

from __future__ import annotations

from anybpf import uapi
from anybpf.proto import access, helpers, kfuncs, struct_ops

TCP, QDISC = struct_ops.BY_NAME["tcp_congestion_ops"], struct_ops.BY_NAME["Qdisc_ops"]
TYPE = uapi.BPF_PROG_TYPE_STRUCT_OPS


def may_call(name: str, target: str) -> bool:
    return access.helper(helpers.BY_NAME[name].id, TYPE, target=target) is not None


def test_rows_speak_of_their_members() -> None:
    for ops in struct_ops.STRUCT_OPS:
        assert ops.sleepable is None or ops.sleepable <= ops.members
        assert {*ops.epilogues, *ops.own_helpers, *(m for m, _ in ops.typed)} <= ops.members


def test_options_are_not_set_at_the_end() -> None:
    assert may_call("setsockopt", TCP.target("init"))
    assert not may_call("setsockopt", TCP.target("release"))
    assert may_call("tcp_send_ack", TCP.target("release"))
    assert not may_call("tcp_send_ack", QDISC.target("reset"))
    assert not may_call("ktime_get_ns", "bpf_dummy_ops")


def test_filters_are_for_functions_of_their_sets() -> None:
    for name, found in struct_ops.FILTERS.items():
        assert found.ops in struct_ops.BY_NAME
        assert all(name in (s.name for s in kfuncs.BY_NAME[kfunc].sets) for kfunc in found.members)


def test_only_where_packets_come_in_are_they_dropped() -> None:
    row = kfuncs.BY_NAME["bpf_qdisc_skb_drop"]
    assert row.callable_from(TYPE, hook=("Qdisc_ops", "enqueue"))
    assert not row.callable_from(TYPE, hook=("Qdisc_ops", "dequeue"))
    assert not row.callable_from(TYPE, hook=("sched_ext_ops", "enqueue"))
    assert not row.callable_from(TYPE)
