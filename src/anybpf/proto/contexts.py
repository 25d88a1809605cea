"""What a program may read and write in its context (the is_valid_access() of net/core/filter.c).

`CONTEXTS` has the fields of each context struct; a `View` says which of them a program type sees
and may store to. Both fail closed: a field is read-only unless its row lists store sizes *and* the
view lists the field, and it is invisible unless the view shows it.

The kernel has one rule for reading: an access is aligned to its size and lies inside one field. It
has the field's unit as its size, or, where the field is narrow, any smaller power of two.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import NamedTuple

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.proto.kinds import (
    PTR_MAYBE_NULL,
    PTR_TO_BTF_ID,
    PTR_TO_FLOW_KEYS,
    PTR_TO_PACKET,
    PTR_TO_PACKET_END,
    PTR_TO_PACKET_META,
    PTR_TO_SOCK_COMMON,
    PTR_TO_SOCKET,
    PTR_TO_TP_BUFFER,
    PTR_TRUSTED,
    READ,
    SCALAR_VALUE,
    WRITE,
)

# kinds of a field, under short names
SCALAR = SCALAR_VALUE
PACKET = PTR_TO_PACKET
PACKET_END = PTR_TO_PACKET_END
PACKET_META = PTR_TO_PACKET_META
FLOW_KEYS = PTR_TO_FLOW_KEYS
SOCK = PTR_TO_SOCKET
SOCK_OR_NULL = PTR_TO_SOCKET | PTR_MAYBE_NULL
SOCK_COMMON = PTR_TO_SOCK_COMMON
SOCK_COMMON_OR_NULL = PTR_TO_SOCK_COMMON | PTR_MAYBE_NULL
TRUSTED_BTF = PTR_TO_BTF_ID | PTR_TRUSTED

# `Field.narrow`: where loads smaller than the unit may start
NO = 0
FIRST = 1  # only at the field's first byte
ANYWHERE = 2

ALL = ("*",)
#: programs may change the registers that they are given
KPROBE_WRITE = "kprobe_write_ctx"
EVERY_SIZE = (1, 2, 4, 8)


class Field(NamedTuple):
    """One field of a context struct."""

    name: str
    offset: int
    size: int = 4
    """Bytes in all; an array is one field."""
    source: str = ""
    """The member of our internal struct that holds it, such as `"sk_buff.len"`."""
    access: int = READ
    """READ, or READ | WRITE where some view may store to it."""
    kind: int = SCALAR
    """What a load of it gives: `kinds.PTR_TO_*`, or a scalar."""
    narrow: int = NO
    """NO, FIRST or ANYWHERE: whether a part of the unit may be loaded."""
    unit: int = 4
    """Bytes of the largest load: an element's size, or more where wide loads are allowed."""
    least: int = 1
    """Bytes of the smallest load, where it is narrow."""
    stores: tuple[int, ...] = ()
    """Sizes that may be stored."""
    loads: tuple[int, ...] = ()
    """Sizes of loads that are allowed at its offset beside the rule."""
    btf: str = ""
    """The struct that a BTF pointer points to."""

    def holds(self, off: int, size: int) -> bool:
        """True if `size` bytes at `off` are aligned and lie inside this field."""
        return off % size == 0 and self.offset <= off and off + size <= self.offset + self.size

    def may_load(self, off: int, size: int) -> bool:
        """True if a program that sees the field may load `size` bytes at `off`."""
        if off == self.offset and size in self.loads:
            return True
        if not self.holds(off, size) or size > self.unit:
            return False
        if size == self.unit or self.narrow == ANYWHERE:
            return size >= self.least
        return self.narrow == FIRST and off == self.offset

    def may_store(self, off: int, size: int) -> bool:
        """True if a program that may store to the field may store `size` bytes at `off`."""
        return size in self.stores and self.holds(off, size)


class Context(NamedTuple):
    """A context struct: the name in the UAPI, its bytes, its fields by offset."""

    name: str
    size: int
    fields: tuple[Field, ...]


