"""Helpers that a program may call, one row each (kernel/bpf/helpers.c, net/core/filter.c).

A row is the kernel's `struct bpf_func_proto`. Some helpers take other arguments in some program
types; those rows are in `VARIANTS`, and `proto_for()` chooses. Which program type may call which
helper is in `anybpf.proto.access`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from anybpf import uapi
from anybpf.proto.kinds import (
    ARG_ANYTHING,
    ARG_CONST_ALLOC_SIZE_OR_ZERO,
    ARG_CONST_MAP_PTR,
    ARG_CONST_SIZE,
    ARG_CONST_SIZE_OR_ZERO,
    ARG_KPTR_XCHG_DEST,
    ARG_PTR_TO_BTF_ID,
    ARG_PTR_TO_BTF_ID_OR_NULL,
    ARG_PTR_TO_BTF_ID_SOCK_COMMON,
    ARG_PTR_TO_CONST_STR,
    ARG_PTR_TO_CTX,
    ARG_PTR_TO_CTX_OR_NULL,
    ARG_PTR_TO_DYNPTR,
    ARG_PTR_TO_FIXED_SIZE_MEM,
    ARG_PTR_TO_FUNC,
    ARG_PTR_TO_MAP_KEY,
    ARG_PTR_TO_MAP_VALUE,
    ARG_PTR_TO_MAP_VALUE_OR_NULL,
    ARG_PTR_TO_MEM,
    ARG_PTR_TO_PERCPU_BTF_ID,
    ARG_PTR_TO_RINGBUF_MEM,
    ARG_PTR_TO_SOCK_COMMON,
    ARG_PTR_TO_SOCKET_OR_NULL,
    ARG_PTR_TO_SPIN_LOCK,
    ARG_PTR_TO_STACK_OR_NULL,
    ARG_PTR_TO_TIMER,
    ARG_PTR_TO_UNINIT_MEM,
    DYNPTR_TYPE_LOCAL,
    DYNPTR_TYPE_RINGBUF,
    MEM_ALIGNED,
    MEM_RDONLY,
    MEM_UNINIT,
    MEM_WRITE,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
    RET_INTEGER,
    RET_PTR_TO_BTF_ID,
    RET_PTR_TO_BTF_ID_OR_NULL,
    RET_PTR_TO_BTF_ID_TRUSTED,
    RET_PTR_TO_DYNPTR_MEM_OR_NULL,
    RET_PTR_TO_MAP_VALUE,
    RET_PTR_TO_MAP_VALUE_OR_NULL,
    RET_PTR_TO_MEM_OR_BTF_ID,
    RET_PTR_TO_RINGBUF_MEM_OR_NULL,
    RET_PTR_TO_SOCK_COMMON_OR_NULL,
    RET_PTR_TO_SOCKET_OR_NULL,
    RET_PTR_TO_TCP_SOCK_OR_NULL,
    RET_VOID,
)


class Arg(NamedTuple):
    """One argument: its kind, and for fixed-size memory its bytes, for a BTF pointer its struct:
    the name, or the number in the kernel's types."""

    kind: int
    size: int = 0
    btf: str = ""
    btf_id: int = 0


class Does:
    """Effects of a helper beyond its result; bits of `Helper.does`."""

    CHANGES_PACKET: Final = 1  # packet pointers are invalid afterwards
    MIGHT_SLEEP: Final = 2  # only in sleepable programs
    ACQUIRES: Final = 4  # the result is a reference that must be released
    RELEASES: Final = 8  # takes a reference back
    CALLBACK: Final = 16  # calls a function of the program before it returns
    ASYNC_CALLBACK: Final = 32  # has a function of the program called later
    FASTCALL: Final = 64  # keeps r1..r5 (allow_fastcall)
    CASTS: Final = 128  # the result is the argument under another type
    TAIL_CALLS: Final = 256  # comes back only on failure; its caller's caller loses the packet


class Helper(NamedTuple):
    """A helper function: what it takes, gives and does."""

    id: int
    """The number in `BPF_CALL` instructions (`BPF_FUNC_*`)."""
    name: str
    """Without the `bpf_` prefix, as in `BPF_FUNC_<name>`."""
    args: tuple[Arg, ...]
    """What r1, r2, ... must be; at most five."""
    ret: int
    """The kind of r0 afterwards: `kinds.RET_*` with flags."""
    since: str
    """The first kernel version that has it."""
    does: int = 0
    """`Does` bits."""
    gpl: bool = False
    """Only for programs under a GPL-compatible licence."""
    pkt: bool = False
    """Memory arguments may point into the packet (pkt_access)."""
    ret_btf: str = ""
    """The struct that a returned BTF pointer points to."""
    varargs: bool = False
    """Takes what is in the registers after `args`, too (bpf_trace_printk)."""

    @property
    def symbol(self) -> str:
        """The name as the verifier prints it, such as `"bpf_map_lookup_elem"`."""
        return f"bpf_{self.name}"


