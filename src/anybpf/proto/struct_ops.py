"""Structs of functions that programs stand in for (struct bpf_struct_ops, net, kernel/sched, ...).

That a kernel has a struct is told by its types: `bpf_struct_ops_NAME` is there. So are arguments
that may be NULL or that the program must give back: the names of the arguments of the function
`NAME__MEMBER`, in whose place a program is called, end with `__nullable` or `__ref`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from anybpf.proto import writes
from anybpf.proto.writes import Writes

VALUE_PREFIX = "bpf_struct_ops_"
#: the target of programs that have the helpers of all programs (bpf_base_func_proto)
BASE = "struct_ops"


class StructOps(NamedTuple):
    """What the kernel has registered for one struct."""

    name: str
    members: frozenset[str]
    """Those that programs may stand in for."""
    writes: Writes
    sleepable: frozenset[str] | None = None
    """Members whose programs may sleep; None: all of them."""
    promotes: dict[str, str] = {}
    """Arguments that are pointers to these structs are pointers to others in truth."""
    epilogues: tuple[str, ...] = ()
    """Members behind whose programs the kernel runs code of its own, which keeps the context."""
    typed: dict[tuple[str, int], str] = {}
    """Member and argument -> the struct that programs are told it points to, however they load it.
    """
    own_helpers: tuple[str, ...] = ()
    """Members with helpers of their own; they count as targets `NAME.MEMBER`, not `NAME`."""
    base: bool = False
    """Programs have the helpers of all programs; for structs that `access.GRANTS` does not name."""
    private: tuple[str, ...] = ()
    """Members for which a stack of the program's own is asked (priv_stack_requested)."""

    def target(self, member: str) -> str:
        """What `access.Grant.targets` calls programs for the member."""
        if self.base:
            return BASE
        return f"{self.name}.{member}" if member in self.own_helpers else self.name


def _row(name: str, members: str, written: Writes, sleepable: str | None = None,
         **more: Any) -> StructOps:
    return StructOps(name, frozenset(members.split()), written,
                     None if sleepable is None else frozenset(sleepable.split()), **more)


STRUCT_OPS: tuple[StructOps, ...] = (
    _row("bpf_dummy_ops", "test_1 test_2 test_sleepable", writes.DUMMY, "test_sleepable"),
    _row("tcp_congestion_ops", """
        ssthresh cong_avoid set_state cwnd_event in_ack_event pkts_acked min_tso_segs cong_control
        undo_cwnd sndbuf_expand init release""", writes.CONGESTION,
         promotes={"sock": "tcp_sock"}, own_helpers=("release",)),
    _row("sched_ext_ops", """
        select_cpu enqueue dequeue dispatch tick runnable running stopping quiescent yield
        core_sched_before set_weight set_cpumask update_idle cpu_acquire cpu_release init_task
        exit_task enable disable dump dump_cpu dump_task cgroup_init cgroup_exit cgroup_prep_move
        cgroup_move cgroup_cancel_move cgroup_set_weight cgroup_set_bandwidth cpu_online
        cpu_offline init exit""", writes.SCHEDULER,
         "init_task cgroup_init cgroup_exit cgroup_prep_move cpu_online cpu_offline init exit"),
    _row("Qdisc_ops", "enqueue dequeue init reset destroy", writes.QDISC,
         epilogues=("reset", "destroy"), typed={("enqueue", 2): "bpf_sk_buff_ptr"}),
    _row("hid_bpf_ops", "hid_device_event hid_rdesc_fixup hid_hw_request hid_hw_output_report",
         writes.HID, "hid_rdesc_fixup hid_hw_request hid_hw_output_report"),
)
BY_NAME: dict[str, StructOps] = {ops.name: ops for ops in STRUCT_OPS}


class Filter(NamedTuple):
    """Which struct_ops programs may call the kernel functions of a set (btf_kfunc_filter_t)."""

    ops: str
    """Programs for this struct alone."""
    members: dict[str, tuple[str, ...]]
    """Kernel function -> members whose programs may call it; one that is not here: all of them."""

    def passes(self, kfunc: str, ops: str, member: str) -> bool:
        """True if programs for the member may call it."""
        return ops == self.ops and member in self.members.get(kfunc, (member,))


#: set of kernel functions -> who may call them
FILTERS: dict[str, Filter] = {
    # bpf_qdisc_kfunc_filter(); what begins and ends others is for the kernel itself to call
    "qdisc_kfunc_ids": Filter("Qdisc_ops", {
        "bpf_qdisc_skb_drop": ("enqueue",),
        "bpf_qdisc_watchdog_schedule": ("enqueue", "dequeue"),
        "bpf_qdisc_bstats_update": ("dequeue",),
        "bpf_qdisc_init_prologue": (), "bpf_qdisc_reset_destroy_epilogue": ()}),
}