class View(NamedTuple):
    """What one program type sees of its context."""

    context: str
    """Key of `CONTEXTS`."""
    shows: tuple[str, ...] = ()
    """Fields that may be loaded; `ALL` for all of them."""
    stores: tuple[str, ...] = ()
    """Fields that may be stored to."""
    only: dict[str, tuple[int, ...]] = {}
    """Fields seen only under one of these expected attach types."""
    stores_only: dict[str, tuple[int, ...]] = {}
    """Fields that may be stored to only under one of these expected attach types."""
    bpf_capable: tuple[str, ...] = ()
    """Fields that may be loaded only with CAP_BPF."""
    stores_bpf_capable: tuple[str, ...] = ()
    """Fields that may be stored to only with CAP_BPF."""
    store_feature: str = ""
    """What allows stores at all, if a kernel's policy may keep it away: `KPROBE_WRITE`."""

    def sees(self, name: str, attach_type: int, bpf_capable: bool = True) -> bool:
        """True if field `name` may be loaded under `attach_type`."""
        return ((self.shows == ALL or name in self.shows)
                and attach_type in self.only.get(name, (attach_type,))
                and (bpf_capable or name not in self.bpf_capable))

    def writes(self, name: str, attach_type: int, bpf_capable: bool = True) -> bool:
        """True if field `name` may be stored to under `attach_type`."""
        return (name in self.stores and self.sees(name, attach_type)
                and attach_type in self.stores_only.get(name, (attach_type,))
                and (bpf_capable or name not in self.stores_bpf_capable))


def _context(name: str, internal: str, size: int, *fields: Field) -> Context:
    """A context whose fields come from the members of the same name of struct `internal`."""
    rows = (f._replace(source=f.source or f"{internal}.{f.name}",
                       access=READ | WRITE if f.stores else READ) for f in fields)
    return Context(name, size, tuple(rows))


def _narrow(name: str, offset: int, size: int = 4, **more: int | tuple[int, ...]) -> Field:
    """A 32-bit field (or an array of them) of which any part may be loaded."""
    return Field(name, offset, size, narrow=ANYWHERE)._replace(**more)  # type: ignore[arg-type]


def _pointer(name: str, offset: int, kind: int, btf: str = "") -> Field:
    """A 64-bit field that holds a pointer."""
    return Field(name, offset, 8, kind=kind, unit=8, btf=btf)


def _u32s(names: str, offset: int) -> tuple[Field, ...]:
    """Consecutive 32-bit fields, each loaded whole."""
    return tuple(Field(n, offset + 4 * i) for i, n in enumerate(names.split()))


_SK_BUFF = _context(
    "__sk_buff", "sk_buff", 192,
    _narrow("len", 0),
    _narrow("pkt_type", 4),
    _narrow("mark", 8, stores=(4,)),
    _narrow("queue_mapping", 12, stores=(4,)),
    _narrow("protocol", 16),
    _narrow("vlan_present", 20),
    _narrow("vlan_tci", 24),
    _narrow("vlan_proto", 28),
    _narrow("priority", 32, stores=(4,)),
    _narrow("ingress_ifindex", 36),
    _narrow("ifindex", 40),
    _narrow("tc_index", 44, stores=(4,)),
    _narrow("cb", 48, 20, unit=8, stores=EVERY_SIZE),
    _narrow("hash", 68),
    _narrow("tc_classid", 72, stores=(4,)),
    Field("data", 76, kind=PACKET),
    Field("data_end", 80, kind=PACKET_END),
    _narrow("napi_id", 84),
    _narrow("family", 88),
    Field("remote_ip4", 92),
    Field("local_ip4", 96),
    Field("remote_ip6", 100, 16),
    Field("local_ip6", 116, 16),
    _narrow("remote_port", 132),
    _narrow("local_port", 136),
    Field("data_meta", 140, kind=PACKET_META),
    _pointer("flow_keys", 144, FLOW_KEYS),
    Field("tstamp", 152, 8, unit=8, stores=(8,)),
    _narrow("wire_len", 160),
    _narrow("gso_segs", 164),
    _pointer("sk", 168, SOCK_COMMON_OR_NULL),
    _narrow("gso_size", 176),
    Field("tstamp_type", 180, 1, unit=1),
    Field("hwtstamp", 184, 8, unit=8),
)