# the kinds of argument under the short names that the rows use
ANY = Arg(ARG_ANYTHING)
CTX = Arg(ARG_PTR_TO_CTX)
CTX_OR_NULL = Arg(ARG_PTR_TO_CTX_OR_NULL)
MAP = Arg(ARG_CONST_MAP_PTR)
KEY = Arg(ARG_PTR_TO_MAP_KEY)
VALUE = Arg(ARG_PTR_TO_MAP_VALUE)
VALUE_OUT = Arg(ARG_PTR_TO_MAP_VALUE | MEM_UNINIT | MEM_WRITE)
VALUE_OR_NULL = Arg(ARG_PTR_TO_MAP_VALUE_OR_NULL)
MEM = Arg(ARG_PTR_TO_MEM | MEM_RDONLY)
MEM_OR_NULL = Arg(ARG_PTR_TO_MEM | PTR_MAYBE_NULL | MEM_RDONLY)
OUT = Arg(ARG_PTR_TO_UNINIT_MEM)
INOUT = Arg(ARG_PTR_TO_MEM | MEM_WRITE)
INOUT_OR_NULL = Arg(ARG_PTR_TO_MEM | PTR_MAYBE_NULL | MEM_WRITE)
OUT_U64 = Arg(ARG_PTR_TO_FIXED_SIZE_MEM | MEM_UNINIT | MEM_WRITE | MEM_ALIGNED, size=8)
INOUT_U32 = Arg(ARG_PTR_TO_FIXED_SIZE_MEM | MEM_WRITE | MEM_ALIGNED, size=4)
SIZE = Arg(ARG_CONST_SIZE)
SIZE0 = Arg(ARG_CONST_SIZE_OR_ZERO)
ALLOC_SIZE = Arg(ARG_CONST_ALLOC_SIZE_OR_ZERO)
STR = Arg(ARG_PTR_TO_CONST_STR)
LOCK = Arg(ARG_PTR_TO_SPIN_LOCK)
TIMER = Arg(ARG_PTR_TO_TIMER)
FUNC = Arg(ARG_PTR_TO_FUNC)
STACK = Arg(ARG_PTR_TO_STACK_OR_NULL)
SOCK_COMMON = Arg(ARG_PTR_TO_SOCK_COMMON)
SOCKET_OR_NULL = Arg(ARG_PTR_TO_SOCKET_OR_NULL)
SK = Arg(ARG_PTR_TO_BTF_ID_SOCK_COMMON, btf="sock_common")
SK_OR_NULL = Arg(ARG_PTR_TO_BTF_ID_SOCK_COMMON | PTR_MAYBE_NULL, btf="sock_common")
SK_RELEASED = Arg(ARG_PTR_TO_BTF_ID_SOCK_COMMON | OBJ_RELEASE, btf="sock_common")
RINGBUF_RELEASED = Arg(ARG_PTR_TO_RINGBUF_MEM | OBJ_RELEASE)
PERCPU = Arg(ARG_PTR_TO_PERCPU_BTF_ID)
KPTR_DEST = Arg(ARG_KPTR_XCHG_DEST)
KPTR_RELEASED = Arg(ARG_PTR_TO_BTF_ID_OR_NULL | OBJ_RELEASE)
DYNPTR_RDONLY = Arg(ARG_PTR_TO_DYNPTR | MEM_RDONLY)
DYNPTR_LOCAL_OUT = Arg(ARG_PTR_TO_DYNPTR | DYNPTR_TYPE_LOCAL | MEM_UNINIT | MEM_WRITE)
DYNPTR_RINGBUF_OUT = Arg(ARG_PTR_TO_DYNPTR | DYNPTR_TYPE_RINGBUF | MEM_UNINIT | MEM_WRITE)
DYNPTR_RINGBUF_RELEASED = Arg(ARG_PTR_TO_DYNPTR | DYNPTR_TYPE_RINGBUF | OBJ_RELEASE)
IPHDR = Arg(ARG_PTR_TO_FIXED_SIZE_MEM | MEM_RDONLY, size=20)
IPV6HDR = Arg(ARG_PTR_TO_FIXED_SIZE_MEM | MEM_RDONLY, size=40)
TCPHDR = Arg(ARG_PTR_TO_FIXED_SIZE_MEM | MEM_RDONLY, size=20)


def _btf(name: str) -> Arg:
    return Arg(ARG_PTR_TO_BTF_ID, btf=name)


def _btf_or_null(name: str) -> Arg:
    return Arg(ARG_PTR_TO_BTF_ID_OR_NULL, btf=name)


TASK = _btf("task_struct")
SEQ = _btf("seq_file")

