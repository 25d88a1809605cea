"""Which program type may call which helper (the get_func_proto() of each struct bpf_verifier_ops).

A `Grant` is a group of helpers with the capability that calling them takes; `GRANTS` lists the
groups of each program type. `helper()` is the question the verifier asks.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from anybpf import uapi
from anybpf.proto import helpers, hooks, struct_ops
from anybpf.proto.helpers import Helper

# bits of what a loader may hold: CAP_BPF, CAP_PERFMON, more than both, and what may end the system
CAP_BPF = 1
CAP_PERFMON = 2
CAP_SYS_ADMIN = 4
CAP_SYS_BOOT = 8
ALL_CAPS = CAP_BPF | CAP_PERFMON | CAP_SYS_ADMIN | CAP_SYS_BOOT


class Grant(NamedTuple):
    """Helpers that a program type may call, under conditions."""

    names: tuple[str, ...]
    needs: int = 0
    """`CAP_*` bits that the loader must hold, all of them."""
    attach: tuple[int, ...] = ()
    """Only under one of these expected attach types; empty: under any."""
    config: str = ""
    """The kernel option without which the helpers are absent."""
    targets: tuple[str, ...] = ()
    """Only in programs attached to one of these functions; empty: to any."""


def _grant(names: str, needs: int = 0, attach: tuple[int, ...] = (), config: str = "") -> Grant:
    return Grant(tuple(names.split()), needs, attach, config)


_ANYONE = _grant("""
    map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem
    map_lookup_percpu_elem get_prandom_u32 get_smp_processor_id get_numa_node_id tail_call
    ktime_get_ns ktime_get_boot_ns ktime_get_tai_ns ringbuf_output ringbuf_reserve ringbuf_submit
    ringbuf_discard ringbuf_query strncmp strtol strtoul get_current_pid_tgid
    get_ns_current_pid_tgid get_current_uid_gid""")
_WITH_BPF = _grant("""
    spin_lock spin_unlock jiffies64 per_cpu_ptr this_cpu_ptr timer_init timer_set_callback
    timer_start timer_cancel kptr_xchg for_each_map_elem loop user_ringbuf_drain
    ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_from_mem dynptr_read
    dynptr_write dynptr_data task_storage_get task_storage_delete cgrp_storage_get
    cgrp_storage_delete get_current_cgroup_id get_current_ancestor_cgroup_id get_cgroup_classid
    current_task_under_cgroup""", CAP_BPF)
_WITH_PERFMON = _grant("""
    trace_printk trace_vprintk get_current_task get_current_task_btf get_current_comm
    probe_read_user probe_read_kernel probe_read_user_str probe_read_kernel_str snprintf
    snprintf_btf task_pt_regs perf_event_read perf_event_read_value send_signal send_signal_thread
    get_task_stack copy_from_user copy_from_user_task get_branch_snapshot find_vma""",
    CAP_BPF | CAP_PERFMON)
_BASE = (_ANYONE, _WITH_BPF, _WITH_PERFMON)

_SKC_NAMES = """
    skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock skc_to_tcp_request_sock
    skc_to_udp6_sock skc_to_unix_sock skc_to_mptcp_sock"""
_SKC = _grant(_SKC_NAMES, CAP_PERFMON)
_COARSE = _grant("ktime_get_coarse_ns")
# what every networking type has on top of the base
_SK_BASE = (*_BASE, _COARSE, _SKC)
_EVENTS = _grant("perf_event_output")
_SK_LOOKUPS = _grant("sk_lookup_tcp sk_lookup_udp sk_release skc_lookup_tcp")
_SK_STORAGE = _grant("sk_storage_get sk_storage_delete")
_SK_FILTER = _grant("""
    skb_load_bytes skb_load_bytes_relative get_socket_cookie get_socket_uid perf_event_output
    get_netns_cookie""")
_LOCAL_STORAGE = _grant("get_local_storage")
_TUNNEL = _grant("skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt")
_RAW_SYNCOOKIE = _grant("""
    tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4
    tcp_raw_check_syncookie_ipv6""")

_SCHED = (*_SK_BASE, _SK_FILTER, _TUNNEL, _RAW_SYNCOOKIE, _SK_LOOKUPS, _SK_STORAGE, _grant("""
    skb_store_bytes skb_pull_data csum_diff csum_update csum_level l3_csum_replace l4_csum_replace
    clone_redirect skb_vlan_push skb_vlan_pop skb_change_proto skb_change_type skb_adjust_room
    skb_change_tail skb_change_head redirect redirect_neigh redirect_peer get_route_realm
    get_hash_recalc set_hash_invalid set_hash skb_under_cgroup skb_get_xfrm_state
    skb_cgroup_classid skb_cgroup_id skb_ancestor_cgroup_id fib_lookup check_mtu sk_fullsock
    tcp_sock get_listener_sock tcp_check_syncookie tcp_gen_syncookie skb_ecn_set_ce sk_assign
    skb_set_tstamp"""))
_LWT = (*_SK_BASE, _EVENTS, _grant("""
    get_route_realm skb_load_bytes csum_diff skb_under_cgroup get_hash_recalc skb_pull_data"""))

_TRACE = (*_BASE, _grant("probe_read probe_read_str get_func_ip"),
          _grant("probe_write_user", CAP_SYS_ADMIN, config="!CONFIG_LOCK_DOWN_KERNEL_FORCE"))
_STACKS = _grant("perf_event_output get_stackid get_stack")
_COOKIE = _grant("get_attach_cookie")
_OVERRIDE = _grant("override_return", config="CONFIG_BPF_KPROBE_OVERRIDE")
_ITER = (uapi.BPF_TRACE_ITER,)
_TRACING = (*_TRACE, _STACKS, _SK_STORAGE, _grant(_SKC_NAMES), _grant("""
    skb_output xdp_output sock_from_file get_socket_cookie xdp_get_buff_len d_path"""))
_SEQ = _grant("seq_printf seq_write seq_printf_btf", attach=_ITER)
_LSM_CGROUP = (uapi.BPF_LSM_CGROUP,)
_CGROUP_RETVAL = _grant("get_retval set_retval")

_CONNECT_INET = (uapi.BPF_CGROUP_INET4_CONNECT, uapi.BPF_CGROUP_INET6_CONNECT)
# the hooks whose error code a program may set
_SOCK_ADDR_RETVAL = (
    uapi.BPF_CGROUP_INET4_BIND, uapi.BPF_CGROUP_INET6_BIND, *_CONNECT_INET,
    uapi.BPF_CGROUP_UNIX_CONNECT, uapi.BPF_CGROUP_UDP4_SENDMSG, uapi.BPF_CGROUP_UDP6_SENDMSG,
    uapi.BPF_CGROUP_UNIX_SENDMSG)

# release() may not set options
_CONGESTION = ("tcp_congestion_ops", "tcp_congestion_ops.release")

GRANTS: dict[int, tuple[Grant, ...]] = {
    uapi.BPF_PROG_TYPE_SOCKET_FILTER: (*_SK_BASE, _SK_FILTER),
    uapi.BPF_PROG_TYPE_SCHED_CLS: _SCHED,
    uapi.BPF_PROG_TYPE_SCHED_ACT: _SCHED,
    uapi.BPF_PROG_TYPE_XDP: (*_SK_BASE, _EVENTS, _SK_LOOKUPS, _RAW_SYNCOOKIE, _grant("""
        csum_diff xdp_adjust_head xdp_adjust_meta xdp_adjust_tail redirect redirect_map fib_lookup
        check_mtu tcp_check_syncookie tcp_gen_syncookie xdp_get_buff_len xdp_load_bytes
        xdp_store_bytes""")),
    uapi.BPF_PROG_TYPE_CGROUP_SKB: (
        *_SK_BASE, _SK_FILTER, _LOCAL_STORAGE, _SK_LOOKUPS, _SK_STORAGE, _grant("""
        sk_fullsock tcp_sock get_listener_sock skb_ecn_set_ce skb_cgroup_id
        skb_ancestor_cgroup_id sk_cgroup_id sk_ancestor_cgroup_id""")),
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: (
        *_BASE, _COARSE, _EVENTS, _LOCAL_STORAGE, _CGROUP_RETVAL,
        _grant("get_socket_cookie get_netns_cookie sk_storage_get")),
    uapi.BPF_PROG_TYPE_LWT_IN: (*_LWT, _grant("lwt_push_encap")),
    uapi.BPF_PROG_TYPE_LWT_OUT: _LWT,
    uapi.BPF_PROG_TYPE_LWT_XMIT: (*_LWT, _TUNNEL, _grant("""
        lwt_push_encap redirect clone_redirect skb_change_tail skb_change_head skb_store_bytes
        csum_update csum_level l3_csum_replace l4_csum_replace set_hash_invalid""")),
    uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL: (
        *_LWT, _grant("lwt_seg6_store_bytes lwt_seg6_action lwt_seg6_adjust_srh")),
    uapi.BPF_PROG_TYPE_SOCK_OPS: (*_SK_BASE, _EVENTS, _LOCAL_STORAGE, _SK_STORAGE, _grant("""
        setsockopt getsockopt sock_ops_cb_flags_set sock_map_update sock_hash_update
        get_socket_cookie get_netns_cookie load_hdr_opt store_hdr_opt reserve_hdr_opt tcp_sock""")),
    uapi.BPF_PROG_TYPE_SK_SKB: (*_SK_BASE, _EVENTS, _SK_LOOKUPS, _grant("""
        skb_store_bytes skb_load_bytes skb_pull_data skb_change_tail skb_change_head
        skb_adjust_room get_socket_cookie get_socket_uid sk_redirect_map sk_redirect_hash""")),
    uapi.BPF_PROG_TYPE_SK_MSG: (*_SK_BASE, _EVENTS, _SK_STORAGE, _grant("""
        msg_redirect_map msg_redirect_hash msg_apply_bytes msg_cork_bytes msg_pull_data
        msg_push_data msg_pop_data get_netns_cookie""")),
    # these two may be loaded for no attach type, which is the number of one without error codes
    uapi.BPF_PROG_TYPE_CGROUP_DEVICE: (
        *_BASE, _EVENTS, _LOCAL_STORAGE, _CGROUP_RETVAL._replace(attach=(uapi.BPF_CGROUP_DEVICE,))),
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: (
        *_SK_BASE, _EVENTS, _LOCAL_STORAGE, _SK_LOOKUPS, _SK_STORAGE,
        _grant("get_socket_cookie get_netns_cookie setsockopt getsockopt"),
        _grant("bind", attach=_CONNECT_INET),
        _CGROUP_RETVAL._replace(attach=_SOCK_ADDR_RETVAL)),
    uapi.BPF_PROG_TYPE_SK_REUSEPORT: (*_BASE, _COARSE, _grant("""
        sk_select_reuseport skb_load_bytes skb_load_bytes_relative get_socket_cookie""")),
    uapi.BPF_PROG_TYPE_FLOW_DISSECTOR: (*_SK_BASE, _grant("skb_load_bytes")),
    uapi.BPF_PROG_TYPE_CGROUP_SYSCTL: (*_BASE, _COARSE, _EVENTS, _LOCAL_STORAGE, _grant("""
        sysctl_get_name sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value"""),
        _CGROUP_RETVAL._replace(attach=(uapi.BPF_CGROUP_SYSCTL,))),
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: (
        *_BASE, _EVENTS, _LOCAL_STORAGE, _SK_STORAGE, _CGROUP_RETVAL,
        _grant("get_netns_cookie tcp_sock"),
        _grant("setsockopt getsockopt", attach=(uapi.BPF_CGROUP_SETSOCKOPT,))),
    uapi.BPF_PROG_TYPE_SK_LOOKUP: (*_SK_BASE, _grant("perf_event_output sk_assign sk_release")),
    uapi.BPF_PROG_TYPE_NETFILTER: _BASE,
    uapi.BPF_PROG_TYPE_LIRC_MODE2: (
        _grant("""
        rc_repeat rc_keydown rc_pointer_rel map_lookup_elem map_update_elem map_delete_elem
        map_push_elem map_pop_elem map_peek_elem ktime_get_ns ktime_get_boot_ns tail_call
        get_prandom_u32""", config="CONFIG_BPF_LIRC_MODE2"),
        _grant("trace_printk", CAP_PERFMON, config="CONFIG_BPF_LIRC_MODE2")),
    uapi.BPF_PROG_TYPE_KPROBE: (*_TRACE, _STACKS, _COOKIE, _OVERRIDE),
    uapi.BPF_PROG_TYPE_TRACEPOINT: (*_TRACE, _STACKS, _COOKIE),
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: (*_TRACE, _STACKS, _COOKIE),
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: (*_TRACE, _STACKS, _COOKIE),
    uapi.BPF_PROG_TYPE_PERF_EVENT: (
        *_TRACE, _STACKS, _COOKIE, _grant("perf_prog_read_value read_branch_records")),
    uapi.BPF_PROG_TYPE_SYSCALL: (
        *_TRACING, _grant("btf_find_by_name_kind sys_close kallsyms_lookup_name"),
        _grant("sys_bpf", CAP_PERFMON)),
    uapi.BPF_PROG_TYPE_TRACING: (
        *_TRACING, _SEQ,
        _grant("setsockopt getsockopt", attach=_ITER)._replace(
            targets=("bpf_iter_tcp", "bpf_iter_unix")),
        _grant("get_func_arg get_func_ret get_func_arg_cnt", attach=hooks.TRAMPOLINES),
        _COOKIE._replace(attach=(*hooks.TRAMPOLINES, uapi.BPF_TRACE_RAW_TP))),
    uapi.BPF_PROG_TYPE_LSM: (
        *_TRACING, _SEQ, _grant("""
        inode_storage_get inode_storage_delete bprm_opts_set ima_inode_hash ima_file_hash"""),
        _grant("get_attach_cookie get_func_arg get_func_ret get_func_arg_cnt",
               attach=(uapi.BPF_LSM_MAC,)),
        _grant("get_local_storage get_retval set_retval", attach=_LSM_CGROUP),
        _grant("setsockopt getsockopt", attach=_LSM_CGROUP)._replace(
            targets=tuple(hooks.WITH_SOCKET))),
    # struct bpf_dummy_ops has no helpers at all
    uapi.BPF_PROG_TYPE_STRUCT_OPS: (
        *(grant._replace(targets=(*_CONGESTION, "sched_ext_ops", "Qdisc_ops", "hid_bpf_ops",
                                 struct_ops.BASE))
          for grant in _BASE),
        *(grant._replace(targets=_CONGESTION)
          for grant in (_COARSE, _SK_STORAGE, _grant("tcp_send_ack"))),
        _grant("setsockopt getsockopt")._replace(targets=_CONGESTION[:1])),
    # an extension has the helpers of the program that it replaces a function of
    uapi.BPF_PROG_TYPE_EXT: (),
}


@cache
def _by_helper(prog_type: int) -> dict[int, tuple[Grant, ...]]:
    """The grants of `prog_type` that name each helper id."""
    found: dict[int, tuple[Grant, ...]] = {}
    for grant in GRANTS.get(prog_type, ()):
        for name in grant.names:
            number = helpers.BY_NAME[name].id
            found[number] = (*found.get(number, ()), grant)
    return found


def grant(number: int, prog_type: int, attach_type: int = 0, caps: int = ALL_CAPS,
          target: str = "") -> Grant | None:
    """What allows a program of this type to call helper `number`, or None: it may not."""
    return next((g for g in _by_helper(prog_type).get(number, ())
                 if (not g.attach or attach_type in g.attach) and g.needs & caps == g.needs
                 and (not g.targets or target in g.targets)), None)


def helper(number: int, prog_type: int, attach_type: int = 0, caps: int = ALL_CAPS,
           target: str = "") -> Helper | None:
    """Helper `number` as a program of this type calls it, or None: it may not."""
    if grant(number, prog_type, attach_type, caps, target) is None:
        return None
    return helpers.proto_for(number, prog_type, attach_type)


def callers(number: int) -> tuple[int, ...]:
    """The program types that may call helper `number` under some attach type."""
    return tuple(t for t in GRANTS if number in _by_helper(t))