_XDP_MD = _context(
    "xdp_md", "xdp_buff", 24,
    Field("data", 0, kind=PACKET),
    Field("data_end", 4, kind=PACKET_END),
    Field("data_meta", 8, kind=PACKET_META),
    *_u32s("ingress_ifindex rx_queue_index egress_ifindex", 12),
)

_SOCK = _context(
    "bpf_sock", "sock", 80,
    Field("bound_dev_if", 0, stores=(4,)),
    Field("family", 4, narrow=FIRST),
    Field("type", 8, narrow=FIRST),
    Field("protocol", 12, narrow=FIRST),
    Field("mark", 16, stores=(4,)),
    Field("priority", 20, stores=(4,)),
    _narrow("src_ip4", 24),
    _narrow("src_ip6", 28, 16),
    Field("src_port", 44, narrow=FIRST),
    _narrow("dst_port", 48, 2, unit=2, loads=(4,)),
    _narrow("dst_ip4", 52),
    _narrow("dst_ip6", 56, 16),
    Field("state", 72, narrow=FIRST),
    Field("rx_queue_mapping", 76, narrow=FIRST),
)

_TCP_SOCK = _context(
    "bpf_tcp_sock", "tcp_sock", 112,
    *_u32s("snd_cwnd srtt_us rtt_min snd_ssthresh rcv_nxt snd_nxt snd_una mss_cache ecn_flags"
           " rate_delivered rate_interval_us packets_out retrans_out total_retrans segs_in"
           " data_segs_in segs_out data_segs_out lost_out sacked_out", 0),
    Field("bytes_received", 80, 8, unit=8),
    Field("bytes_acked", 88, 8, unit=8),
    *_u32s("dsack_dups delivered delivered_ce icsk_retransmits", 96),
)

_SOCK_ADDR = _context(
    "bpf_sock_addr", "bpf_sock_addr_kern", 72,
    Field("user_family", 0),
    _narrow("user_ip4", 4, stores=(4,)),
    _narrow("user_ip6", 8, 16, unit=8, stores=(4, 8)),
    _narrow("user_port", 24, stores=(4,)),
    *_u32s("family type protocol", 28),
    _narrow("msg_src_ip4", 40, stores=(4,)),
    _narrow("msg_src_ip6", 44, 16, unit=8, stores=(4, 8)),
    _pointer("sk", 64, SOCK),
)

_SOCK_OPS = _context(
    "bpf_sock_ops", "bpf_sock_ops_kern", 224,
    Field("op", 0),
    Field("reply", 4, stores=(4,)),
    Field("args", 8, 12),
    *_u32s("family remote_ip4 local_ip4", 20),
    Field("remote_ip6", 32, 16),
    Field("local_ip6", 48, 16),
    *_u32s("remote_port local_port is_fullsock snd_cwnd srtt_us bpf_sock_ops_cb_flags state rtt_min"
           " snd_ssthresh rcv_nxt snd_nxt snd_una mss_cache ecn_flags rate_delivered"
           " rate_interval_us packets_out retrans_out total_retrans segs_in data_segs_in segs_out"
           " data_segs_out lost_out sacked_out", 64),
    Field("sk_txhash", 164, stores=(4,)),
    Field("bytes_received", 168, 8, unit=8),
    Field("bytes_acked", 176, 8, unit=8),
    _pointer("sk", 184, SOCK_OR_NULL),
    _pointer("skb_data", 192, PACKET),
    _pointer("skb_data_end", 200, PACKET_END),
    Field("skb_len", 208),
    Field("skb_tcp_flags", 212, narrow=FIRST),
    Field("skb_hwtstamp", 216, 8, unit=8),
)

_SK_MSG = _context(
    "sk_msg_md", "sk_msg", 80,
    _pointer("data", 0, PACKET),
    _pointer("data_end", 8, PACKET_END),
    *_u32s("family remote_ip4 local_ip4", 16),
    Field("remote_ip6", 28, 16),
    Field("local_ip6", 44, 16),
    *_u32s("remote_port local_port size", 60),
    _pointer("sk", 72, SOCK),
)