# results and effects, likewise
INT = RET_INTEGER
VOID = RET_VOID
R_VALUE = RET_PTR_TO_MAP_VALUE_OR_NULL
R_SOCK = RET_PTR_TO_SOCKET_OR_NULL
R_BTF = RET_PTR_TO_BTF_ID_OR_NULL
PACKET = Does.CHANGES_PACKET
SLEEP = Does.MIGHT_SLEEP
ACQ = Does.ACQUIRES
REL = Does.RELEASES
CALLS = Does.CALLBACK
CASTS = Does.CASTS

HELPERS: tuple[Helper, ...] = (
    Helper(1, "map_lookup_elem", (MAP, KEY), R_VALUE, "3.19", pkt=True),
    Helper(2, "map_update_elem", (MAP, KEY, VALUE, ANY), INT, "3.19", pkt=True),
    Helper(3, "map_delete_elem", (MAP, KEY), INT, "3.19", pkt=True),
    Helper(4, "probe_read", (OUT, SIZE0, ANY), INT, "4.1", gpl=True),
    Helper(5, "ktime_get_ns", (), INT, "4.1"),
    Helper(6, "trace_printk", (MEM, SIZE), INT, "4.1", gpl=True, varargs=True),
    Helper(7, "get_prandom_u32", (), INT, "4.1"),
    Helper(8, "get_smp_processor_id", (), INT, "4.1", does=Does.FASTCALL),
    Helper(9, "skb_store_bytes", (CTX, ANY, MEM, SIZE, ANY), INT, "4.1", does=PACKET),
    Helper(10, "l3_csum_replace", (CTX, ANY, ANY, ANY, ANY), INT, "4.1", does=PACKET),
    Helper(11, "l4_csum_replace", (CTX, ANY, ANY, ANY, ANY), INT, "4.1", does=PACKET),
    Helper(12, "tail_call", (CTX, MAP, ANY), VOID, "4.2", does=Does.TAIL_CALLS),
    Helper(13, "clone_redirect", (CTX, ANY, ANY), INT, "4.2", does=PACKET),
    Helper(14, "get_current_pid_tgid", (), INT, "4.2"),
    Helper(15, "get_current_uid_gid", (), INT, "4.2"),
    Helper(16, "get_current_comm", (OUT, SIZE), INT, "4.2"),
    Helper(17, "get_cgroup_classid", (), INT, "4.3"),
    Helper(18, "skb_vlan_push", (CTX, ANY, ANY), INT, "4.3", does=PACKET),
    Helper(19, "skb_vlan_pop", (CTX,), INT, "4.3", does=PACKET),
    Helper(20, "skb_get_tunnel_key", (CTX, OUT, SIZE, ANY), INT, "4.3"),
    Helper(21, "skb_set_tunnel_key", (CTX, MEM, SIZE, ANY), INT, "4.3"),
    Helper(22, "perf_event_read", (MAP, ANY), INT, "4.3", gpl=True),
    Helper(23, "redirect", (ANY, ANY), INT, "4.4"),
    Helper(24, "get_route_realm", (CTX,), INT, "4.4"),
    Helper(25, "perf_event_output", (CTX, MAP, ANY, MEM, SIZE0), INT, "4.4", gpl=True),
    Helper(26, "skb_load_bytes", (CTX, ANY, OUT, SIZE), INT, "4.5"),
    Helper(27, "get_stackid", (CTX, MAP, ANY), INT, "4.6", gpl=True),
    Helper(28, "csum_diff", (MEM_OR_NULL, SIZE0, MEM_OR_NULL, SIZE0, ANY), INT, "4.6", pkt=True),
    Helper(29, "skb_get_tunnel_opt", (CTX, OUT, SIZE), INT, "4.6"),
    Helper(30, "skb_set_tunnel_opt", (CTX, MEM, SIZE), INT, "4.6"),
    Helper(31, "skb_change_proto", (CTX, ANY, ANY), INT, "4.8", does=PACKET),
    Helper(32, "skb_change_type", (CTX, ANY), INT, "4.8"),
    Helper(33, "skb_under_cgroup", (CTX, MAP, ANY), INT, "4.8"),
    Helper(34, "get_hash_recalc", (CTX,), INT, "4.8"),
    Helper(35, "get_current_task", (), INT, "4.8", gpl=True),
    Helper(36, "probe_write_user", (ANY, MEM, SIZE), INT, "4.8", gpl=True),
    Helper(37, "current_task_under_cgroup", (MAP, ANY), INT, "4.9"),
    Helper(38, "skb_change_tail", (CTX, ANY, ANY), INT, "4.9", does=PACKET),
    Helper(39, "skb_pull_data", (CTX, ANY), INT, "4.9", does=PACKET),
    Helper(40, "csum_update", (CTX, ANY), INT, "4.9"),
    Helper(41, "set_hash_invalid", (CTX,), INT, "4.9"),
    Helper(42, "get_numa_node_id", (), INT, "4.10"),
    Helper(43, "skb_change_head", (CTX, ANY, ANY), INT, "4.10", does=PACKET),
    Helper(44, "xdp_adjust_head", (CTX, ANY), INT, "4.10", does=PACKET),
    Helper(45, "probe_read_str", (OUT, SIZE0, ANY), INT, "4.11", gpl=True),
    Helper(46, "get_socket_cookie", (CTX,), INT, "4.12"),
    Helper(47, "get_socket_uid", (CTX,), INT, "4.12"),
    Helper(48, "set_hash", (CTX, ANY), INT, "4.13"),
    Helper(49, "setsockopt", (CTX, ANY, ANY, MEM, SIZE), INT, "4.13"),
    Helper(50, "skb_adjust_room", (CTX, ANY, ANY, ANY), INT, "4.13", does=PACKET),
    Helper(51, "redirect_map", (MAP, ANY, ANY), INT, "4.14"),
    Helper(52, "sk_redirect_map", (CTX, MAP, ANY, ANY), INT, "4.14"),
    Helper(53, "sock_map_update", (CTX, MAP, KEY, ANY), INT, "4.14", pkt=True),
    Helper(54, "xdp_adjust_meta", (CTX, ANY), INT, "4.15", does=PACKET),
    Helper(55, "perf_event_read_value", (MAP, ANY, OUT, SIZE), INT, "4.15", gpl=True),
    Helper(56, "perf_prog_read_value", (CTX, OUT, SIZE), INT, "4.15", gpl=True),
    Helper(57, "getsockopt", (CTX, ANY, ANY, OUT, SIZE), INT, "4.15"),
    Helper(58, "override_return", (CTX, ANY), INT, "4.16", gpl=True),
    Helper(59, "sock_ops_cb_flags_set", (CTX, ANY), INT, "4.16"),
    Helper(60, "msg_redirect_map", (CTX, MAP, ANY, ANY), INT, "4.17"),
    Helper(61, "msg_apply_bytes", (CTX, ANY), INT, "4.17"),
    Helper(62, "msg_cork_bytes", (CTX, ANY), INT, "4.17"),
    Helper(63, "msg_pull_data", (CTX, ANY, ANY, ANY), INT, "4.17", does=PACKET),
    Helper(64, "bind", (CTX, MEM, SIZE), INT, "4.17"),
    Helper(65, "xdp_adjust_tail", (CTX, ANY), INT, "4.18", does=PACKET),
    Helper(66, "skb_get_xfrm_state", (CTX, ANY, OUT, SIZE, ANY), INT, "4.18"),
    Helper(67, "get_stack", (CTX, OUT, SIZE0, ANY), INT, "4.18", gpl=True),
    Helper(68, "skb_load_bytes_relative", (CTX, ANY, OUT, SIZE, ANY), INT, "4.18"),
    Helper(69, "fib_lookup", (CTX, INOUT, SIZE, ANY), INT, "4.18", gpl=True),
    Helper(70, "sock_hash_update", (CTX, MAP, KEY, ANY), INT, "4.18", pkt=True),
    Helper(71, "msg_redirect_hash", (CTX, MAP, KEY, ANY), INT, "4.18"),
    Helper(72, "sk_redirect_hash", (CTX, MAP, KEY, ANY), INT, "4.18"),
    Helper(73, "lwt_push_encap", (CTX, ANY, MEM, SIZE), INT, "4.18", does=PACKET),
    Helper(74, "lwt_seg6_store_bytes", (CTX, ANY, MEM, SIZE), INT, "4.18", does=PACKET),
    Helper(75, "lwt_seg6_adjust_srh", (CTX, ANY, ANY), INT, "4.18", does=PACKET),
    Helper(76, "lwt_seg6_action", (CTX, ANY, MEM, SIZE), INT, "4.18", does=PACKET),
    Helper(77, "rc_repeat", (CTX,), INT, "4.18", gpl=True),
    Helper(78, "rc_keydown", (CTX, ANY, ANY, ANY), INT, "4.18", gpl=True),
    Helper(79, "skb_cgroup_id", (CTX,), INT, "4.18"),
    Helper(80, "get_current_cgroup_id", (), INT, "4.18"),
    Helper(81, "get_local_storage", (MAP, ANY), RET_PTR_TO_MAP_VALUE, "4.19"),
    Helper(82, "sk_select_reuseport", (CTX, MAP, KEY, ANY), INT, "4.19"),
    Helper(83, "skb_ancestor_cgroup_id", (CTX, ANY), INT, "4.19"),
    Helper(84, "sk_lookup_tcp", (CTX, MEM, SIZE0, ANY, ANY), R_SOCK, "4.20", pkt=True, does=ACQ),
    Helper(85, "sk_lookup_udp", (CTX, MEM, SIZE0, ANY, ANY), R_SOCK, "4.20", pkt=True, does=ACQ),
    Helper(86, "sk_release", (SK_RELEASED,), INT, "4.20", does=REL),
    Helper(87, "map_push_elem", (MAP, VALUE, ANY), INT, "4.20", pkt=True),
    Helper(88, "map_pop_elem", (MAP, VALUE_OUT), INT, "4.20"),
    Helper(89, "map_peek_elem", (MAP, VALUE_OUT), INT, "4.20"),
    Helper(90, "msg_push_data", (CTX, ANY, ANY, ANY), INT, "4.20", does=PACKET),
    Helper(91, "msg_pop_data", (CTX, ANY, ANY, ANY), INT, "5.0", does=PACKET),
    Helper(92, "rc_pointer_rel", (CTX, ANY, ANY), INT, "5.0", gpl=True),
    Helper(93, "spin_lock", (LOCK,), VOID, "5.1"),
    Helper(94, "spin_unlock", (LOCK,), VOID, "5.1"),
    Helper(95, "sk_fullsock", (SOCK_COMMON,), R_SOCK, "5.1", does=CASTS),
    Helper(96, "tcp_sock", (SOCK_COMMON,), RET_PTR_TO_TCP_SOCK_OR_NULL, "5.1", does=CASTS),
    Helper(97, "skb_ecn_set_ce", (CTX,), INT, "5.1"),
    Helper(98, "get_listener_sock", (SOCK_COMMON,), R_SOCK, "5.1"),
    Helper(99, "skc_lookup_tcp", (CTX, MEM, SIZE0, ANY, ANY),
           RET_PTR_TO_SOCK_COMMON_OR_NULL, "5.2", pkt=True, does=ACQ),
    Helper(100, "tcp_check_syncookie", (SK, MEM, SIZE, MEM, SIZE), INT, "5.2", gpl=True, pkt=True),
    Helper(101, "sysctl_get_name", (CTX, INOUT, SIZE, ANY), INT, "5.2"),
    Helper(102, "sysctl_get_current_value", (CTX, OUT, SIZE), INT, "5.2"),
    Helper(103, "sysctl_get_new_value", (CTX, OUT, SIZE), INT, "5.2"),
    Helper(104, "sysctl_set_new_value", (CTX, MEM, SIZE), INT, "5.2"),
    Helper(105, "strtol", (MEM, SIZE, ANY, OUT_U64), INT, "5.2"),
    Helper(106, "strtoul", (MEM, SIZE, ANY, OUT_U64), INT, "5.2"),
    Helper(107, "sk_storage_get", (MAP, SK, VALUE_OR_NULL, ANY), R_VALUE, "5.2"),
    Helper(108, "sk_storage_delete", (MAP, SK), INT, "5.2"),
    Helper(109, "send_signal", (ANY,), INT, "5.3"),
    Helper(110, "tcp_gen_syncookie", (SK, MEM, SIZE, MEM, SIZE), INT, "5.4", gpl=True, pkt=True),
    Helper(111, "skb_output", (_btf("sk_buff"), MAP, ANY, MEM, SIZE0), INT, "5.5", gpl=True),
    Helper(112, "probe_read_user", (OUT, SIZE0, ANY), INT, "5.5", gpl=True),
    Helper(113, "probe_read_kernel", (OUT, SIZE0, ANY), INT, "5.5", gpl=True),
    Helper(114, "probe_read_user_str", (OUT, SIZE0, ANY), INT, "5.5", gpl=True),
    Helper(115, "probe_read_kernel_str", (OUT, SIZE0, ANY), INT, "5.5", gpl=True),
    Helper(116, "tcp_send_ack", (_btf("tcp_sock"), ANY), INT, "5.6"),
    Helper(117, "send_signal_thread", (ANY,), INT, "5.6"),
    Helper(118, "jiffies64", (), INT, "5.6"),
    Helper(119, "read_branch_records", (CTX, INOUT_OR_NULL, SIZE0, ANY), INT, "5.7", gpl=True),
    Helper(120, "get_ns_current_pid_tgid", (ANY, ANY, OUT, SIZE), INT, "5.7"),
    Helper(121, "xdp_output", (_btf("xdp_buff"), MAP, ANY, MEM, SIZE0), INT, "5.7", gpl=True),
    Helper(122, "get_netns_cookie", (CTX_OR_NULL,), INT, "5.7"),
    Helper(123, "get_current_ancestor_cgroup_id", (ANY,), INT, "5.7"),
    Helper(124, "sk_assign", (CTX, SK, ANY), INT, "5.7"),
    Helper(125, "ktime_get_boot_ns", (), INT, "5.8"),
    Helper(126, "seq_printf", (SEQ, MEM, SIZE, MEM_OR_NULL, SIZE0), INT, "5.8", gpl=True),
    Helper(127, "seq_write", (SEQ, MEM, SIZE0), INT, "5.8", gpl=True),
    Helper(128, "sk_cgroup_id", (SK,), INT, "5.8"),
    Helper(129, "sk_ancestor_cgroup_id", (SK, ANY), INT, "5.8"),
    Helper(130, "ringbuf_output", (MAP, MEM, SIZE0, ANY), INT, "5.8"),
    Helper(131, "ringbuf_reserve", (MAP, ALLOC_SIZE, ANY),
           RET_PTR_TO_RINGBUF_MEM_OR_NULL, "5.8", does=ACQ),
    Helper(132, "ringbuf_submit", (RINGBUF_RELEASED, ANY), VOID, "5.8", does=REL),
    Helper(133, "ringbuf_discard", (RINGBUF_RELEASED, ANY), VOID, "5.8", does=REL),
    Helper(134, "ringbuf_query", (MAP, ANY), INT, "5.8"),
    Helper(135, "csum_level", (CTX, ANY), INT, "5.8"),
    Helper(136, "skc_to_tcp6_sock", (SK,), R_BTF, "5.9", does=CASTS, ret_btf="tcp6_sock"),
    Helper(137, "skc_to_tcp_sock", (SK,), R_BTF, "5.9", does=CASTS, ret_btf="tcp_sock"),
    Helper(138, "skc_to_tcp_timewait_sock", (SK,),
           R_BTF, "5.9", does=CASTS, ret_btf="tcp_timewait_sock"),
    Helper(139, "skc_to_tcp_request_sock", (SK,),
           R_BTF, "5.9", does=CASTS, ret_btf="tcp_request_sock"),
    Helper(140, "skc_to_udp6_sock", (SK,), R_BTF, "5.9", does=CASTS, ret_btf="udp6_sock"),
    Helper(141, "get_task_stack", (TASK, OUT, SIZE0, ANY), INT, "5.9"),
    Helper(142, "load_hdr_opt", (CTX, INOUT, SIZE, ANY), INT, "5.10"),
    Helper(143, "store_hdr_opt", (CTX, MEM, SIZE, ANY), INT, "5.10", does=PACKET),
    Helper(144, "reserve_hdr_opt", (CTX, ANY, ANY), INT, "5.10"),
    Helper(145, "inode_storage_get", (MAP, _btf_or_null("inode"), VALUE_OR_NULL, ANY),
           R_VALUE, "5.10"),
    Helper(146, "inode_storage_delete", (MAP, _btf_or_null("inode")), INT, "5.10"),
    Helper(147, "d_path", (_btf("path"), INOUT, SIZE0), INT, "5.10"),
    Helper(148, "copy_from_user", (OUT, SIZE0, ANY), INT, "5.10", does=SLEEP),
    Helper(149, "snprintf_btf", (INOUT, SIZE, MEM, SIZE, ANY), INT, "5.10"),
    Helper(150, "seq_printf_btf", (SEQ, MEM, SIZE0, ANY), INT, "5.10", gpl=True),
    Helper(151, "skb_cgroup_classid", (CTX,), INT, "5.10"),
    Helper(152, "redirect_neigh", (ANY, MEM_OR_NULL, SIZE0, ANY), INT, "5.10"),
    Helper(153, "per_cpu_ptr", (PERCPU, ANY),
           RET_PTR_TO_MEM_OR_BTF_ID | PTR_MAYBE_NULL | MEM_RDONLY, "5.10"),
    Helper(154, "this_cpu_ptr", (PERCPU,), RET_PTR_TO_MEM_OR_BTF_ID | MEM_RDONLY, "5.10"),
    Helper(155, "redirect_peer", (ANY, ANY), INT, "5.10"),
    Helper(156, "task_storage_get", (MAP, _btf_or_null("task_struct"), VALUE_OR_NULL, ANY),
           R_VALUE, "5.11"),
    Helper(157, "task_storage_delete", (MAP, _btf_or_null("task_struct")), INT, "5.11"),
    Helper(158, "get_current_task_btf", (),
           RET_PTR_TO_BTF_ID_TRUSTED, "5.11", gpl=True, ret_btf="task_struct"),
    Helper(159, "bprm_opts_set", (_btf("linux_binprm"), ANY), INT, "5.11"),
    Helper(160, "ktime_get_coarse_ns", (), INT, "5.11"),
    Helper(161, "ima_inode_hash", (_btf("inode"), OUT, SIZE), INT, "5.11", does=SLEEP),
    Helper(162, "sock_from_file", (_btf("file"),), R_BTF, "5.11", ret_btf="socket"),
    Helper(163, "check_mtu", (CTX, ANY, INOUT_U32, ANY, ANY), INT, "5.12", gpl=True),
    Helper(164, "for_each_map_elem", (MAP, FUNC, STACK, ANY), INT, "5.13", does=CALLS),
    Helper(165, "snprintf", (INOUT_OR_NULL, SIZE0, STR, MEM_OR_NULL, SIZE0), INT, "5.13", gpl=True),
    Helper(166, "sys_bpf", (ANY, MEM, SIZE), INT, "5.14"),
    Helper(167, "btf_find_by_name_kind", (MEM, SIZE, ANY, ANY), INT, "5.14"),
    Helper(168, "sys_close", (ANY,), INT, "5.14"),
    Helper(169, "timer_init", (TIMER, MAP, ANY), INT, "5.15", gpl=True),
    Helper(170, "timer_set_callback", (TIMER, FUNC),
           INT, "5.15", gpl=True, does=Does.ASYNC_CALLBACK),
    Helper(171, "timer_start", (TIMER, ANY, ANY), INT, "5.15", gpl=True),
    Helper(172, "timer_cancel", (TIMER,), INT, "5.15", gpl=True),
    Helper(173, "get_func_ip", (CTX,), INT, "5.15", gpl=True),
    Helper(174, "get_attach_cookie", (CTX,), INT, "5.15"),
    Helper(175, "task_pt_regs", (TASK,), RET_PTR_TO_BTF_ID, "5.15", gpl=True, ret_btf="pt_regs"),
    Helper(176, "get_branch_snapshot", (OUT, SIZE0), INT, "5.16", gpl=True),
    Helper(177, "trace_vprintk", (MEM, SIZE, MEM_OR_NULL, SIZE0), INT, "5.16", gpl=True),
    Helper(178, "skc_to_unix_sock", (SK,), R_BTF, "5.16", does=CASTS, ret_btf="unix_sock"),
    Helper(179, "kallsyms_lookup_name", (MEM, SIZE0, ANY, OUT_U64), INT, "5.16"),
    Helper(180, "find_vma", (TASK, ANY, FUNC, STACK, ANY), INT, "5.17", does=CALLS),
    Helper(181, "loop", (ANY, FUNC, STACK, ANY), INT, "5.17", does=CALLS),
    Helper(182, "strncmp", (MEM, SIZE, STR), INT, "5.17"),
    Helper(183, "get_func_arg", (CTX, ANY, OUT_U64), INT, "5.17"),
    Helper(184, "get_func_ret", (CTX, OUT_U64), INT, "5.17"),
    Helper(185, "get_func_arg_cnt", (CTX,), INT, "5.17"),
    Helper(186, "get_retval", (), INT, "5.18"),
    Helper(187, "set_retval", (ANY,), INT, "5.18"),
    Helper(188, "xdp_get_buff_len", (CTX,), INT, "5.18"),
    Helper(189, "xdp_load_bytes", (CTX, ANY, OUT, SIZE), INT, "5.18"),
    Helper(190, "xdp_store_bytes", (CTX, ANY, MEM, SIZE), INT, "5.18"),
    Helper(191, "copy_from_user_task", (OUT, SIZE0, ANY, TASK, ANY),
           INT, "5.18", gpl=True, does=SLEEP),
    Helper(192, "skb_set_tstamp", (CTX, ANY, ANY), INT, "5.18"),
    Helper(193, "ima_file_hash", (_btf("file"), OUT, SIZE), INT, "5.18", does=SLEEP),
    Helper(194, "kptr_xchg", (KPTR_DEST, KPTR_RELEASED), R_BTF, "5.19", does=ACQ | REL),
    Helper(195, "map_lookup_percpu_elem", (MAP, KEY, ANY), R_VALUE, "5.19", pkt=True),
    Helper(196, "skc_to_mptcp_sock", (SOCK_COMMON,),
           R_BTF, "5.19", does=CASTS, ret_btf="mptcp_sock"),
    Helper(197, "dynptr_from_mem", (OUT, SIZE0, ANY, DYNPTR_LOCAL_OUT), INT, "5.19"),
    Helper(198, "ringbuf_reserve_dynptr", (MAP, ANY, ANY, DYNPTR_RINGBUF_OUT), INT, "5.19"),
    Helper(199, "ringbuf_submit_dynptr", (DYNPTR_RINGBUF_RELEASED, ANY), VOID, "5.19", does=REL),
    Helper(200, "ringbuf_discard_dynptr", (DYNPTR_RINGBUF_RELEASED, ANY), VOID, "5.19", does=REL),
    Helper(201, "dynptr_read", (OUT, SIZE0, DYNPTR_RDONLY, ANY, ANY), INT, "5.19"),
    Helper(202, "dynptr_write", (DYNPTR_RDONLY, ANY, MEM, SIZE0, ANY), INT, "5.19"),
    Helper(203, "dynptr_data", (DYNPTR_RDONLY, ANY, ALLOC_SIZE),
           RET_PTR_TO_DYNPTR_MEM_OR_NULL, "5.19"),
    Helper(204, "tcp_raw_gen_syncookie_ipv4", (IPHDR, MEM, SIZE0), INT, "6.0", gpl=True, pkt=True),
    Helper(205, "tcp_raw_gen_syncookie_ipv6", (IPV6HDR, MEM, SIZE0),
           INT, "6.0", gpl=True, pkt=True),
    Helper(206, "tcp_raw_check_syncookie_ipv4", (IPHDR, TCPHDR), INT, "6.0", gpl=True, pkt=True),
    Helper(207, "tcp_raw_check_syncookie_ipv6", (IPV6HDR, TCPHDR), INT, "6.0", gpl=True, pkt=True),
    Helper(208, "ktime_get_tai_ns", (), INT, "6.1"),
    Helper(209, "user_ringbuf_drain", (MAP, FUNC, STACK, ANY), INT, "6.1", does=CALLS),
    Helper(210, "cgrp_storage_get", (MAP, _btf_or_null("cgroup"), VALUE_OR_NULL, ANY),
           R_VALUE, "6.2"),
    Helper(211, "cgrp_storage_delete", (MAP, _btf_or_null("cgroup")), INT, "6.2"),
)

