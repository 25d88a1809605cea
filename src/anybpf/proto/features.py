"""Since which kernel version something exists (include/uapi/linux/bpf.h over time).

Helpers, programs, maps, links and attach types carry their version in their own rows; here are the
commands, the flags and the constants. `since()` knows them all by their UAPI name.
"""

from __future__ import annotations

from collections.abc import Iterable

from anybpf.proto import attach, helpers, links, maps, progs


def version(text: str) -> tuple[int, int]:
    """`"5.10"` (or `"5.10.3-generic"`) as a pair that compares; ValueError if it is none."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return int(major), int(minor or 0)


def _by_version(groups: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name to version, from groups of names that appeared together."""
    return {name: since for since, names in groups for name in names.split()}


# commands of bpf(2)
COMMANDS: dict[str, str] = _by_version((
    ("3.18", """
        BPF_MAP_CREATE BPF_MAP_LOOKUP_ELEM BPF_MAP_UPDATE_ELEM BPF_MAP_DELETE_ELEM
        BPF_MAP_GET_NEXT_KEY BPF_PROG_LOAD"""),
    ("4.4", "BPF_OBJ_PIN BPF_OBJ_GET"),
    ("4.10", "BPF_PROG_ATTACH BPF_PROG_DETACH"),
    ("4.12", "BPF_PROG_TEST_RUN"),
    ("4.13", """
        BPF_PROG_GET_NEXT_ID BPF_MAP_GET_NEXT_ID BPF_PROG_GET_FD_BY_ID BPF_MAP_GET_FD_BY_ID
        BPF_OBJ_GET_INFO_BY_FD"""),
    ("4.15", "BPF_PROG_QUERY"),
    ("4.17", "BPF_RAW_TRACEPOINT_OPEN"),
    ("4.18", "BPF_BTF_LOAD BPF_BTF_GET_FD_BY_ID BPF_TASK_FD_QUERY"),
    ("4.20", "BPF_MAP_LOOKUP_AND_DELETE_ELEM"),
    ("5.2", "BPF_MAP_FREEZE"),
    ("5.4", "BPF_BTF_GET_NEXT_ID"),
    ("5.6", """
        BPF_MAP_LOOKUP_BATCH BPF_MAP_LOOKUP_AND_DELETE_BATCH BPF_MAP_UPDATE_BATCH
        BPF_MAP_DELETE_BATCH"""),
    ("5.7", "BPF_LINK_CREATE BPF_LINK_UPDATE"),
    ("5.8", "BPF_LINK_GET_FD_BY_ID BPF_LINK_GET_NEXT_ID BPF_ENABLE_STATS BPF_ITER_CREATE"),
    ("5.9", "BPF_LINK_DETACH"),
    ("5.10", "BPF_PROG_BIND_MAP"),
    ("6.9", "BPF_TOKEN_CREATE"),
    ("6.17", "BPF_PROG_STREAM_READ_BY_FD"),
))

