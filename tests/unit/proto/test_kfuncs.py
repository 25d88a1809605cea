"""Kernel functions: prototype, flags, callers."""

from __future__ import annotations

from anybpf import uapi
from anybpf.proto import kfuncs
from anybpf.proto.kfuncs import KF_ACQUIRE, KF_RCU, KF_RET_NULL


def test_a_prototype() -> None:
    row = kfuncs.BY_NAME["bpf_task_acquire"]
    assert row.ret == "struct task_struct *"
    assert row.args == ("struct task_struct *p",)
    assert row.flags == KF_ACQUIRE | KF_RET_NULL | KF_RCU


def test_no_arguments() -> None:
    assert kfuncs.BY_NAME["bpf_rcu_read_lock"].args == ()


def test_callers() -> None:
    hash_of = kfuncs.BY_NAME["bpf_xdp_metadata_rx_hash"]
    assert hash_of.callable_from(uapi.BPF_PROG_TYPE_XDP)
    assert not hash_of.callable_from(uapi.BPF_PROG_TYPE_SCHED_CLS)
    assert kfuncs.BY_NAME["bpf_dynptr_size"].callable_from(uapi.BPF_PROG_TYPE_NETFILTER)


def test_callers_by_attach_type() -> None:
    row = kfuncs.BY_NAME["bpf_session_is_return"]
    assert row.callable_from(uapi.BPF_PROG_TYPE_KPROBE, uapi.BPF_TRACE_KPROBE_SESSION)
    assert not row.callable_from(uapi.BPF_PROG_TYPE_KPROBE)


def test_what_is_only_attached_to_is_never_called() -> None:
    row = kfuncs.BY_NAME["bpf_fentry_test1"]
    assert not row.sets
    assert not row.callable_from(uapi.BPF_PROG_TYPE_TRACING)