BY_ID: dict[int, Helper] = {h.id: h for h in HELPERS}
BY_NAME: dict[str, Helper] = {h.name: h for h in HELPERS}


class Variant(NamedTuple):
    """A helper that takes other arguments, or has other conditions, in some programs."""

    helper: Helper
    prog_types: tuple[int, ...]
    attach: tuple[int, ...] = ()
    """Only under these expected attach types; empty: under any."""


def _variant(name: str, prog_types: tuple[int, ...], attach: tuple[int, ...] = (), *,
             args: tuple[Arg, ...] | None = None, gpl: bool | None = None) -> Variant:
    """Helper `name` with other arguments or another licence condition."""
    row = BY_NAME[name]
    return Variant(row._replace(args=row.args if args is None else args,
                                gpl=row.gpl if gpl is None else gpl), prog_types, attach)


_TRACING = (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_LSM, uapi.BPF_PROG_TYPE_SYSCALL)
# these take a socket where others take their context
_ON_SOCKET = (uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT, uapi.BPF_PROG_TYPE_LSM,
              uapi.BPF_PROG_TYPE_STRUCT_OPS, uapi.BPF_PROG_TYPE_TRACING)

VARIANTS: tuple[Variant, ...] = (
    _variant("get_cgroup_classid", (
        uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT, uapi.BPF_PROG_TYPE_LWT_IN,
        uapi.BPF_PROG_TYPE_LWT_OUT, uapi.BPF_PROG_TYPE_LWT_XMIT,
        uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL), args=(CTX,)),
    _variant("get_socket_cookie", (*_TRACING, uapi.BPF_PROG_TYPE_SK_REUSEPORT),
             args=(SK_OR_NULL,)),
    _variant("setsockopt", _ON_SOCKET, args=(SK, ANY, ANY, MEM, SIZE)),
    _variant("getsockopt", _ON_SOCKET, args=(SK, ANY, ANY, OUT, SIZE)),
    _variant("sk_storage_get", (uapi.BPF_PROG_TYPE_CGROUP_SOCK,),
             args=(MAP, CTX, VALUE_OR_NULL, ANY)),
    _variant("sk_storage_get", (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_SYSCALL),
             args=(MAP, _btf_or_null("sock_common"), VALUE_OR_NULL, ANY)),
    _variant("sk_storage_delete", (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_SYSCALL),
             args=(MAP, _btf_or_null("sock_common"))),
    _variant("sk_assign", (uapi.BPF_PROG_TYPE_SK_LOOKUP,), args=(CTX, SOCKET_OR_NULL, ANY)),
    _variant("xdp_get_buff_len", _TRACING, args=(_btf("xdp_buff"),)),
    _variant("get_stackid", (uapi.BPF_PROG_TYPE_PERF_EVENT,), gpl=False),
    _variant("get_func_ip", (uapi.BPF_PROG_TYPE_KPROBE,), (
        uapi.BPF_TRACE_KPROBE_MULTI, uapi.BPF_TRACE_KPROBE_SESSION, uapi.BPF_TRACE_UPROBE_MULTI,
        uapi.BPF_TRACE_UPROBE_SESSION), gpl=False),
)


def proto_for(number: int, prog_type: int, attach_type: int = 0) -> Helper:
    """Helper `number` with the arguments it takes in programs of this type."""
    return next((v.helper for v in VARIANTS if v.helper.id == number
                 and prog_type in v.prog_types and (not v.attach or attach_type in v.attach)),
                BY_ID[number])