# flags of commands and helpers
FLAGS: dict[str, str] = _by_version((
    ("4.5", """
        BPF_F_RECOMPUTE_CSUM BPF_F_HDR_FIELD_MASK BPF_F_PSEUDO_HDR BPF_F_INGRESS
        BPF_F_TUNINFO_IPV6 BPF_F_ZERO_CSUM_TX"""),
    ("4.6", """
        BPF_F_NO_PREALLOC BPF_F_INVALIDATE_HASH BPF_F_MARK_MANGLED_0 BPF_F_SKIP_FIELD_MASK
        BPF_F_USER_STACK BPF_F_FAST_STACK_CMP BPF_F_REUSE_STACKID BPF_F_DONT_FRAGMENT"""),
    ("4.7", "BPF_F_INDEX_MASK BPF_F_CURRENT_CPU"),
    ("4.8", "BPF_F_CTXLEN_MASK"),
    ("4.10", "BPF_F_ALLOW_OVERRIDE BPF_F_NO_COMMON_LRU"),
    ("4.11", "BPF_F_MARK_ENFORCE"),
    ("4.12", "BPF_F_STRICT_ALIGNMENT"),
    ("4.14", "BPF_F_NUMA_NODE"),
    ("4.15", "BPF_F_ALLOW_MULTI BPF_F_RDONLY BPF_F_WRONLY BPF_F_QUERY_EFFECTIVE"),
    ("4.16", """
        BPF_SOCK_OPS_RTO_CB_FLAG BPF_SOCK_OPS_RETRANS_CB_FLAG BPF_SOCK_OPS_STATE_CB_FLAG
        BPF_SOCK_OPS_ALL_CB_FLAGS"""),
    ("4.17", "BPF_F_STACK_BUILD_ID BPF_F_SEQ_NUMBER"),
    ("4.18", "BPF_F_USER_BUILD_ID"),
    ("4.20", "BPF_F_CURRENT_NETNS"),
    ("5.0", "BPF_F_ANY_ALIGNMENT BPF_F_ZERO_SEED"),
    ("5.1", "BPF_F_LOCK"),
    ("5.2", """
        BPF_F_RDONLY_PROG BPF_F_WRONLY_PROG BPF_F_ADJ_ROOM_FIXED_GSO
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
        BPF_F_ADJ_ROOM_ENCAP_L4_GRE BPF_F_ADJ_ROOM_ENCAP_L4_UDP BPF_F_SYSCTL_BASE_NAME
        BPF_SK_STORAGE_GET_F_CREATE"""),
    ("5.3", "BPF_F_TEST_RND_HI32 BPF_SOCK_OPS_RTT_CB_FLAG"),
    ("5.4", "BPF_F_TEST_STATE_FREQ BPF_F_CLONE"),
    ("5.5", "BPF_F_MMAPABLE"),
    ("5.6", "BPF_F_REPLACE"),
    ("5.7", "BPF_F_GET_BRANCH_RECORDS_SIZE"),
    ("5.8", "BPF_F_ADJ_ROOM_NO_CSUM_RESET"),
    ("5.9", "BPF_SK_LOOKUP_F_REPLACE BPF_SK_LOOKUP_F_NO_REUSEPORT"),
    ("5.10", """
        BPF_F_SLEEPABLE BPF_F_PRESERVE_ELEMS BPF_F_INNER_MAP BPF_F_TEST_RUN_ON_CPU
        BPF_LOCAL_STORAGE_GET_F_CREATE BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG
        BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG
        BTF_F_COMPACT BTF_F_NONAME BTF_F_PTR_RAW BTF_F_ZERO"""),
    ("5.11", "BPF_F_BPRM_SECUREEXEC"),
    ("5.13", "BPF_F_ADJ_ROOM_ENCAP_L2_ETH"),
    ("5.14", "BPF_F_BROADCAST BPF_F_EXCLUDE_INGRESS"),
    ("5.18", "BPF_F_XDP_HAS_FRAGS BPF_F_KPROBE_MULTI_RETURN BPF_F_TEST_XDP_LIVE_FRAMES"),
    ("6.1", "BPF_F_TUNINFO_FLAGS"),
    ("6.3", """
        BPF_F_ADJ_ROOM_DECAP_L3_IPV4 BPF_F_ADJ_ROOM_DECAP_L3_IPV6 BPF_F_NO_TUNNEL_KEY
        BPF_F_XDP_DEV_BOUND_ONLY"""),
    ("6.4", "BPF_F_LINK BPF_F_TIMER_ABS"),
    ("6.5", "BPF_F_PATH_FD"),
    ("6.6", "BPF_F_BEFORE BPF_F_AFTER BPF_F_ID BPF_F_UPROBE_MULTI_RETURN"),
    ("6.7", "BPF_F_TIMER_CPU_PIN"),
    ("6.8", "BPF_F_TEST_REG_INVARIANTS"),
    ("6.9", "BPF_F_VTYPE_BTF_OBJ_FD BPF_F_TOKEN_FD BPF_F_SEGV_ON_FAULT BPF_F_NO_USER_CONV"),
    ("6.15", "BPF_F_PREORDER"),
    ("6.18", "BPF_F_TEST_SKB_CHECKSUM_COMPLETE"),
))