_SK_REUSEPORT = _context(
    "sk_reuseport_md", "sk_reuseport_kern", 56,
    _pointer("data", 0, PACKET),
    _pointer("data_end", 8, PACKET_END),
    _narrow("len", 16),
    _narrow("eth_protocol", 20, least=2),
    _narrow("ip_protocol", 24),
    _narrow("bind_inany", 28),
    Field("hash", 32),
    _pointer("sk", 40, SOCK),
    _pointer("migrating_sk", 48, SOCK_COMMON_OR_NULL),
)

_SK_LOOKUP = _context(
    "bpf_sk_lookup", "bpf_sk_lookup_kern", 72,
    _pointer("sk", 0, SOCK_OR_NULL),
    _narrow("family", 8),
    _narrow("protocol", 12),
    _narrow("remote_ip4", 16),
    _narrow("remote_ip6", 20, 16),
    _narrow("remote_port", 36),
    _narrow("local_ip4", 40),
    _narrow("local_ip6", 44, 16),
    _narrow("local_port", 60),
    _narrow("ingress_ifindex", 64),
)

_SOCKOPT = _context(
    "bpf_sockopt", "bpf_sockopt_kern", 40,
    _pointer("sk", 0, SOCK),
    _pointer("optval", 8, PACKET),
    _pointer("optval_end", 16, PACKET_END),
    *(Field(n, 24 + 4 * i, stores=(4,)) for i, n in enumerate(
        ("level", "optname", "optlen", "retval"))),
)

_FLOW_KEYS = _context(
    "bpf_flow_keys", "bpf_flow_keys", 56,
    # a plain structure: any aligned access inside it
    Field("bytes", 0, 56, narrow=ANYWHERE, unit=8, stores=EVERY_SIZE),
)

_PERF_EVENT = _context(
    "bpf_perf_event_data", "bpf_perf_event_data_kern", 184,
    Field("regs", 0, 168, unit=8),
    Field("sample_period", 168, 8, narrow=ANYWHERE, unit=8),
    Field("addr", 176, 8, narrow=ANYWHERE, unit=8),
)

CONTEXTS: dict[str, Context] = {c.name: c for c in (
    _SK_BUFF, _XDP_MD, _SOCK, _TCP_SOCK, _SOCK_ADDR, _SOCK_OPS, _SK_MSG, _SK_REUSEPORT, _SK_LOOKUP,
    _SOCKOPT, _FLOW_KEYS, _PERF_EVENT,
    _context("bpf_xdp_sock", "xdp_sock", 4, Field("queue_id", 0)),
    _context("bpf_sysctl", "bpf_sysctl_kern", 8,
             _narrow("write", 0), _narrow("file_pos", 4, stores=(4,))),
    _context("bpf_cgroup_dev_ctx", "bpf_cgroup_dev_ctx", 12,
             _narrow("access_type", 0), *_u32s("major minor", 4)),
    _context("bpf_nf_ctx", "bpf_nf_ctx", 16,
             _pointer("state", 0, TRUSTED_BTF, "nf_hook_state"),
             _pointer("skb", 8, TRUSTED_BTF, "sk_buff")),
    # contexts without a struct of their own: registers, arguments, whatever the caller passes
    _context("pt_regs", "pt_regs", 168, Field("regs", 0, 168, narrow=ANYWHERE, unit=8,
                                           stores=EVERY_SIZE)),
    _context("tracepoint", "tracepoint", 8192, Field("record", 8, 8184, narrow=ANYWHERE, unit=8)),
    _context("bpf_raw_tracepoint_args", "bpf_raw_tracepoint_args", 96,
             Field("args", 0, 96, narrow=ANYWHERE, unit=8)),
    _context("raw_tracepoint_writable", "bpf_raw_tracepoint_args", 96,
             _pointer("buffer", 0, PTR_TO_TP_BUFFER),
             # the kernel lets the bytes of the pointer be read, but for its first
             Field("rest", 1, 7, narrow=ANYWHERE, source="bpf_raw_tracepoint_args.args"),
             Field("args", 8, 88, narrow=ANYWHERE, unit=8)),
    _context("syscall", "syscall", 65536,
             Field("ctx", 0, 65536, narrow=ANYWHERE, unit=8, stores=EVERY_SIZE)),
    _context("lirc_mode2", "lirc_mode2", 4, Field("sample", 0)),
)}