# arguments and results of helpers
CONSTANTS: dict[str, str] = _by_version((
    ("4.13", "BPF_ADJ_ROOM_NET"),
    ("4.17", "BPF_STACK_BUILD_ID_EMPTY BPF_STACK_BUILD_ID_VALID BPF_STACK_BUILD_ID_IP"),
    ("4.18", """
        BPF_HDR_START_MAC BPF_HDR_START_NET BPF_LWT_ENCAP_SEG6 BPF_LWT_ENCAP_SEG6_INLINE
        BPF_FIB_LOOKUP_DIRECT BPF_FIB_LOOKUP_OUTPUT BPF_FIB_LKUP_RET_SUCCESS
        BPF_FIB_LKUP_RET_BLACKHOLE BPF_FIB_LKUP_RET_UNREACHABLE BPF_FIB_LKUP_RET_PROHIBIT
        BPF_FIB_LKUP_RET_NOT_FWDED BPF_FIB_LKUP_RET_FWD_DISABLED BPF_FIB_LKUP_RET_UNSUPP_LWT
        BPF_FIB_LKUP_RET_NO_NEIGH BPF_FIB_LKUP_RET_FRAG_NEEDED BPF_FD_TYPE_RAW_TRACEPOINT
        BPF_FD_TYPE_TRACEPOINT BPF_FD_TYPE_KPROBE BPF_FD_TYPE_KRETPROBE BPF_FD_TYPE_UPROBE
        BPF_FD_TYPE_URETPROBE"""),
    ("5.1", "BPF_LWT_ENCAP_IP"),
    ("5.2", "BPF_ADJ_ROOM_ENCAP_L2_MASK BPF_ADJ_ROOM_ENCAP_L2_SHIFT BPF_ADJ_ROOM_MAC"),
    ("5.4", """
        BPF_FLOW_DISSECTOR_F_PARSE_1ST_FRAG BPF_FLOW_DISSECTOR_F_STOP_AT_FLOW_LABEL
        BPF_FLOW_DISSECTOR_F_STOP_AT_ENCAP"""),
    ("5.8", """
        BPF_STATS_RUN_TIME BPF_CSUM_LEVEL_QUERY BPF_CSUM_LEVEL_INC BPF_CSUM_LEVEL_DEC
        BPF_CSUM_LEVEL_RESET BPF_RB_NO_WAKEUP BPF_RB_FORCE_WAKEUP BPF_RB_AVAIL_DATA
        BPF_RB_RING_SIZE BPF_RB_CONS_POS BPF_RB_PROD_POS BPF_RINGBUF_BUSY_BIT
        BPF_RINGBUF_DISCARD_BIT BPF_RINGBUF_HDR_SZ"""),
    ("5.12", """
        BPF_MTU_CHK_SEGS BPF_MTU_CHK_RET_SUCCESS BPF_MTU_CHK_RET_FRAG_NEEDED
        BPF_MTU_CHK_RET_SEGS_TOOBIG"""),
    ("5.18", "BPF_SKB_TSTAMP_UNSPEC BPF_SKB_TSTAMP_DELIVERY_MONO"),
    ("6.1", """
        BPF_CGROUP_ITER_ORDER_UNSPEC BPF_CGROUP_ITER_SELF_ONLY
        BPF_CGROUP_ITER_DESCENDANTS_PRE BPF_CGROUP_ITER_DESCENDANTS_POST
        BPF_CGROUP_ITER_ANCESTORS_UP"""),
))

# what sock_ops programs are called for, and options of TCP
SOCK_OPS: dict[str, str] = _by_version((
    ("4.13", """
        BPF_SOCK_OPS_VOID BPF_SOCK_OPS_TIMEOUT_INIT BPF_SOCK_OPS_RWND_INIT
        BPF_SOCK_OPS_TCP_CONNECT_CB BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB BPF_SOCK_OPS_NEEDS_ECN TCP_BPF_IW
        TCP_BPF_SNDCWND_CLAMP"""),
    ("4.15", "BPF_SOCK_OPS_BASE_RTT"),
    ("4.16", "BPF_SOCK_OPS_RTO_CB BPF_SOCK_OPS_RETRANS_CB BPF_SOCK_OPS_STATE_CB"),
    ("4.19", "BPF_SOCK_OPS_TCP_LISTEN_CB"),
    ("5.3", "BPF_SOCK_OPS_RTT_CB"),
    ("5.10", """
        BPF_SOCK_OPS_PARSE_HDR_OPT_CB BPF_SOCK_OPS_HDR_OPT_LEN_CB
        BPF_SOCK_OPS_WRITE_HDR_OPT_CB TCP_BPF_DELACK_MAX TCP_BPF_RTO_MIN TCP_BPF_SYN
        TCP_BPF_SYN_IP TCP_BPF_SYN_MAC BPF_LOAD_HDR_OPT_TCP_SYN
        BPF_WRITE_HDR_TCP_CURRENT_MSS BPF_WRITE_HDR_TCP_SYNACK_COOKIE"""),
    ("6.15", """
        BPF_SOCK_OPS_TSTAMP_SCHED_CB BPF_SOCK_OPS_TSTAMP_SND_SW_CB
        BPF_SOCK_OPS_TSTAMP_SND_HW_CB BPF_SOCK_OPS_TSTAMP_ACK_CB
        BPF_SOCK_OPS_TSTAMP_SENDMSG_CB"""),
))


def _rows() -> dict[str, str]:
    """Version of everything that has a row elsewhere, by UAPI name."""
    found = {f"BPF_FUNC_{h.name}": h.since for h in helpers.HELPERS}
    found |= {f"BPF_PROG_TYPE_{p.name.upper()}": p.since for p in progs.PROGS}
    found |= {f"BPF_MAP_TYPE_{m.name.upper()}": m.since for m in maps.MAPS}
    found |= {f"BPF_{a.name.upper()}": a.since for a in attach.ATTACH_TYPES}
    found |= {f"BPF_LINK_TYPE_{x.name.upper()}": x.since for x in links.LINKS}
    return found


SINCE: dict[str, str] = {**CONSTANTS, **SOCK_OPS, **FLAGS, **COMMANDS, **_rows()}


def since(name: str) -> str | None:
    """The first kernel version with `name` (such as `"BPF_MAP_TYPE_RINGBUF"`), None if unknown."""
    return SINCE.get(name)


def available(name: str, kernel: str) -> bool:
    """True if `name` exists in version `kernel`; KeyError if nothing is known about `name`."""
    return version(SINCE[name]) <= version(kernel)