# groups of __sk_buff fields; every program type sees _SKB
_SKB = ("len", "pkt_type", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto",
        "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs",
        "sk", "gso_size")
_SKB_PACKET = ("data", "data_end")
_SKB_SOCKET = ("family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port",
               "local_port")
_SKB_TIME = ("tstamp", "hwtstamp")

_LWT = View("__sk_buff", (*_SKB, "mark", *_SKB_PACKET), ("mark", "priority", "cb"))
_TC = View(
    "__sk_buff",
    (*_SKB, "mark", *_SKB_PACKET, *_SKB_TIME, "tc_classid", "data_meta", "wire_len", "tstamp_type"),
    ("mark", "tc_index", "priority", "tc_classid", "cb", "tstamp", "queue_mapping"),
)
_INET4 = (uapi.BPF_CGROUP_INET4_BIND, uapi.BPF_CGROUP_INET4_CONNECT, uapi.BPF_CGROUP_UDP4_SENDMSG,
          uapi.BPF_CGROUP_UDP4_RECVMSG, uapi.BPF_CGROUP_INET4_GETPEERNAME,
          uapi.BPF_CGROUP_INET4_GETSOCKNAME)
_INET6 = (uapi.BPF_CGROUP_INET6_BIND, uapi.BPF_CGROUP_INET6_CONNECT, uapi.BPF_CGROUP_UDP6_SENDMSG,
          uapi.BPF_CGROUP_UDP6_RECVMSG, uapi.BPF_CGROUP_INET6_GETPEERNAME,
          uapi.BPF_CGROUP_INET6_GETSOCKNAME)
_SOCK_LIFE = (uapi.BPF_CGROUP_INET_SOCK_CREATE, uapi.BPF_CGROUP_INET_SOCK_RELEASE)
_BIND4 = (uapi.BPF_CGROUP_INET4_POST_BIND,)
_BIND6 = (uapi.BPF_CGROUP_INET6_POST_BIND,)

VIEWS: dict[int, View] = {
    uapi.BPF_PROG_TYPE_SOCKET_FILTER: View("__sk_buff", (*_SKB, "mark"), ("cb",)),
    uapi.BPF_PROG_TYPE_SCHED_CLS: _TC,
    uapi.BPF_PROG_TYPE_SCHED_ACT: _TC,
    uapi.BPF_PROG_TYPE_XDP: View(
        "xdp_md", ALL, only={"egress_ifindex": (uapi.BPF_XDP_DEVMAP,)}),
    uapi.BPF_PROG_TYPE_CGROUP_SKB: View(
        "__sk_buff", (*_SKB, "mark", *_SKB_PACKET, *_SKB_SOCKET, *_SKB_TIME),
        ("mark", "priority", "cb", "tstamp"),
        bpf_capable=_SKB_PACKET, stores_bpf_capable=("tstamp",)),
    uapi.BPF_PROG_TYPE_LWT_IN: _LWT,
    uapi.BPF_PROG_TYPE_LWT_OUT: _LWT,
    uapi.BPF_PROG_TYPE_LWT_XMIT: _LWT,
    uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL: _LWT,
    uapi.BPF_PROG_TYPE_SK_SKB: View(
        "__sk_buff", (*_SKB, *_SKB_PACKET, *_SKB_SOCKET), ("tc_index", "priority")),
    uapi.BPF_PROG_TYPE_FLOW_DISSECTOR: View("__sk_buff", (*_SKB_PACKET, "flow_keys")),
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: View(
        "bpf_sock", ALL, ("bound_dev_if", "mark", "priority"),
        only={"bound_dev_if": _SOCK_LIFE, "mark": _SOCK_LIFE, "priority": _SOCK_LIFE,
              "src_ip4": _BIND4, "src_ip6": _BIND6, "src_port": _BIND4 + _BIND6}),
    uapi.BPF_PROG_TYPE_SOCK_OPS: View("bpf_sock_ops", ALL, ("reply", "sk_txhash")),
    uapi.BPF_PROG_TYPE_SK_MSG: View("sk_msg_md", ALL),
    uapi.BPF_PROG_TYPE_CGROUP_DEVICE: View("bpf_cgroup_dev_ctx", ALL),
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: View(
        "bpf_sock_addr", ALL,
        ("user_ip4", "user_ip6", "user_port", "msg_src_ip4", "msg_src_ip6"),
        only={"user_ip4": _INET4, "user_ip6": _INET6,
              "msg_src_ip4": (uapi.BPF_CGROUP_UDP4_SENDMSG,),
              "msg_src_ip6": (uapi.BPF_CGROUP_UDP6_SENDMSG,)}),
    uapi.BPF_PROG_TYPE_SK_REUSEPORT: View("sk_reuseport_md", ALL),
    uapi.BPF_PROG_TYPE_SK_LOOKUP: View("bpf_sk_lookup", ALL),
    uapi.BPF_PROG_TYPE_CGROUP_SYSCTL: View("bpf_sysctl", ALL, ("file_pos",)),
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: View(
        "bpf_sockopt", ALL, ("level", "optname", "optlen", "retval"),
        only={"retval": (uapi.BPF_CGROUP_GETSOCKOPT,)},
        stores_only={"level": (uapi.BPF_CGROUP_SETSOCKOPT,),
                     "optname": (uapi.BPF_CGROUP_SETSOCKOPT,)}),
    uapi.BPF_PROG_TYPE_PERF_EVENT: View("bpf_perf_event_data", ALL),
    # whether they are attached to a uprobe, where that has a meaning, is seen later
    uapi.BPF_PROG_TYPE_KPROBE: View("pt_regs", ALL, ("regs",), store_feature=KPROBE_WRITE),
    uapi.BPF_PROG_TYPE_TRACEPOINT: View("tracepoint", ALL),
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: View("bpf_raw_tracepoint_args", ALL),
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: View("raw_tracepoint_writable", ALL),
    uapi.BPF_PROG_TYPE_SYSCALL: View("syscall", ALL, ("ctx",)),
    uapi.BPF_PROG_TYPE_NETFILTER: View("bpf_nf_ctx", ALL),
    uapi.BPF_PROG_TYPE_LIRC_MODE2: View("lirc_mode2", ALL),
}

# what may be read through a pointer that came from a context or a helper
POINTED: dict[int, View] = {
    kinds.PTR_TO_SOCKET: View("bpf_sock", ALL),
    kinds.PTR_TO_SOCK_COMMON: View("bpf_sock", (
        "bound_dev_if", "family", "src_ip4", "src_ip6", "src_port", "dst_port", "dst_ip4",
        "dst_ip6", "state", "rx_queue_mapping")),
    kinds.PTR_TO_TCP_SOCK: View("bpf_tcp_sock", ALL),
    kinds.PTR_TO_XDP_SOCK: View("bpf_xdp_sock", ALL),
    kinds.PTR_TO_FLOW_KEYS: View("bpf_flow_keys", ALL, ("bytes",)),
}


def find(context: str, name: str) -> Field | None:
    """The field `name` of `context`, or None."""
    return next((f for f in CONTEXTS[context].fields if f.name == name), None)


@cache
def _offsets(context: str) -> tuple[int, ...]:
    """Where the fields of `context` begin, in order."""
    return tuple(f.offset for f in CONTEXTS[context].fields)


def _at(context: str, off: int) -> Field | None:
    """The field that byte `off` belongs to, or the gap after it; None before the first."""
    index = bisect_right(_offsets(context), off) - 1
    return CONTEXTS[context].fields[index] if index >= 0 else None


def load(view: View, off: int, size: int, attach_type: int = 0,
         bpf_capable: bool = True) -> Field | None:
    """The field that a load of `size` bytes at `off` reads, or None: invalid access."""
    field = _at(view.context, off)
    if field is None or not field.may_load(off, size):
        return None
    return field if view.sees(field.name, attach_type, bpf_capable) else None


def store(view: View, off: int, size: int, attach_type: int = 0,
          bpf_capable: bool = True) -> Field | None:
    """The field that a store of `size` bytes at `off` changes, or None: invalid access."""
    field = _at(view.context, off)
    if field is None or not field.may_store(off, size):
        return None
    return field if view.writes(field.name, attach_type, bpf_capable) else None
